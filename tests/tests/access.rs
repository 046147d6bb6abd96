//! Who may pass: cards, plates and codes, credentials that a core signed which nobody here wrote, and its answers.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_tests::{Broker, Core, Gateway, Ledger, SECONDS, Security, Slave, Stage, Subscriber};
use rustix::process::Signal;
use serde_json::{Value, json};

/// How long anything may take that is to happen at once.
const SOON: Duration = Duration::from_secs(30);

/// Two doors and a card reader on pymodbus: the reader is unit 1, the lock of the lobby coil 0 of unit 2, that of the side
/// door coil 1. `lobby` and `side` are the tables that say how they decide; `rest` goes to the end.
fn site(stage: &Stage, broker: &Broker<'_>, slave: &Slave, (lobby, side, rest): (&str, &str, &str)) -> PathBuf {
    let point = |name: &str, table: &str, address: u8, kind: &str, write: &str| {
        format!(
            "[[device.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\ntype = \"{kind}\"\n{write}\n"
        )
    };
    let words = [("card", 10), ("facility", 11), ("count", 12)];
    let words: String = words.map(|(name, at)| point(name, "holding", at, "u16", "write = true")).concat();
    let pulses = point("pulses", "holding", 7, "u16", "");
    let locks =
        [("lobby", 0), ("side", 1)].map(|(name, at)| point(name, "coil", at, "bool", "write = \"single-coil\""));
    let gate = |id: &str, access: &str| {
        format!(
            "[[gate]]\nid = \"{id}\"\nkind = \"door\"\nopen = {{ point = \"board/{id}\", pulse = \"500ms\" }}\n\
             policy = {{ grant = \"1s\" }}\naccess = {{ {access} }}\n"
        )
    };
    let text = format!(
        "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{port}\"\n\
         [[device]]\nid = \"reader\"\nunit = 1\ninterval = \"100ms\"\n{words}\
         [[device]]\nid = \"board\"\nunit = 2\ninterval = \"100ms\"\n{pulses}{locks}{lobby}{side}\
         [[reader]]\nname = \"lobby-card\"\ngate = \"lobby\"\nnumber = \"reader/card\"\nfacility = \"reader/facility\"\n\
         count = \"reader/count\"\nformat = \"H10301-26\"\n\
         [[reader]]\nname = \"lobby-pad\"\ngate = \"lobby\"\n[[reader]]\nname = \"side-pad\"\ngate = \"side\"\n{rest}",
        port = slave.port(),
        locks = locks.concat(),
        lobby = gate("lobby", lobby),
        side = gate("side", side),
    );
    let tls = ["ca.pem", "box.pem", "box.key"].map(|file| stage.file(file).display().to_string());
    let uplink = match tls.iter().all(|file| PathBuf::from(file).exists()) {
        true => format!("ca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n", tls[0], tls[1], tls[2]),
        false => String::new(),
    };
    stage.site(&broker.url(), &uplink, &text)
}

/// Starts the daemon, and waits until the link is up and the devices answer.
fn start(stage: &Stage, path: &std::path::Path, link: bool) -> Gateway {
    let gateway = Gateway::start(stage, path);
    gateway.until("the devices and the link", 60 * SECONDS, |status| {
        let up = !link || status["uplink"]["state"] == "up";
        let online = |device: &Value| device["state"] == "online";
        (up && status["devices"].as_array()?.iter().all(online)).then_some(())
    });
    gateway
}

fn put(of: &str, kind: &str, who: &str, gates: &[&str]) -> Value {
    json!({ "put": { "of": of, "kind": kind, "who": who, "class": "resident", "gates": gates } })
}

fn events<'l>(ledger: &'l Ledger, lane: &'l str, kind: &'l str) -> Vec<&'l Value> {
    let of_kind = ledger.records(lane).filter(move |record| record.json["event"] == kind);
    of_kind.map(|record| &record.json["data"]).collect()
}

/// Waits for what the box says of the credentials that came, and gives the last of `count` events.
fn credentials(receiver: &mut Subscriber, count: usize) -> Value {
    receiver.until("the word on credentials", SOON, |ledger| {
        events(ledger, "audit", "credentials").get(count - 1).map(|event| (*event).clone())
    })
}

/// Waits for so many passage records, and gives reason, decider and holder of each.
fn passages(receiver: &mut Subscriber, count: usize) -> Vec<(String, String, String)> {
    receiver.until("the passage records", SOON, |ledger| {
        let all = events(ledger, "passages", "passage");
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let told = |one: &&Value| (text(&one["reason"]), text(&one["decided_by"]), text(&one["who"]));
        (all.len() >= count && ledger.missing().is_empty()).then(|| all.iter().map(told).collect())
    })
}

