//! What the box decides by itself: alarms, tickets and gates, through outages and kills.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use gatehouse_tests::{Broker, Gateway, Ledger, SECONDS, Security, Slave, Stage};
use rustix::process::Signal;
use serde_json::{Value, json};

const RULES: &str = r#"
[[alarm]]
id = "set-point-high"
on = { device = ["pump"] }
when = "set_point > 100"
clear_when = "set_point < 90"
priority = "p1"
message = "set point of {device.id} is {set_point}"
instruction = "Set it back."
ticket = "pump"

[[ticket]]
id = "pump"
category = "water"
targets = { p1 = { response = 30, resolve = 240 } }
"#;

fn site(stage: &Stage, broker: &Broker, slave: &Slave) -> std::path::PathBuf {
    stage.write("rules.toml", RULES);
    let coils = |name: &str, address: u8, writable: bool| {
        let write = if writable { "write = \"single-coil\"\n" } else { "" };
        format!("[[device.point]]\nname = \"{name}\"\ntable = \"coil\"\naddress = {address}\ntype = \"bool\"\n{write}")
    };
    // The limits are coils too, so that the test can move the boom.
    let points = [("open", 0, true), ("open_limit", 1, true), ("close_limit", 2, true), ("loop", 3, true)];
    let points: String = points.into_iter().map(|(name, address, writable)| coils(name, address, writable)).collect();
    let rest = format!(
        "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{port}\"\n\
         [[device]]\nid = \"pump\"\nunit = 1\ninterval = \"200ms\"\n\
         [[device.point]]\nname = \"set_point\"\ntable = \"holding\"\naddress = 5\ntype = \"u16\"\nwrite = true\n\
         [[device]]\nid = \"barrier\"\nunit = 2\ninterval = \"200ms\"\n{points}\
         [[gate]]\nid = \"entry\"\nkind = \"barrier\"\n\
         open = {{ point = \"barrier/open\", pulse = \"500ms\" }}\n\
         sensors = {{ open_limit = \"barrier/open_limit\", close_limit = \"barrier/close_limit\", \
         loop_under_boom = \"barrier/loop\" }}\n",
        port = slave.port()
    );
    let path = stage.site(&broker.url(), "", &rest);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("id = \"box-1\"\n", "id = \"box-1\"\nrules = \"rules.toml\"\n", 1)).unwrap();
    path
}

fn alarm(gateway: &Gateway, id: &str) -> Option<Value> {
    gateway.json(&["alarms"]).as_array().unwrap().iter().find(|alarm| alarm["alarm"] == id).cloned()
}

fn events<'l>(ledger: &'l Ledger, lane: &'l str, kind: &'l str) -> Vec<&'l Value> {
    let of_kind = ledger.records(lane).filter(move |record| record.json["event"] == kind);
    of_kind.map(|record| &record.json["data"]).collect()
}

