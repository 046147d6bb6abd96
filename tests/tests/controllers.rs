//! A controller that decides at its door by its own list: opened over a network that loses datagrams, and taken in
//! afterwards, each of its events once.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatehouse_hil::door::{Board, DoorNet, Swipe, Weather};
use gatehouse_tests::{Broker, Core, Gateway, Ledger, SECONDS, Security, Stage, Subscriber};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const SERIAL: u32 = 423_187_757;
/// Facility code 61, number 54412.
const CARD: u32 = 6_154_412;
const STRANGER: u32 = 6_154_413;
/// 30 of 100 datagrams are lost each way, 20 doubled, 20 overtaken.
const FOUL: Weather = Weather { lost: 30, doubled: 20, overtaken: 20, cut: false };

/// A controller that lists one card for door 1.
fn board() -> Board {
    let mut board = Board::new(SERIAL);
    let mut rest = [0; 16];
    rest[..9].copy_from_slice(&[0x20, 0x26, 0x01, 0x01, 0x20, 0x99, 0x12, 0x31, 1]);
    board.list.push(Some((CARD, rest)));
    board
}

fn site(stage: &Stage, broker: &Broker<'_>, net: &DoorNet, access: &str) -> PathBuf {
    site_with(stage, broker, net, (access, ""))
}

/// `keys` go with those of the gate's access.
fn site_with(stage: &Stage, broker: &Broker<'_>, net: &DoorNet, (access, keys): (&str, &str)) -> PathBuf {
    let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[[bus]]\nid = \"doors\"\nudp = \"{}\"\nlisten = \"{listen}\"\ntimeout = \"200ms\"\n\
         [[device]]\nid = \"board\"\nserial = {SERIAL}\nprofile = \"uhppote-4door\"\ninterval = \"200ms\"\n\
         [[gate]]\nid = \"lobby\"\nkind = \"door\"\nopen = {{ device = \"board\", command = \"open\", channel = 1 }}\n\
         sensors = {{ door_contact = \"board/door_1_open\" }}\n\
         access = {{ decide = \"controller\", device = \"board\", door = 1{keys} }}\n{access}",
        net.address
    );
    stage.site(&broker.url(), "", &text)
}

fn start(stage: &Stage, path: &Path) -> Gateway {
    let gateway = Gateway::start(stage, path);
    gateway.until("the controller answers", SOON, |status| {
        let online = |device: &Value| device["state"] == "online";
        status["devices"].as_array()?.iter().all(online).then_some(())
    });
    gateway
}

fn events<'l>(ledger: &'l Ledger, lane: &'l str, kind: &'l str) -> Vec<&'l Value> {
    let of_kind = ledger.records(lane).filter(move |record| record.json["event"] == kind);
    of_kind.map(|record| &record.json["data"]).collect()
}

fn audit(receiver: &mut Subscriber, kind: &str) -> Value {
    receiver.until(kind, SOON, |ledger| events(ledger, "audit", kind).first().map(|event| (*event).clone()))
}

/// Waits for so many passages, all that there may be; gives event, reason, decider and holder of each.
fn passages(receiver: &mut Subscriber, count: usize) -> Vec<(String, String, String, String)> {
    let rows = receiver.until("the passages", SOON, |ledger| {
        let all = events(ledger, "passages", "passage");
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let told = |one: &&Value| {
            (text(&one["facts"]["event"]), text(&one["reason"]), text(&one["decided_by"]), text(&one["who"]))
        };
        (all.len() >= count && ledger.missing().is_empty()).then(|| all.iter().map(told).collect::<Vec<_>>())
    });
    assert_eq!(rows.len(), count, "{rows:?}");
    rows
}

/// Waits until the box has taken in all that the controller has recorded.
fn caught_up(gateway: &Gateway, stage: &Stage, net: &DoorNet) {
    gateway.until("the box has caught up", SOON, |_| {
        let (status, document) = gateway.call(stage, "GET", "/api/v1/controllers", &Value::Null);
        assert_eq!(status, 200, "{document}");
        let taken = document[0]["taken"].as_u64()?;
        (taken == u64::from(net.board().last_event())).then_some(())
    });
}

fn swipe(net: &DoorNet, card: u32) {
    net.swipe(Swipe { card, door: 1, out: false });
}

