//! Card readers that nobody here wrote: libosdp at the other end of the wires.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use gatehouse_tests::{Broker, Core, Gateway, PTY_BAUD, Reader, Security, Slave, Stage, Subscriber};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const KEY: &str = "00112233445566778899AABBCCDDEEFF";
const OTHER_KEY: &str = "FFEEDDCCBBAA99887766554433221100";
/// Further keys of the box.
const SECOND_SEAL: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";
const THIRD_SEAL: &str = "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=\n";
/// libosdp's number of the command KEYSET.
const KEYSET: u8 = 5;
/// H10301-26 with facility code 123 and number 45678.
const FACILITY: u8 = 123;
const NUMBER: u16 = 45_678;

/// A door whose lock is coil 0 of a pymodbus board, with an OSDP reader.
fn site(stage: &Stage, broker: &Broker<'_>, slave: &Slave, (reader, core): (&Reader, &Core)) -> PathBuf {
    let key = stage.write("reader.key", KEY);
    let text = format!(
        "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{tcp}\"\n\
         [[bus]]\nid = \"door\"\nserial = \"{port}\"\nbaud = {PTY_BAUD}\n\
         [[device]]\nid = \"board\"\nbus = \"tcp\"\nunit = 2\ninterval = \"100ms\"\n\
         [[device.point]]\nname = \"pulses\"\ntable = \"holding\"\naddress = 7\ntype = \"u16\"\n\
         [[device.point]]\nname = \"lobby\"\ntable = \"coil\"\naddress = 0\ntype = \"bool\"\nwrite = \"single-coil\"\n\
         [[device]]\nid = \"pad\"\nbus = \"door\"\nprofile = \"osdp-reader\"\naddress = 5\nkey = {{ file = \"{key}\" }}\n\
         [[gate]]\nid = \"lobby\"\nkind = \"door\"\nopen = {{ point = \"board/lobby\", pulse = \"500ms\" }}\n\
         policy = {{ grant = \"1s\" }}\n\
         [[reader]]\nname = \"lobby-card\"\ngate = \"lobby\"\ndevice = \"pad\"\nkeypad = \"osdp\"\n{access}",
        tcp = slave.port(),
        port = reader.port.display(),
        key = key.display(),
        access = core.table(stage),
    );
    stage.site(&broker.url(), "", &text)
}

/// What a device showed last at a point; `-` and the reason where it showed nothing.
fn shown(gateway: &Gateway, stage: &Stage, device: &str, point: &str) -> String {
    let (status, document) = gateway.call(stage, "GET", &format!("/api/v1/devices/{device}"), &Value::Null);
    assert_eq!(status, 200, "{document}");
    let found = document["points"].as_array().unwrap().iter().find(|one| one["name"] == point).unwrap();
    found["value"].as_str().map_or_else(|| format!("- {}", found["missing"].as_str().unwrap()), str::to_owned)
}

fn shows(gateway: &Gateway, stage: &Stage, (device, point): (&str, &str), wanted: &str) {
    let what = format!("{device}/{point} is {wanted}");
    gateway.until(&what, SOON, |_| (shown(gateway, stage, device, point) == wanted).then_some(()));
}

fn reasons(receiver: &mut Subscriber, count: usize) -> Vec<String> {
    receiver.until("the passage records", SOON, |ledger| {
        let passages = ledger.records("passages").filter(|record| record.json["event"] == "passage");
        let reasons: Vec<_> =
            passages.map(|record| record.json["data"]["reason"].as_str().unwrap_or("-").to_owned()).collect();
        (reasons.len() >= count).then_some(reasons)
    })
}

/// What so many records of a kind tell, in their order.
fn audited(receiver: &mut Subscriber, kind: &str, count: usize) -> Vec<Value> {
    receiver.until("the audit records", SOON, |ledger| {
        let of_kind = ledger.records("audit").filter(|record| record.json["event"] == kind);
        let told: Vec<Value> = of_kind.map(|record| record.json["data"].clone()).collect();
        (told.len() >= count).then_some(told)
    })
}

