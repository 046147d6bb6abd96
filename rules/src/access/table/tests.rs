use proptest::prelude::*;

use super::*;
use crate::access::credential::Flag;

fn credential(id: u8, who: &str) -> Credential {
    Credential {
        id: CredentialId([id; 16]),
        kind: CredentialKind::Plate,
        who: who.to_owned(),
        class: HolderClass::Staff,
        household: "h-1".to_owned(),
        gates: vec!["lobby".to_owned(), "garage".to_owned()],
        groups: vec!["all-doors".to_owned()],
        from: Some(10),
        until: None,
        schedule: "day".to_owned(),
        flags: vec![Flag::Once],
        number: None,
    }
}

#[test]
fn a_credential_is_found_as_it_was_put() {
    let mut builder = Builder::default();
    builder.put(&credential(2, "p-2")).unwrap();
    builder.put(&credential(1, "p-1")).unwrap();
    let mut table = builder.finish().unwrap();
    let found = table.find(CredentialId([1; 16])).unwrap();
    assert_eq!((found.who, found.household, found.schedule), ("p-1", "h-1", "day"));
    assert_eq!((found.kind, found.class), (CredentialKind::Plate, HolderClass::Staff));
    assert_eq!((found.from, found.until, found.revoked), (Some(10), None, false));
    assert!(found.flags.has(Flag::Once) && !found.flags.has(Flag::Emergency));
    assert_eq!(found.gates().collect::<Vec<_>>(), ["lobby", "garage"]);
    assert_eq!(found.groups().collect::<Vec<_>>(), ["all-doors"]);
    assert_eq!(table.find(CredentialId([3; 16])), None);
    table.change(&[Change::Revoke(CredentialId([1; 16]))]).unwrap();
    assert!(table.find(CredentialId([1; 16])).unwrap().revoked);
    assert_eq!(table.find(CredentialId([1; 16])).unwrap().who, "p-1");
}

#[test]
fn what_a_record_may_hold_is_checked_at_the_door() {
    let mut builder = Builder::default();
    assert!(matches!(builder.put(&credential(1, "")), Err(RecordError::Length { field: "who", .. })));
    let bad = |change: fn(&mut Credential)| {
        let mut bad = credential(1, "p");
        change(&mut bad);
        Builder::default().put(&bad).unwrap_err()
    };
    assert_eq!(bad(|c| c.gates = vec!["+x".to_owned()]), RecordError::BadName("+x".to_owned()));
    assert_eq!(bad(|c| c.groups = vec!["a,b".to_owned()]), RecordError::BadName("a,b".to_owned()));
    assert_eq!(bad(|c| c.groups = vec!["a".to_owned(); 65]), RecordError::Reach(65));
    assert!(matches!(bad(|c| c.household = "h".repeat(65)), RecordError::Length { field: "household", .. }));
    builder.put(&credential(1, "p")).unwrap();
    builder.put(&credential(1, "q")).unwrap();
    assert_eq!(builder.finish().unwrap_err(), CredentialId([1; 16]));
}

#[test]
fn a_damaged_file_is_no_table() {
    let mut builder = Builder::default();
    builder.put(&credential(1, "p-1")).unwrap();
    let mut bytes = Vec::new();
    builder.finish().unwrap().encode(&mut bytes);
    for cut in 0..bytes.len() {
        assert!(Table::decode(&bytes[..cut]).is_none(), "cut at {cut}");
    }
    bytes[8 + 16 + 24] = 99;
    assert!(Table::decode(&bytes).is_none(), "a kind that is none");
}

proptest! {
    /// The model is a plain map.
    #[test]
    fn changes_on_top_and_files_give_what_a_plain_map_gives(
        base in proptest::collection::btree_set(0u8..40, 0..20),
        changes in proptest::collection::vec((0u8..40, 0u8..4), 0..40),
    ) {
        let mut model = BTreeMap::new();
        let mut builder = Builder::default();
        for id in base {
            builder.put(&credential(id, &format!("p-{id}"))).unwrap();
            model.insert(CredentialId([id; 16]), (format!("p-{id}"), false));
        }
        let mut table = builder.finish().unwrap();
        for (at, (id, what)) in changes.into_iter().enumerate() {
            let key = CredentialId([id; 16]);
            match what {
                0 => {
                    table.change(&[Change::Put(credential(id, &format!("q-{at}")))]).unwrap();
                    model.insert(key, (format!("q-{at}"), false));
                }
                1 => {
                    table.change(&[Change::Remove(key)]).unwrap();
                    model.remove(&key);
                }
                2 => {
                    table.change(&[Change::Revoke(key)]).unwrap();
                    model.entry(key).or_default().1 = true;
                }
                _ => {
                    let mut bytes = Vec::new();
                    table.encode(&mut bytes);
                    table = Table::decode(&bytes).unwrap();
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for id in 0..40 {
                let found = table.find(CredentialId([id; 16])).map(|entry| (entry.who.to_owned(), entry.revoked));
                prop_assert_eq!(found.as_ref(), model.get(&CredentialId([id; 16])));
            }
        }
    }
}
