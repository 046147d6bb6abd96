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
    let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[[bus]]\nid = \"doors\"\nudp = \"{}\"\nlisten = \"{listen}\"\ntimeout = \"200ms\"\n\
         [[device]]\nid = \"board\"\nserial = {SERIAL}\nprofile = \"uhppote-4door\"\ninterval = \"200ms\"\n\
         [[gate]]\nid = \"lobby\"\nkind = \"door\"\nopen = {{ device = \"board\", command = \"open\", channel = 1 }}\n\
         sensors = {{ door_contact = \"board/door_1_open\" }}\n\
         access = {{ decide = \"controller\", device = \"board\", door = 1 }}\n{access}",
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