fn succeeds(gateway: &Gateway, command: &[&str]) {
    let told = gateway.ask(command);
    assert!(told.status.success(), "{command:?}: {}\n{}", String::from_utf8_lossy(&told.stderr), gateway.process.log());
}

fn refuses(gateway: &Gateway, command: &[&str], why: &str) {
    let told = gateway.ask(command);
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success() && said.contains(why), "{command:?}: {said}");
}

/// The bits of a card, parities included.
fn card(number: u16) -> String {
    let body = u32::from(FACILITY) << 16 | u32::from(number);
    let (high, low) = (body >> 12, body & 0xFFF);
    let bits = (high.count_ones() % 2) << 25 | body << 1 | ((low.count_ones() + 1) % 2);
    format!("card {bits:026b}")
}

/// The middle of such a card as a trace would show it: its first byte and the last, which is filled up, are left out.
fn on_the_wire(number: u16) -> String {
    let text = card(number);
    let bits = u32::from_str_radix(text.trim_start_matches("card "), 2).unwrap() << 6;
    let [_, second, third, _] = bits.to_be_bytes();
    format!("{second:02x} {third:02x}")
}

/// A site with a door, a core that listens, and libosdp's reader at the door.
struct Scene<'s> {
    core: Core,
    broker: Broker<'s>,
    receiver: Subscriber,
    slave: Slave,
    reader: Reader,
    /// The site file.
    path: PathBuf,
}

impl<'s> Scene<'s> {
    /// With a reader that has this key; `None` where libosdp cannot be had.
    fn new(stage: &'s Stage, key: &str) -> Option<Self> {
        if !Reader::can_be_had() {
            return None;
        }
        let core = Core::new(stage);
        let broker = Broker::start(stage, Security::Open);
        let receiver = broker.subscribe();
        let slave = Slave::tcp(stage, &[2]);
        let reader = Reader::start(stage, "pad", 5, Some(key));
        let path = site(stage, &broker, &slave, (&reader, &core));
        Some(Scene { core, broker, receiver, slave, reader, path })
    }
}

#[test]
fn a_secure_reader_opens_the_door_and_what_it_kept_while_it_was_away_does_not() {
    let stage = Stage::new();
    let Some(Scene { core, broker, mut receiver, slave: _slave, reader, path }) = Scene::new(&stage, KEY) else {
        return;
    };
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "connected"), "true");
    shows(&gateway, &stage, ("pad", "secure"), "true");
    let of = format!("card/H10301-26/{FACILITY}/{NUMBER}");
    let put = json!({ "put": { "of": of, "kind": "card", "who": "p-1", "class": "resident", "gates": ["lobby"] } });
    core.publish(&broker, 1, &json!({ "entries": [put] }));
    receiver.until("the word on credentials", SOON, |ledger| {
        ledger.records("audit").any(|record| record.json["event"] == "credentials").then_some(())
    });

    reader.happens(&card(NUMBER));
    assert_eq!(reasons(&mut receiver, 1), ["granted"]);
    shows(&gateway, &stage, ("board", "pulses"), "1");
    reader.happens(&card(NUMBER + 1));
    assert_eq!(reasons(&mut receiver, 2)[1], "unknown_credential");

    reader.happens("keys 1234*");
    shows(&gateway, &stage, ("pad", "key_count"), "1");
    shows(&gateway, &stage, ("pad", "keys"), "- personal");
    reader.happens("tamper 1");
    shows(&gateway, &stage, ("pad", "tamper"), "true");
    let told = gateway.ask(&["write", "pad", "light", "2"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    reader.until("a green light", |command| command.to_string().contains("led").then_some(()));

    // Off the wires; a card is shown to it there, and it keeps the card.
    reader.happens("pull");
    reader.happens(&card(NUMBER));
    gateway.until("the reader is lost", SOON, |status| {
        let devices = status["devices"].as_array()?;
        devices.iter().any(|device| device["id"] == "pad" && device["state"] == "offline").then_some(())
    });
    reader.happens("plug");
    shows(&gateway, &stage, ("pad", "connected"), "true");
    reader.happens(&card(NUMBER));
    assert_eq!(reasons(&mut receiver, 3), ["granted", "unknown_credential", "granted"]);
    shows(&gateway, &stage, ("board", "pulses"), "2");
}

#[test]
fn a_reader_with_another_key_opens_nothing() {
    let stage = Stage::new();
    let Some(Scene { core: _core, broker: _broker, receiver: _receiver, slave: _slave, reader, path }) =
        Scene::new(&stage, OTHER_KEY)
    else {
        return;
    };
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "connected"), "true");
    assert_eq!(shown(&gateway, &stage, "pad", "secure"), "false");
    reader.happens(&card(NUMBER));
    shows(&gateway, &stage, ("pad", "dropped"), "1");
    assert_eq!(shown(&gateway, &stage, "pad", "cards"), "- not_available");
    let (_, frames) = gateway.call(&stage, "GET", "/api/v1/buses/door/frames", &Value::Null);
    let frames = frames.to_string();
    assert!(frames.contains("a card of 26 bits, format 1, reader 0, concealed"), "{frames}");
    assert!(!frames.contains(&on_the_wire(NUMBER)), "the card's bits are in the trace: {frames}");
    let told = gateway.ask(&["write", "pad", "light", "2"]);
    assert!(!told.status.success(), "nothing is told to a reader that is not believed");
    assert_eq!(shown(&gateway, &stage, "board", "pulses"), "0");
}