fn set(gateway: &Gateway, point: &str, value: &str) {
    let (device, point) = point.split_once('/').unwrap();
    let output = gateway.ask(&["write", device, point, value]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_fault_is_one_alarm_and_one_ticket_through_a_kill_and_an_outage() {
    const ALARM: &str = "set-point-high/pump";
    let stage = Stage::new();
    let mut broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let path = site(&stage, &broker, &slave);
    let mut gateway = Gateway::start(&stage, &path);
    gateway.until("the link", 60 * SECONDS, |status| (status["uplink"]["state"] == "up").then_some(()));

    // While the link is down the box notices, decides and keeps.
    broker.kill();
    set(&gateway, "pump/set_point", "120");
    let raised = gateway.until("the alarm", 20 * SECONDS, |_| alarm(&gateway, ALARM));
    assert_eq!(raised["state"], "unacknowledged", "{raised}");
    assert_eq!(raised["message"], "set point of pump is 120");
    let ticket = gateway.json(&["tickets"])[0].clone();
    assert_eq!((&ticket["cause"], &ticket["state"]), (&json!(ALARM), &json!("open")), "{ticket}");

    // A kill forgets nothing and raises nothing anew.
    gateway.process.signal(Signal::KILL);
    gateway.process.wait(10 * SECONDS);
    let mut gateway = Gateway::start(&stage, &path);
    let again = gateway.until("the alarm after the kill", 60 * SECONDS, |_| alarm(&gateway, ALARM));
    assert_eq!(again["occurrence"], raised["occurrence"], "{again}");
    let occurrence = format!("occurrence={}", raised["occurrence"]);
    let outcome = gateway.json(&["command", "alarm:set-point-high/pump", "acknowledge", &occurrence]);
    assert_eq!(outcome["outcome"], "verified", "{outcome}");
    assert_eq!(alarm(&gateway, ALARM).unwrap()["state"], "acknowledged");

    // Afterwards the core hears of all of it, once.
    broker.restart();
    receiver.until("the alarm and the ticket", 60 * SECONDS, |ledger| {
        let acknowledged =
            events(ledger, "alarms", "alarm").iter().any(|e| e["alarm"] == ALARM && e["to"] == "acknowledged");
        (acknowledged && ledger.missing().is_empty()).then_some(())
    });
    let ledger = receiver.ledger();
    let raises = events(ledger, "alarms", "alarm");
    let raises = raises.iter().filter(|e| e["alarm"] == ALARM && e["to"] == "unacknowledged").count();
    assert_eq!(raises, 1, "{}", ledger.summary());
    let opened = events(ledger, "tickets", "ticket");
    let opened: Vec<_> = opened.iter().filter(|e| e["change"] == "opened" && e["cause"] == ALARM).collect();
    assert_eq!(opened.len(), 1, "{}", ledger.summary());
    assert_eq!(opened[0]["targets"]["response_min"], 30, "{}", opened[0]);
    assert!(opened[0]["evidence"]["readings"].to_string().contains("set_point"), "{}", opened[0]);

    set(&gateway, "pump/set_point", "50");
    gateway.until("the end", 20 * SECONDS, |_| alarm(&gateway, ALARM).is_none().then_some(()));
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

#[test]
fn a_gate_opens_once_for_its_command_and_for_nothing_else() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let mut gateway = Gateway::start(&stage, &site(&stage, &broker, &slave));
    set_when_up(&gateway);
    let gate = |gateway: &Gateway| gateway.json(&["gates"])[0].clone();
    gateway.until("the boom is seen", 20 * SECONDS, |_| (gate(&gateway)["state"] == "closed").then_some(()));

    // A raw write to what the gate works is refused, with the way that is open.
    let raw = gateway.ask(&["write", "barrier", "open", "on"]);
    let said = String::from_utf8_lossy(&raw.stderr);
    assert!(!raw.status.success() && said.contains("belongs to the gate entry"), "{said}");

    // The command is under way until the limit shows that it is done: the test is the motor.
    let opening = std::thread::scope(|scope| {
        let opening = scope.spawn(|| gateway.json(&["command", "gate:entry", "open", "--reason", "resident_request"]));
        gateway.until("the motor starts", 20 * SECONDS, |_| (gate(&gateway)["state"] == "opening").then_some(()));
        set(&gateway, "barrier/close_limit", "off");
        set(&gateway, "barrier/open_limit", "on");
        opening.join().unwrap()
    });
    assert_eq!(opening["outcome"], "verified", "{opening}");
    gateway.until("the boom is up", 20 * SECONDS, |_| (gate(&gateway)["state"] == "open").then_some(()));

    // Somebody under the boom: no close, whoever asks. The site has no close output; the interlock answers first.
    set(&gateway, "barrier/loop", "on");
    gateway.until("the loop is seen", 20 * SECONDS, |_| {
        let sensors = gate(&gateway)["sensors"].clone();
        let on = sensors.as_array().unwrap().iter().any(|s| s["role"] == "loop_under_boom" && s["active"] == true);
        on.then_some(())
    });
    let closing = gateway.ask(&["command", "gate:entry", "close", "--json"]);
    let closing: Value = serde_json::from_slice(&closing.stdout).unwrap();
    assert_eq!((&closing["outcome"], &closing["reason"]), (&json!("refused"), &json!("vehicle_under_boom")));

    receiver.until("the audit trail", 20 * SECONDS, |ledger| {
        let ended = events(ledger, "audit", "command").iter().filter(|e| e["last"] == true).count();
        (ended == 2 && ledger.missing().is_empty()).then_some(())
    });
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}

/// Puts the boom down once the daemon answers.
fn set_when_up(gateway: &Gateway) {
    gateway.until("the barrier answers", 60 * SECONDS, |status| {
        let devices = status["devices"].as_array()?;
        devices.iter().all(|device| device["state"] == "online").then_some(())
    });
    set(gateway, "barrier/close_limit", "on");
}
