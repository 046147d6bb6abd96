use super::*;
use crate::access::credential::{Credential, CredentialKind};
use crate::words::HolderClass;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

fn expected() -> Expected {
    use ring::signature::KeyPair;
    let public = key().public_key().as_ref().try_into().unwrap();
    Expected { keys: vec![[1; 32], public], site: "riverside".to_owned(), lookup: LookupKey::new(&[7; 32]) }
}

fn header(version: u64, base_version: Option<u64>) -> Header {
    Header {
        format: FORMAT.to_owned(),
        site: "riverside".to_owned(),
        // By the key of [`expected`].
        lookup_key: "490e8958d217ad5e".to_owned(),
        version,
        base_version,
        created: 1,
        expires_at: 2,
        count: 0,
        groups: Some([("garage".to_owned(), vec!["garage-entry".to_owned()])].into()),
        schedules: Some([("day".to_owned(), "mon-fri 08:00-18:00".parse().unwrap())].into()),
        quotas: None,
    }
}

fn put(id: u8) -> Change {
    Change::Put(Credential {
        id: CredentialId([id; 16]),
        kind: CredentialKind::Card,
        who: format!("p-{id}"),
        class: HolderClass::Resident,
        household: String::new(),
        gates: Vec::new(),
        groups: vec!["garage".to_owned()],
        from: None,
        until: None,
        schedule: "day".to_owned(),
        flags: Vec::new(),
        number: None,
    })
}

fn revoke(id: u8) -> Change {
    Change::Revoke(CredentialId([id; 16]))
}

/// If this fails, do not change the test: cores send this.
#[test]
fn the_text_of_a_snapshot_is_frozen() {
    let header = Header { lookup_key: "aa".to_owned(), ..header(3, Some(2)) };
    let text = String::from_utf8(Snapshot::sign(&header, [put(1), revoke(2)], &key())).unwrap();
    let (signed, signature) = text.trim_end().rsplit_once('\n').unwrap();
    let id = "01".repeat(16);
    let revoked = "02".repeat(16);
    assert_eq!(
        signed,
        format!(
            "{}\n{}\n{}",
            r#"{"format":"gatehouse-credentials/1","site":"riverside","lookup_key":"aa","version":3,"base_version":2,"created":1,"expires_at":2,"count":2,"groups":{"garage":["garage-entry"]},"schedules":{"day":"mon-fri 08:00-18:00"}}"#,
            format_args!(
                r#"{{"put":{{"id":"{id}","kind":"card","who":"p-1","class":"resident","groups":["garage"],"schedule":"day"}}}}"#
            ),
            format_args!(r#"{{"revoke":"{revoked}"}}"#),
        )
    );
    assert!(signature.starts_with(r#"{"signature":""#) && signature.len() == 16 + 128, "{signature}");
}

#[test]
fn a_full_snapshot_and_a_delta_are_taken_in() {
    let full = Snapshot::verify(&Snapshot::sign(&header(1, None), [put(2), revoke(3), put(1)], &key()), &expected());
    let Content::Full(table) = full.unwrap().content else { panic!("it is a full one") };
    assert_eq!(table.len(), 3);
    assert!(table.find(CredentialId([3; 16])).unwrap().revoked);
    let remove = Change::Remove(CredentialId([9; 16]));
    let bytes = Snapshot::sign(&header(2, Some(1)), [put(1), remove.clone()], &key());
    let delta = Snapshot::verify(&bytes, &expected()).unwrap();
    assert_eq!(delta.header().base_version, Some(1));
    let Content::Delta(changes, kept) = delta.content else { panic!("it is a delta") };
    assert_eq!(changes, [put(1), remove]);
    let Content::Delta(again, _) = Snapshot::reread(&kept).unwrap().content else { panic!("it is a delta") };
    assert_eq!(again, changes);
}

#[test]
fn nothing_that_was_altered_cut_or_signed_by_another_is_taken() {
    let bytes = Snapshot::sign(&header(1, None), [put(1)], &key());
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert!(Snapshot::verify(&altered, &expected()).is_err(), "byte {at}");
        assert!(Snapshot::verify(&bytes[..at], &expected()).is_err(), "cut at {at}");
    }
    let other = Ed25519KeyPair::from_seed_unchecked(&[6; 32]).unwrap();
    let error = Snapshot::verify(&Snapshot::sign(&header(1, None), [put(1)], &other), &expected()).unwrap_err();
    assert_eq!(error, SnapshotError::BadSignature);
    assert!(error.to_string().contains("not signed by a key that this box knows"));
    let longer = [bytes.as_slice(), b"{\"revoke\":\"00\"}\n"].concat();
    assert_eq!(Snapshot::verify(&longer, &expected()).unwrap_err(), SnapshotError::NotSigned);
}

#[test]
fn a_signed_mistake_is_refused_with_its_line() {
    let verify = |header: &Header, changes: &[Change]| {
        Snapshot::verify(&Snapshot::sign(header, changes.to_vec(), &key()), &expected()).unwrap_err()
    };
    let with = |change: fn(&mut Header)| {
        let mut header = header(1, None);
        change(&mut header);
        header
    };
    assert!(matches!(verify(&with(|h| h.site = "x".to_owned()), &[]), SnapshotError::OtherSite { .. }));
    assert!(matches!(verify(&with(|h| h.lookup_key.clear()), &[]), SnapshotError::OtherLookupKey { .. }));
    assert!(matches!(verify(&with(|h| h.format.push('0')), &[]), SnapshotError::BadHeader(_)));
    assert!(matches!(verify(&with(|h| h.base_version = Some(1)), &[]), SnapshotError::BadHeader(_)));
    assert_eq!(verify(&header(1, None), &[put(1), put(2), put(1)]), SnapshotError::Twice(CredentialId([1; 16])));
    assert_eq!(verify(&header(2, Some(1)), &[put(1), revoke(1)]), SnapshotError::Twice(CredentialId([1; 16])));
    let remove = Change::Remove(CredentialId([1; 16]));
    assert!(matches!(verify(&header(1, None), &[put(2), remove]), SnapshotError::BadLine { line: 3, .. }));
    let Change::Put(mut nobody) = put(1) else { panic!() };
    nobody.who.clear();
    for base in [None, Some(1)] {
        let error = verify(&header(2, base), &[Change::Put(nobody.clone())]);
        assert_eq!(error.to_string(), "line 2: who has 0 bytes, 1 to 64 are possible");
    }
}

#[test]
fn unknown_fields_and_wrong_counts_are_refused() {
    let resign = |signed: String| {
        let signature = hex::encode(key().sign(signed.as_bytes()).as_ref());
        format!("{signed}{{\"signature\":\"{signature}\"}}\n").into_bytes()
    };
    let text = String::from_utf8(Snapshot::sign(&header(1, None), [put(1)], &key())).unwrap();
    let signed = &text[..=text.trim_end().rfind('\n').unwrap()];
    assert!(Snapshot::verify(&resign(signed.to_owned()), &expected()).is_ok());
    let field = signed.replace(r#""kind":"card""#, r#""kind":"card","only_with_dog":true"#);
    assert!(matches!(Snapshot::verify(&resign(field), &expected()), Err(SnapshotError::BadLine { line: 2, .. })));
    let count = signed.replace(r#""count":1"#, r#""count":2"#);
    let error = Snapshot::verify(&resign(count), &expected()).unwrap_err();
    assert_eq!(error, SnapshotError::Count { expected: 2, got: 1 });
}
