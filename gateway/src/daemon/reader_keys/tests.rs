use super::*;

/// Where a reader has its keys.
struct Files(tempfile::TempDir);

impl Files {
    fn new(own: [u8; 16]) -> Self {
        let files = Files(tempfile::tempdir().unwrap());
        files.write("reader.key", own);
        files
    }

    fn write(&self, name: &str, key: [u8; 16]) {
        std::fs::write(self.0.path().join(name), key).unwrap();
    }

    /// A reader with its key, and with the one before where `before`.
    fn reader(&self, before: bool) -> Device {
        let file = |key: &str, name: &str| format!("{key} = {{ file = \"{}\" }}\n", self.0.path().join(name).display());
        let text = format!(
            "[site]\nid = \"box\"\n[[bus]]\nid = \"door\"\nserial = \"/dev/ttyS1\"\n\
             [[device]]\nid = \"pad\"\nbus = \"door\"\nprofile = \"osdp-reader\"\naddress = 5\n{}{}",
            file("key", "reader.key"),
            if before { file("key_before", "before.key") } else { String::new() },
        );
        let library = gatehouse_drivers::profile::Library::new();
        let site = gatehouse_config::check("site.toml", &text, Path::new("/"), &library).unwrap().site;
        site.devices[0].as_ref().clone()
    }
}

/// The first bytes of the keys that are tried, in their order.
fn tried(keys: &ReaderKeys, device: &Device) -> Vec<u8> {
    let keys = secrets(keys.held(device).as_ref(), device).keys;
    let all = keys.own.into_iter().chain(keys.kept).chain(keys.before);
    all.map(|key| key.bytes()[0]).collect()
}

/// What the box gave in place of a file's key.
fn given(file: [u8; 16], own: u8, before: Option<u8>) -> Given {
    let before = before.map(|before| [before; 16]);
    let replaces = name_of(&Key::new(file));
    Given { replaces, own: [own; 16], before, undone: false, issuer: "uid 0".to_owned() }
}

fn seals(now: u8, before: Option<u8>) -> Seals {
    Seals { now: SealKey::new(&[now; 32]), before: before.map(|before| SealKey::new(&[before; 32])) }
}

/// What the journal has after these changes.
fn journal(changes: &[StateChange]) -> ReaderKeys {
    let unopened = changes.iter().map(|(name, sealed)| {
        let name = String::from_utf8(name.to_vec()).unwrap();
        (name.strip_prefix(PREFIX).unwrap().to_owned(), sealed.as_deref().unwrap().to_vec())
    });
    ReaderKeys { unopened: unopened.collect(), ..ReaderKeys::default() }
}

#[test]
fn a_key_that_the_box_gave_counts_until_the_file_has_another() {
    let files = Files::new([1; 16]);
    let pad = files.reader(false);
    let mut keys = ReaderKeys::default();
    assert_eq!(tried(&keys, &pad), [1]);
    keys.note("pad", given([1; 16], 2, Some(1)));
    assert_eq!(tried(&keys, &pad), [2, 1], "until the reader shows that it has it, either may be right");
    keys.note("pad", given([1; 16], 3, None));
    assert_eq!(tried(&keys, &pad), [3]);
    std::fs::remove_file(files.0.path().join("reader.key")).unwrap();
    assert_eq!(tried(&keys, &pad), [3], "a file that is lost takes no key away");
    files.write("reader.key", [4; 16]);
    assert_eq!(tried(&keys, &pad), [4, 3], "somebody wrote another key for a reader that has the box's last");
    assert!(keys.is_replaced("pad", &keys.held(&pad).unwrap()));
    keys.forget("pad");
    assert_eq!(tried(&keys, &pad), [4]);
}

#[test]
fn with_another_file_the_keys_of_the_box_are_tried_first_and_then_the_one_before_by_the_site_file() {
    let files = Files::new([4; 16]);
    files.write("before.key", [1; 16]);
    let pad = files.reader(true);
    let mut keys = ReaderKeys::default();
    assert_eq!(tried(&keys, &pad), [4, 1]);
    keys.note("pad", given([1; 16], 3, None));
    assert_eq!(tried(&keys, &pad), [4, 3, 1]);
    keys.note("pad", given([1; 16], 3, Some(2)));
    assert_eq!(tried(&keys, &pad), [4, 3, 2, 1], "it may not have been given the last");
    keys.note("pad", given([1; 16], 3, Some(1)));
    assert_eq!(tried(&keys, &pad), [4, 3, 1], "none is tried twice");
    keys.note("pad", given([4; 16], 3, None));
    assert_eq!(tried(&keys, &pad), [3], "what the box took the place of counts no more");
}