#[test]
fn a_reader_takes_a_new_key_that_only_the_box_knows_and_both_know_it_after_a_kill() {
    let stage = Stage::new();
    let Some(Scene { core: _core, broker: _broker, mut receiver, slave: _slave, reader, path }) =
        Scene::new(&stage, KEY)
    else {
        return;
    };
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");

    succeeds(&gateway, &["rekey", "pad"]);
    reader.until("the new key", |command| (command["command"] == KEYSET).then_some(()));
    let records = audited(&mut receiver, "rekey", 2);
    let told = |key: &str| records.iter().map(|record| record[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("outcome"), ["begun", "verified"]);
    assert!(told("issuer")[0] == told("issuer")[1] && told("issuer")[0] != "", "{records:?}");
    assert_eq!(shown(&gateway, &stage, "pad", "secure"), "true");

    gateway.process.kill();
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");

    // A reader without a key has none to change.
    refuses(&gateway, &["rekey", "board"], "no OSDP reader with a `key`");
}

#[test]
fn a_kill_in_the_middle_of_a_change_of_keys_leaves_its_beginning_on_record_and_it_ends_after_the_next_start() {
    let stage = Stage::new();
    let Some(Scene { core: _core, broker: _broker, mut receiver, slave: _slave, reader, path }) =
        Scene::new(&stage, KEY)
    else {
        return;
    };
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");

    let mut asked = UnixStream::connect(stage.file("api.sock")).unwrap();
    let head = "POST /api/v1/devices/pad/rekey HTTP/1.1\r\nHost: box\r\nContent-Length: 2\r\n\r\n{}";
    asked.write_all(head.as_bytes()).unwrap();
    let begun = audited(&mut receiver, "rekey", 1);
    gateway.process.kill();
    assert_eq!(begun[0]["outcome"], "begun");

    let gateway = Gateway::start(&stage, &path);
    reader.until("the new key", |command| (command["command"] == KEYSET).then_some(()));
    shows(&gateway, &stage, ("pad", "secure"), "true");
    let ended = audited(&mut receiver, "rekey", 2);
    assert_eq!((&ended[1]["outcome"], &ended[1]["issuer"]), (&json!("verified"), &begun[0]["issuer"]));
}

#[test]
fn a_key_that_the_box_gave_outlives_other_keys_of_the_box_and_gives_way_to_another_file() {
    let stage = Stage::new();
    let Some(Scene { core: _core, broker: _broker, mut receiver, slave: _slave, reader: _reader, path }) =
        Scene::new(&stage, KEY)
    else {
        return;
    };
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    succeeds(&gateway, &["rekey", "pad"]);

    // Another key of the box, while it runs.
    stage.write("seal_key", SECOND_SEAL);
    refuses(&gateway, &["rekey", "pad"], "`access.seal_key` was changed: `gatehouse reload` first");
    succeeds(&gateway, &["reload"]);
    // What the answer says is on the disk.
    gateway.process.kill();
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    assert_eq!(audited(&mut receiver, "reader_keys", 1), [json!({ "sealed_anew": 1, "unopened": [] })]);

    // Another key of the reader by its file, while it runs.
    stage.write("reader.key", OTHER_KEY);
    refuses(&gateway, &["rekey", "pad"], "was changed and is not in use yet: `gatehouse reload` first");
    succeeds(&gateway, &["reload"]);
    let records = audited(&mut receiver, "rekey", 5);
    assert_eq!(records[4]["outcome"], "replaced", "{records:?}");
    gateway.process.kill();
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    succeeds(&gateway, &["rekey", "pad"]);

    // Another key of the box at a start, the former not at hand, and then at hand.
    gateway.process.kill();
    stage.write("seal_key", THIRD_SEAL);
    let mut gateway = Gateway::start(&stage, &path);
    assert_eq!(audited(&mut receiver, "reader_keys", 2)[1], json!({ "sealed_anew": 0, "unopened": ["pad"] }));
    shows(&gateway, &stage, ("pad", "connected"), "true");
    assert_eq!(shown(&gateway, &stage, "pad", "secure"), "false");
    assert!(gateway.process.log().contains("access.seal_key_before"));
    gateway.process.kill();
    let former = stage.write("former_seal_key", SECOND_SEAL);
    let before = format!("[access]\nseal_key_before = {{ file = \"{}\" }}\n", former.display());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[access]\n", &before)).unwrap();
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    assert_eq!(audited(&mut receiver, "reader_keys", 3)[2], json!({ "sealed_anew": 1, "unopened": [] }));
}

#[test]
fn a_reload_with_a_key_that_cannot_be_read_is_refused_and_the_old_site_goes_on() {
    let stage = Stage::new();
    let Some(Scene { core, broker, mut receiver, slave: _slave, reader, path }) = Scene::new(&stage, KEY) else {
        return;
    };
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    let seal = std::fs::read(stage.file("seal_key")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // Of the new site nothing is to be seen: its reader has another name.
    std::fs::write(&path, text.replace("lobby-card", "other-card")).unwrap();
    stage.write("reader.key", "no key");
    refuses(&gateway, &["reload"], "the key of pad cannot be read, and the one in force is not given up");
    stage.write("reader.key", KEY);
    stage.write("seal_key", "no key");
    refuses(&gateway, &["reload"], "seal_key");
    let told = audited(&mut receiver, "reload", 2);
    let outcomes: Vec<&Value> = told.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "refused"]);

    assert_eq!(shown(&gateway, &stage, "pad", "secure"), "true");
    let of = format!("card/H10301-26/{FACILITY}/{NUMBER}");
    let put = json!({ "put": { "of": of, "kind": "card", "who": "p-1", "class": "resident", "gates": ["lobby"] } });
    core.publish(&broker, 1, &json!({ "entries": [put] }));
    audited(&mut receiver, "credentials", 1);
    reader.happens(&card(NUMBER));
    assert_eq!(reasons(&mut receiver, 1), ["granted"], "its keys and its credentials are in force");
    let passage = receiver.ledger().records("passages").find(|record| record.json["event"] == "passage").unwrap();
    assert_eq!(passage.json["data"]["via"], "lobby-card");
    std::fs::write(stage.file("seal_key"), seal).unwrap();
    succeeds(&gateway, &["reload"]);
    shows(&gateway, &stage, ("pad", "secure"), "true");
}