#[test]
fn what_a_controller_decided_is_taken_in_once_through_loss_kills_and_outages() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let mut broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let net = DoorNet::start(board(), 1).unwrap();
    let path = site(&stage, &broker, &net, &core.table(&stage));
    let mut gateway = start(&stage, &path);
    let of = "card/H10301-26/61/54412";
    let put = json!({ "put": { "of": of, "kind": "card", "who": "p-1", "class": "resident", "gates": ["lobby"] } });
    core.publish(&broker, 1, &json!({ "entries": [put] }));
    audit(&mut receiver, "credentials");
    caught_up(&gateway, &stage, &net);

    swipe(&net, CARD);
    swipe(&net, STRANGER);
    net.board().press(1);
    let row = |event: u32, reason: &str, by: &str, who: &str| {
        (event.to_string(), reason.to_owned(), by.to_owned(), who.to_owned())
    };
    let mut expected = vec![
        row(1, "granted", "controller", "p-1"),
        row(2, "no_privilege", "controller", "-"),
        row(3, "granted", "exit_button", "-"),
    ];
    assert_eq!(passages(&mut receiver, 3), expected);
    let record = events(receiver.ledger(), "passages", "passage")[0].clone();
    assert_eq!((&record["gate"], &record["recorded"]["local"]), (&json!("lobby"), &json!("2026-11-26T09:00:00")));
    assert!(!record.to_string().contains(&CARD.to_string()), "no number of a card leaves the box: {record}");

    // Foul weather, a link that is cut, and a box that is killed while it takes events in.
    net.set_weather(FOUL);
    broker.kill();
    for round in 0..3 {
        (0..4).for_each(|_| swipe(&net, CARD));
        if round == 1 {
            gateway.process.signal(Signal::KILL);
            gateway.process.wait(10 * SECONDS);
            (0..4).for_each(|_| swipe(&net, STRANGER));
            gateway = start(&stage, &path);
        }
    }
    caught_up(&gateway, &stage, &net);
    broker.restart();
    expected.extend((4..=11).map(|event| row(event, "granted", "controller", "p-1")));
    expected.extend((12..=15).map(|event| row(event, "no_privilege", "controller", "-")));
    expected.extend((16..=19).map(|event| row(event, "granted", "controller", "p-1")));
    assert_eq!(passages(&mut receiver, 19), expected);

    // The door is opened once for one command, whatever becomes of the answers.
    for commands in 1..=4 {
        gateway.ask(&["command", "gate:lobby", "open", "--reason", "visitor", "--json"]);
        assert!(net.board().opened[0] <= commands, "a lost request is not sent again");
    }
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn a_ring_that_ran_over_and_a_controller_that_was_reset_are_told() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let mut small = board();
    small.capacity = 5;
    let net = DoorNet::start(small, 2).unwrap();
    let path = site(&stage, &broker, &net, "");
    let mut gateway = start(&stage, &path);
    swipe(&net, CARD);
    caught_up(&gateway, &stage, &net);
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    (0..20).for_each(|_| swipe(&net, CARD));

    let mut gateway = start(&stage, &path);
    caught_up(&gateway, &stage, &net);
    let gap = audit(&mut receiver, "controller_gap");
    assert_eq!(gap, json!({ "controller": "board", "from": 2, "to": 16, "why": "overwritten" }));
    assert_eq!(passages(&mut receiver, 6)[5].0, "21");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());

    net.board().reset();
    swipe(&net, STRANGER);
    let mut gateway = start(&stage, &path);
    caught_up(&gateway, &stage, &net);
    assert_eq!(audit(&mut receiver, "controller_reset"), json!({ "controller": "board", "taken": 21 }));
    assert_eq!(passages(&mut receiver, 7)[6].0, "1");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

/// Facility 61 and this number, as the controller writes it.
fn numbered(card: u32) -> u32 {
    6_100_000 + card
}

/// An entry of a snapshot for a card with its number.
fn put(card: u32, more: &Value) -> Value {
    let mut what = json!({
        "of": format!("card/H10301-26/61/{card}"), "kind": "card", "who": format!("p-{card}"), "class": "resident",
        "gates": ["lobby"], "number": numbered(card),
    });
    for (key, value) in more.as_object().unwrap() {
        what[key] = value.clone();
    }
    json!({ "put": what })
}