#[test]
fn a_reader_whose_key_was_taken_out_of_the_site_file_goes_by_none_and_keeps_what_it_was_given() {
    let files = Files::new([1; 16]);
    let mut pad = files.reader(false);
    let mut keys = ReaderKeys::default();
    keys.note("pad", given([1; 16], 3, None));
    let Station::Osdp(station) = &mut pad.station else { panic!() };
    station.key = None;
    assert_eq!(tried(&keys, &pad), Vec::<u8>::new());
    assert_eq!(tried(&keys, &files.reader(false)), [3]);
}

#[test]
fn a_kept_key_opens_for_its_reader_only() {
    let key = given([0; 16], 2, None);
    let seal = SealKey::new(&[5; 32]);
    let (_, sealed) = key.sealed("pad", &seal);
    let sealed = sealed.unwrap();
    assert!(!sealed.windows(4).any(|window| window == [2; 4] || window == b"2,2,"));
    assert!(Given::open("pad", &seal, &sealed).unwrap() == key);
    assert!(Given::open("other", &seal, &sealed).is_err());
}

#[test]
fn a_key_that_was_kept_before_its_issuer_was_opens_all_the_same() {
    let seal = SealKey::new(&[5; 32]);
    let plain = format!("{{\"replaces\":{:?},\"own\":{:?},\"before\":null}}", [1; 8], [2; 16]);
    let sealed = seal.seal(&place("pad"), Salt([0; 16]), plain.as_bytes());
    let opened = Given::open("pad", &seal, &sealed).unwrap();
    assert_eq!((opened.own, opened.undone, &*opened.issuer), ([2; 16], false, ""));
}

#[test]
fn another_key_of_the_box_seals_all_keys_anew_and_none_is_lost_to_a_start_that_cannot_open_them() {
    let (mut first, nothing) = ReaderKeys::default().under(&seals(1, None));
    assert!(nothing.is_empty());
    first.note("pad", given([1; 16], 2, Some(1)));
    first.note("gate", given([1; 16], 3, None));
    let (same, nothing) = first.under(&seals(1, None));
    assert!(nothing.is_empty(), "they are sealed with it");

    // A reload with another key.
    let (second, written) = same.under(&seals(2, None));
    assert_eq!(written.len(), 2);
    let (_, one) = second.given["pad"].sealed("pad", &SealKey::new(&[1; 32]));

    // The next start.
    let (opened, nothing) = journal(&written).under(&seals(2, None));
    assert!(nothing.is_empty() && opened.given == first.given);
    assert_eq!(opened.tell_unopened(None), Vec::<&str>::new());

    // A start with a third key, the one before at hand or not. One of them was sealed long before.
    let mut mixed = journal(&written);
    mixed.unopened.insert("pad".to_owned(), one.unwrap().into_vec());
    let (lost, nothing) = mixed.under(&seals(3, None));
    assert!(nothing.is_empty() && lost.given.is_empty());
    assert_eq!(lost.tell_unopened(None), ["gate", "pad"]);
    let (found, written) = lost.under(&seals(3, Some(2)));
    assert_eq!((written.len(), found.tell_unopened(None)), (1, vec!["pad"]), "what did not open goes on to wait");
    let (all, written) = found.under(&seals(3, Some(1)));
    assert!(written.len() == 1 && all.given == first.given && all.unopened.is_empty());
}

#[test]
fn without_a_key_of_the_box_the_log_tells_of_each_reader_whose_key_waits() {
    let keys = journal(&[given([1; 16], 2, None).sealed("pad", &SealKey::new(&[1; 32]))]);
    assert_eq!(keys.tell_unopened(None), ["pad"]);
    let files = Files::new([1; 16]);
    assert_eq!(tried(&keys, &files.reader(false)), [1]);
    assert!(
        keys.is_replaced("pad", &keys.held(&files.reader(false)).unwrap()),
        "secure under its file's it needs it no more"
    );
}

#[test]
fn a_key_is_16_bytes_or_their_digits_and_never_the_one_that_everybody_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reader.key");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        key(&path).map(|key| key.bytes())
    };
    assert_eq!(read(&[7; 16]), Ok([7; 16]));
    assert_eq!(read(b"000102030405060708090A0B0C0D0E0f\n").unwrap()[15], 15);
    assert_eq!(read(b"swordfish").unwrap_err(), "it holds neither 16 bytes nor 32 hexadecimal digits");
    assert!(read(b"303132333435363738393A3B3C3D3E3F").is_err());
}