#[test]
fn a_change_of_keys_that_a_reader_does_not_take_is_undone_though_the_box_was_killed_in_between() {
    /// The box waits two minutes for a reader before it gives it up.
    const PATIENCE: Duration = Duration::from_secs(240);
    let stage = Stage::new();
    let Some(Scene { core: _core, broker: _broker, mut receiver, slave: _slave, reader, path }) =
        Scene::new(&stage, KEY)
    else {
        return;
    };
    let mut gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    reader.happens("refuse");
    let mut asked = UnixStream::connect(stage.file("api.sock")).unwrap();
    let head = "POST /api/v1/devices/pad/rekey HTTP/1.1\r\nHost: box\r\nContent-Length: 2\r\n\r\n{}";
    asked.write_all(head.as_bytes()).unwrap();
    reader.until("the new key", |command| (command["command"] == KEYSET).then_some(()));
    let begun = audited(&mut receiver, "rekey", 1);
    gateway.process.kill();

    let mut gateway = Gateway::start(&stage, &path);
    let ended = receiver.until("the end of the change", PATIENCE, |ledger| {
        let records = ledger.records("audit").filter(|record| record.json["event"] == "rekey");
        records.map(|record| record.json["data"].clone()).nth(1)
    });
    assert_eq!((&ended["outcome"], &ended["issuer"]), (&json!("failed"), &begun[0]["issuer"]), "{ended}");
    assert_eq!(ended["detail"], "the reader did not take it and has the key that it had");
    shows(&gateway, &stage, ("pad", "secure"), "true");
    gateway.process.kill();
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
}