fn words(rows: &[(String, String, String)]) -> Vec<(&str, &str, &str)> {
    rows.iter().map(|(reason, by, who)| (reason.as_str(), by.as_str(), who.as_str())).collect()
}

/// The reader's registers as one card more leaves them.
fn show_card(gateway: &Gateway, number: u16, count: u16) {
    for (point, value) in [("card", number), ("facility", 12), ("count", count)] {
        let output = gateway.ask(&["write", "reader", point, &value.to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What the board showed last at a point.
fn board(gateway: &Gateway, stage: &Stage, point: &str) -> String {
    let (status, document) = gateway.call(stage, "GET", "/api/v1/devices/board", &Value::Null);
    assert_eq!(status, 200, "{document}");
    let found = document["points"].as_array().unwrap().iter().find(|one| one["name"] == point);
    let value = found.and_then(|point| point["value"].as_str());
    assert!(value.is_some(), "no {point}: {document}");
    value.unwrap().to_owned()
}

/// How often the lobby's lock was switched on.
fn pulses(gateway: &Gateway, stage: &Stage) -> u64 {
    board(gateway, stage, "pulses").parse().unwrap()
}

fn pulses_are(gateway: &Gateway, stage: &Stage, wanted: u64) {
    gateway.until(&format!("{wanted} pulses"), SOON, |_| (pulses(gateway, stage) >= wanted).then_some(()));
    assert_eq!(pulses(gateway, stage), wanted);
}

fn present(gateway: &Gateway, stage: &Stage, reader: &str, shown: &Value) -> Value {
    let (status, answer) = gateway.call(stage, "POST", &format!("/api/v1/readers/{reader}/present"), shown);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// What was on the wires is there, but for the number of a card.
fn no_frame_tells(gateway: &Gateway, stage: &Stage, card: u16) {
    let (status, frames) = gateway.call(stage, "GET", "/api/v1/buses/tcp/frames", &Value::Null);
    assert_eq!(status, 200, "{frames}");
    let [high, low] = card.to_be_bytes();
    for frame in frames["frames"].as_array().unwrap() {
        // Behind the number of the transaction, which may be anything.
        let bytes = frame["bytes"].as_str().unwrap().get(6..).unwrap_or_default();
        assert!(!bytes.contains(&format!("{high:02x} {low:02x}")), "{frame}");
    }
    let fields = |frame: &Value| frame["fields"].as_array().unwrap().clone();
    let fields: Vec<Value> = frames["frames"].as_array().unwrap().iter().flat_map(fields).collect();
    assert!(fields.iter().any(|field| field["name"] == "registers" && field["text"] == "concealed"), "{frames}");
    assert!(fields.iter().any(|field| field["name"] == "bits" && field["text"] != "concealed"), "the lock's: {frames}");
}

const CARD: &str = "card/H10301-26/12/3456";

#[test]
fn a_card_opens_by_the_cores_word_through_a_kill_and_an_outage_until_it_is_revoked() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let mut broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let path = site(&stage, &broker, &slave, ("", "", &core.table(&stage)));
    let mut gateway = start(&stage, &path, true);

    let entries = json!([put(CARD, "card", "p-1", &["lobby"]), put("plate/京A12345", "plate", "p-2", &["side"])]);
    core.publish(&broker, 1, &json!({ "entries": entries, "parts": 2 }));
    let told = credentials(&mut receiver, 1);
    let wanted = json!({ "version": 1, "base_version": null, "entries": 2, "refused": null, "in_force": 1 });
    assert_eq!(told, wanted);

    show_card(&gateway, 3456, 1);
    assert_eq!(words(&passages(&mut receiver, 1)), [("granted", "box", "p-1")]);
    pulses_are(&gateway, &stage, 1);
    no_frame_tells(&gateway, &stage, 3456);
    show_card(&gateway, 3457, 2);
    assert_eq!(words(&passages(&mut receiver, 2))[1], ("unknown_credential", "box", "-"));

    // One altered byte: nothing changes, and the core hears it.
    let revoked = json!([{ "revoke": { "of": CARD } }]);
    core.publish(&broker, 2, &json!({ "entries": revoked, "header": { "base_version": 1 }, "alter": 12 }));
    let told = credentials(&mut receiver, 2);
    assert_eq!((&told["version"], &told["in_force"]), (&Value::Null, &json!(1)), "{told}");
    assert!(told["refused"].as_str().unwrap().starts_with("not signed by a key"), "{told}");

    // Killed, and without the core: the box knows what it knew.
    broker.kill();
    gateway.process.signal(Signal::KILL);
    gateway.process.wait(10 * SECONDS);
    let mut gateway = start(&stage, &path, false);
    let (_, access) = gateway.call(&stage, "GET", "/api/v1/access", &Value::Null);
    assert_eq!((&access["version"], &access["credentials"]), (&json!(1), &json!(2)), "{access}");
    gateway.until("the reader is looked at", SOON, |_| {
        let (_, device) = gateway.call(&stage, "GET", "/api/v1/devices/reader", &Value::Null);
        assert!(!device.to_string().contains("3457"), "who is at a reader is shown to nobody: {device}");
        device.to_string().contains("\"personal\"").then_some(())
    });
    assert_eq!(pulses(&gateway, &stage), 1, "the card that lay there before opens nothing");
    show_card(&gateway, 3456, 3);
    pulses_are(&gateway, &stage, 2);

    broker.restart();
    let rows = passages(&mut receiver, 3);
    assert_eq!(words(&rows)[2..], [("granted", "box", "p-1")]);

    core.publish(&broker, 2, &json!({ "entries": revoked, "header": { "base_version": 1 } }));
    let told = credentials(&mut receiver, 3);
    assert_eq!((&told["version"], &told["refused"], &told["in_force"]), (&json!(2), &Value::Null, &json!(2)), "{told}");
    show_card(&gateway, 3456, 4);
    let rows = passages(&mut receiver, 4);
    assert_eq!(words(&rows)[3..], [("revoked", "box", "p-1")]);
    assert_eq!(pulses(&gateway, &stage), 2);
    let ledger = receiver.ledger();
    let requests: Vec<_> = events(ledger, "passages", "passage").iter().map(|one| one["request"].clone()).collect();
    let distinct: std::collections::BTreeSet<_> = requests.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), requests.len(), "each once: {requests:?}");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn the_core_answers_in_time_or_the_gate_goes_by_its_offline_policy() {
    let stage = Stage::new();
    stage.certificates("box-1");
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Certificates);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let gates = (
        "decide = \"core\", deadline = \"10s\", offline = \"deny\"",
        "decide = \"core\", deadline = \"300ms\", offline = \"guard_only\"",
        &*core.table(&stage),
    );
    let mut gateway = start(&stage, &site(&stage, &broker, &slave, gates), true);

    // Nothing is known of the plate here; the core says that it may pass.
    let shown = json!({ "plate": { "text": "沪B·99999", "confidence": 97 } });
    let asked = present(&gateway, &stage, "lobby-pad", &shown);
    assert_eq!(asked["decided"], false, "{asked}");
    let question = receiver.until("the question", SOON, |ledger| ledger.retained("box-1/ask").cloned());
    assert_eq!(question["request"], asked["request"]);
    let told = ["gate", "direction", "kind"].map(|key| question[key].as_str().unwrap());
    assert_eq!((told, &question["deadline_ms"]), (["lobby", "in", "plate"], &json!(10_000)), "{question}");
    let answer = |request: &Value| json!({ "v": 1, "request": request, "allow": true, "reason": "granted", "facts": { "account": "A-7" } });
    broker.publish("answer", &answer(&asked["request"]).to_string());
    assert_eq!(words(&passages(&mut receiver, 1)), [("granted", "core", "-")]);
    pulses_are(&gateway, &stage, 1);
    let record = events(receiver.ledger(), "passages", "passage")[0].clone();
    assert_eq!((&record["facts"]["account"], &record["facts"]["kind"]), (&json!("A-7"), &json!("plate")), "{record}");

    // The side door's core is too slow.
    let locked = board(&gateway, &stage, "side");
    let asked = present(&gateway, &stage, "side-pad", &shown);
    assert_eq!(words(&passages(&mut receiver, 2))[1], ("guard_only", "offline_policy", "-"));
    broker.publish("answer", &answer(&asked["request"]).to_string());
    let access = gateway.until("the late answer", SOON, |_| {
        let (_, access) = gateway.call(&stage, "GET", "/api/v1/access", &Value::Null);
        (access["late_answers"] == 1).then_some(access)
    });
    assert_eq!((&access["unanswered"], &access["asked"]), (&json!(1), &json!(0)), "{access}");
    assert_eq!(board(&gateway, &stage, "side"), locked);
    assert_eq!(passages(&mut receiver, 2).len(), 2);
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn plates_and_codes_come_through_the_api_and_guessing_is_locked_out() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let gates = ("visitor_pins = true", "visitor_pins = true", &*core.table(&stage));
    let mut gateway = start(&stage, &site(&stage, &broker, &slave, gates), true);
    core.publish(&broker, 1, &json!({ "entries": [put("plate/京A12345", "plate", "p-2", &["lobby"])] }));
    credentials(&mut receiver, 1);

    let plate = |text: &str| json!({ "plate": { "text": text, "confidence": 93, "colour": "blue" } });
    let verdict = present(&gateway, &stage, "lobby-pad", &plate("京a·12345"));
    assert_eq!((&verdict["allowed"], &verdict["reason"]), (&json!(true), &json!("granted")), "{verdict}");
    let again = present(&gateway, &stage, "lobby-pad", &plate("京A12345"));
    assert_eq!((&again["duplicate"], &again["request"]), (&json!(true), &verdict["request"]), "{again}");
    assert_eq!(present(&gateway, &stage, "side-pad", &plate("京A12345"))["reason"], "wrong_gate");

    let (status, code) = gateway.call(&stage, "POST", "/api/v1/access/codes", &json!({ "form": "pin" }));
    assert_eq!(status, 200, "{code}");
    let pin = json!({ "code": code["text"] });
    let verdict = present(&gateway, &stage, "lobby-pad", &pin);
    assert_eq!((&verdict["allowed"], &verdict["reason"]), (&json!(true), &json!("granted")), "{verdict}");
    assert_eq!(present(&gateway, &stage, "side-pad", &pin)["reason"], "code_used", "at another door");
    let second = gateway.until("the second try counts as one", SOON, |_| {
        let verdict = present(&gateway, &stage, "lobby-pad", &pin);
        (verdict["duplicate"] != true).then_some(verdict)
    });
    assert_eq!((&second["allowed"], &second["reason"]), (&json!(false), &json!("code_used")), "{second}");

    // Who guesses finds the keypad closed, also for a code that is good; the other door is not concerned.
    for guess in 0..5 {
        let wrong = present(&gateway, &stage, "lobby-pad", &json!({ "code": format!("123{guess}") }));
        assert_eq!(wrong["reason"], "bad_code", "{wrong}");
    }
    let (_, code) = gateway.call(&stage, "POST", "/api/v1/access/codes", &json!({ "form": "pin" }));
    let pin = json!({ "code": code["text"] });
    assert_eq!(present(&gateway, &stage, "lobby-pad", &pin)["reason"], "locked_out");
    assert_eq!(present(&gateway, &stage, "side-pad", &pin)["reason"], "granted");
    let (_, access) = gateway.call(&stage, "GET", "/api/v1/access", &Value::Null);
    assert_eq!(access["closed_readers"], json!(["lobby-pad"]), "{access}");
    receiver.until("the alarm of guessing", SOON, |ledger| {
        let raised = events(ledger, "alarms", "alarm").iter().any(|e| e["alarm"] == "guard_guessing/lobby-pad");
        raised.then_some(())
    });
    let (status, refused) = gateway.call(&stage, "POST", "/api/v1/readers/loby-pad/present", &plate("京A12345"));
    assert_eq!((status, &refused["code"]), (404, &json!("unknown_reader")), "{refused}");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn a_secret_that_comes_later_is_used_after_a_reload() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let path = site(&stage, &broker, &slave, ("", "", &core.table(&stage)));
    let seal = std::fs::read(stage.file("seal_key")).unwrap();
    std::fs::remove_file(stage.file("seal_key")).unwrap();
    let mut gateway = start(&stage, &path, true);
    let plate = json!({ "plate": { "text": "京A12345", "confidence": 93 } });
    assert_eq!(present(&gateway, &stage, "lobby-pad", &plate)["reason"], "no_credentials");

    std::fs::write(stage.file("seal_key"), seal).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("grant = \"1s\"", "grant = \"2s\"", 1)).unwrap();
    let reloaded = gateway.ask(&["reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    core.publish(&broker, 1, &json!({ "entries": [put("plate/京A12345", "plate", "p-2", &["side"])] }));
    assert_eq!(credentials(&mut receiver, 1)["in_force"], 1);
    assert_eq!(present(&gateway, &stage, "side-pad", &plate)["reason"], "granted");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}