/// The first controller's list, once it is in this state and made of this version.
fn list_is(gateway: &Gateway, state: &str, version: Option<u64>) -> Value {
    gateway.until(&format!("the list is {state}"), SOON, |status| {
        let list = &status["controllers"][0]["cards"];
        (list["state"] == state && list["version"].as_u64() == version).then(|| list.clone())
    })
}

fn listed(net: &DoorNet) -> Vec<u32> {
    let mut cards = net.board().cards();
    cards.sort_unstable();
    cards
}

/// How often the list was written.
fn writes(net: &DoorNet) -> u64 {
    [0x50, 0x52, 0x54].iter().filter_map(|function| net.board().asked.get(function).copied()).sum()
}

#[test]
fn the_box_keeps_the_list_of_a_controller_as_the_credentials_say_and_tells_no_number() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let mut before = board();
    before.list.extend([None, Some((STRANGER, [0; 16])), None]);
    let net = DoorNet::start(before, 3).unwrap();
    let path = site_with(&stage, &broker, &net, (&core.table(&stage), ", cards = \"box\""));
    let mut gateway = start(&stage, &path);

    // Without credentials nothing can be said of the list.
    let list = list_is(&gateway, "unsaid", None);
    assert_eq!((&list["why"], writes(&net)), (&json!("no_credentials"), 0));
    assert_eq!(listed(&net), [CARD, STRANGER]);

    let hours = json!({ "schedules": { "day": "mon-fri 08:00-18:00" } });
    let entries = [
        put(54_412, &json!({})),
        put(1, &json!({})),
        put(2, &json!({ "schedule": "day" })),
        put(3, &json!({ "until": 1_700_000_000 })),
    ];
    core.publish(&broker, 1, &json!({ "header": hours, "entries": entries }));
    let list = list_is(&gateway, "equal", Some(1));
    assert_eq!((&list["cards"], &list["not_expressible"]), (&json!(2), &json!({ "schedule": 1 })));
    assert_eq!(listed(&net), [numbered(1), CARD]);
    assert_eq!(net.board().dropped, [STRANGER], "what was listed and is valid stayed there");

    // A new card comes and a revoked one goes, with what it costs and no more.
    let change = json!({ "header": { "base_version": 1 }, "entries": [
        put(4, &json!({})), { "revoke": { "of": "card/H10301-26/61/1" } },
    ] });
    core.publish(&broker, 2, &change);
    list_is(&gateway, "equal", Some(2));
    assert_eq!((listed(&net), net.board().dropped.clone()), (vec![numbered(4), CARD], vec![STRANGER, numbered(1)]));
    let told = receiver.until("what was done", SOON, |ledger| {
        let all = events(ledger, "audit", "controller_cards");
        let whom = |of: &str| {
            let holders = all.iter().flat_map(|event| event[of].as_array().into_iter().flatten());
            holders.map(|holder| holder["who"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
        };
        let done = (whom("listed"), whom("changed"), whom("dropped"));
        (done.2.len() == 2).then_some(done)
    });
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(told, (names(&["p-1", "p-4"]), names(&["p-54412"]), names(&["-", "p-1"])));

    let text = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
    assert!(text.contains("equal, 2 of 2 of version 2, not expressible: schedule 1"), "{text}");
    let (_, frames) = gateway.call(&stage, "GET", "/api/v1/buses/doors/frames", &Value::Null);
    let records: String = ["audit", "passages", "alarms"]
        .iter()
        .flat_map(|lane| receiver.ledger().records(lane))
        .map(|record| record.json.to_string())
        .collect();
    for card in [CARD, STRANGER, numbered(1), numbered(4)] {
        let wire: Vec<String> = card.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let frames = frames.to_string().to_lowercase();
        assert!(!frames.contains(&wire.join(" ")) && !frames.contains(&card.to_string()), "{card} is in the trace");
        for (what, text) in [("records", &records), ("log", &gateway.process.log()), ("status", &text)] {
            assert!(!text.contains(&card.to_string()), "{card} is in the {what}");
        }
    }
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn a_box_that_is_killed_while_it_writes_a_list_in_foul_weather_ends_with_the_list_right() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Open);
    let mut before = board();
    before.blank_places = true;
    let rest = before.list[0].unwrap().1;
    before.list.extend((1..=10).map(|card| Some((numbered(card), rest))));
    before.list.extend([None, Some((STRANGER, [0; 16]))]);
    let net = DoorNet::start(before, 4).unwrap();
    let path = site_with(&stage, &broker, &net, (&core.table(&stage), ", cards = \"box\""));
    let mut gateway = start(&stage, &path);
    let entries: Vec<Value> = (1..=40).map(|card| put(card, &json!({}))).collect();
    net.set_weather(Weather { lost: 10, doubled: 20, overtaken: 10, cut: false });
    core.publish(&broker, 1, &json!({ "entries": entries }));
    for at_least in [15, 25] {
        gateway.until("it is in the middle of it", SOON, |_| (listed(&net).len() >= at_least).then_some(()));
        gateway.process.signal(Signal::KILL);
        gateway.process.wait(10 * SECONDS);
        gateway = start(&stage, &path);
    }
    list_is(&gateway, "equal", Some(1));
    let wanted: Vec<u32> = (1..=40).map(numbered).collect();
    assert_eq!(listed(&net), wanted);
    let dropped = net.board().dropped.clone();
    assert!(dropped.iter().all(|card| [CARD, STRANGER].contains(card)), "no valid card was ever off it: {dropped:?}");

    // A list without room is told, and the controller is polled all the same.
    net.set_weather(Weather::default());
    net.board().list_capacity = 41;
    let more = json!({ "header": { "base_version": 1 }, "entries": [put(50, &json!({})), put(51, &json!({}))] });
    core.publish(&broker, 2, &more);
    let list = list_is(&gateway, "unequal", Some(2));
    assert_eq!((&list["listed"], &list["refused"]), (&json!(41), &json!(1)));
    let (_, alarms) = gateway.call(&stage, "GET", "/api/v1/alarms", &Value::Null);
    assert_eq!((&alarms[0]["alarm"], &alarms[0]["active"]), (&json!("controller_list/board"), &json!(true)));
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn cards_that_are_removed_and_doors_that_are_taken_away_before_a_kill_reach_the_controller_afterwards() {
    let stage = Stage::new();
    let core = Core::new(&stage);
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let net = DoorNet::start(board(), 5).unwrap();
    let yard = "[[gate]]\nid = \"yard\"\nkind = \"door\"\n\
                open = { device = \"board\", command = \"open\", channel = 2 }\n\
                access = { decide = \"controller\", device = \"board\", door = 2, cards = \"box\" }\n";
    let rest = format!("{yard}{}", core.table(&stage));
    let path = site_with(&stage, &broker, &net, (&rest, ", cards = \"box\""));
    let mut gateway = start(&stage, &path);
    let both = json!({ "gates": ["lobby", "yard"] });
    core.publish(&broker, 1, &json!({ "entries": [put(1, &both), put(2, &both), put(3, &both)] }));
    list_is(&gateway, "equal", Some(1));
    let doors = |card: u32| -> Option<[u8; 4]> {
        let board = net.board();
        let (_, rest) = board.list.iter().flatten().find(|(number, _)| *number == numbered(card))?;
        rest.get(8..12)?.try_into().ok()
    };
    assert_eq!([1, 2, 3].map(doors), [Some([1, 1, 0, 0]); 3]);

    // The controller is not reached before the box is killed.
    net.set_weather(Weather { cut: true, ..Weather::default() });
    let change = json!({ "header": { "base_version": 1 }, "entries": [
        { "revoke": { "of": "card/H10301-26/61/1" } }, put(2, &json!({})),
    ] });
    core.publish(&broker, 2, &change);
    receiver.until("the second version", SOON, |ledger| {
        events(ledger, "audit", "credentials").iter().any(|event| event["in_force"] == 2).then_some(())
    });
    gateway.process.signal(Signal::KILL);
    gateway.process.wait(10 * SECONDS);
    assert_eq!([1, 2, 3].map(doors), [Some([1, 1, 0, 0]); 3], "nothing of it was there before");
    net.set_weather(Weather::default());
    let mut gateway = start(&stage, &path);
    list_is(&gateway, "equal", Some(2));
    assert_eq!([1, 2, 3].map(doors), [None, Some([1, 0, 0, 0]), Some([1, 1, 0, 0])]);
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}