#[test]
fn who_types_a_pin_at_the_reader_comes_in_and_its_digits_are_nowhere_to_be_read() {
    const PIN: &str = "80158016";
    let stage = Stage::new();
    let Some(Scene { core, broker, mut receiver, slave: _slave, reader, path }) = Scene::new(&stage, KEY) else {
        return;
    };
    let gateway = Gateway::start(&stage, &path);
    shows(&gateway, &stage, ("pad", "secure"), "true");
    let of = |text: String, kind: &str, flags: &[&str]| {
        let entry =
            json!({ "of": text, "kind": kind, "who": "p-1", "class": "resident", "gates": ["lobby"], "flags": flags });
        json!({ "put": entry })
    };
    let entries = [
        of(format!("pin/{PIN}"), "pin", &[]),
        of(format!("card/H10301-26/{FACILITY}/{NUMBER}"), "card", &["needs_pin"]),
    ];
    core.publish(&broker, 1, &json!({ "entries": entries }));
    receiver.until("the word on credentials", SOON, |ledger| {
        ledger.records("audit").any(|record| record.json["event"] == "credentials").then_some(())
    });

    reader.happens(&format!("keys {}", &PIN[..5]));
    reader.happens(&format!("keys {}#", &PIN[5..]));
    assert_eq!(reasons(&mut receiver, 1), ["granted"]);
    shows(&gateway, &stage, ("board", "pulses"), "1");
    reader.happens("keys 99*1#");
    assert_eq!(reasons(&mut receiver, 2)[1], "bad_code");
    // A card that wants its PIN takes what is typed next for it.
    reader.happens(&card(NUMBER));
    assert_eq!(reasons(&mut receiver, 3)[2], "pin_needed");
    reader.happens(&format!("keys {PIN}#"));
    assert_eq!(reasons(&mut receiver, 4)[3], "bad_code", "that PIN is not this card's");
    reader.happens(&format!("keys {}", &PIN[..5]));
    assert_eq!(reasons(&mut receiver, 5)[4], "entry_expired", "nobody ends it");
    shows(&gateway, &stage, ("board", "pulses"), "1");

    let (status, frames) = gateway.call(&stage, "GET", "/api/v1/buses/door/frames", &Value::Null);
    assert_eq!(status, 200, "{frames}");
    let told = frames.to_string().replace(' ', "");
    let bytes: String = PIN.bytes().map(|digit| format!("{digit:02x}")).collect();
    assert!(!told.contains(PIN) && !told.contains(&bytes), "{told}");
    let files = std::fs::read_dir(stage.path()).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    for file in files.filter(|file| file.is_file() && !file.ends_with("pad.orders")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(PIN), "{}", file.display());
    }
}
