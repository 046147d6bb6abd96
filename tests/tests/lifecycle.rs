//! A daemon's life: reloads, ports that come and go, and an orderly end.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use gatehouse_tests::{Broker, Gateway, PTY_BAUD, Pty, SECONDS, Security, Slave, Stage};
use rustix::process::Signal;
use serde_json::Value;

fn meter(id: &str, bus: &str, unit: u8, interval: &str) -> String {
    format!(
        "[[device]]\nid = \"{id}\"\nbus = \"{bus}\"\nunit = {unit}\ninterval = \"{interval}\"\n\
         [[device.point]]\nname = \"reads\"\ntable = \"holding\"\naddress = 0\ntype = \"u32\"\n"
    )
}

fn tcp(id: &str, slave: &Slave) -> String {
    format!("[[bus]]\nid = \"{id}\"\ntcp = \"127.0.0.1:{}\"\ntimeout_min = \"10s\"\ntimeout = \"20s\"\n", slave.port())
}

fn find<'v>(status: &'v Value, list: &str, id: &str) -> &'v Value {
    status[list].as_array().unwrap().iter().find(|item| item["id"] == id).unwrap_or(&Value::Null)
}

#[test]
fn a_reload_changes_what_was_changed_and_leaves_other_buses_alone() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let (quiet, changed) = (Slave::tcp(&stage, &[1]), Slave::tcp(&stage, &[2, 3]));
    let buses = tcp("quiet", &quiet) + &tcp("changed", &changed);
    // Slow enough that a loaded machine skips nothing by itself.
    let kept = meter("kept", "quiet", 1, "250ms");
    let site = |rest: &str| stage.site(&broker.url(), "", &(buses.clone() + &kept + rest));
    let path = site(&meter("old", "changed", 2, "50ms"));
    let mut gateway = Gateway::start(&stage, &path);
    receiver.until("readings", 60 * SECONDS, |ledger| (ledger.values("old", "reads").len() > 5).then_some(()));

    // A bad file first: it changes nothing and says why.
    site("[[device]]\nid = \"new\"\nbus = \"chnaged\"\nunit = 3\n");
    let refused = gateway.ask(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("chnaged"), "the refusal names the mistake: {said}");
    let seen = receiver.ledger().values("old", "reads").len();
    receiver.until("the old readings", 20 * SECONDS, |ledger| {
        (ledger.values("old", "reads").len() > seen + 5).then_some(())
    });

    site(&meter("new", "changed", 3, "100ms"));
    gateway.process.signal(Signal::HUP);
    receiver.until("the new meter", 30 * SECONDS, |ledger| (ledger.values("new", "reads").len() > 5).then_some(()));
    let status = gateway.json(&["status"]);
    assert_eq!(find(&status, "devices", "old"), &Value::Null, "{status}");
    let bus = find(&status, "buses", "quiet");
    assert_eq!((&bus["opened"], &bus["skipped"], &bus["timeouts"]), (&1.into(), &0.into(), &0.into()), "{bus}");

    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    receiver.until("everything", 20 * SECONDS, |ledger| ledger.missing().is_empty().then_some(()));
    let reads: Vec<u64> = receiver.ledger().values("kept", "reads").iter().filter_map(Value::as_u64).collect();
    let expected: Vec<u64> = (reads[0]..reads[0] + reads.len() as u64).collect();
    assert_eq!(reads, expected, "the untouched bus missed no poll");
    assert!(receiver.ledger().retained("/inventory/new").is_some(), "the inventory follows");
}

#[test]
fn a_stop_delivers_what_was_waiting_for_company() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1]);
    let rest = tcp("tcp", &slave) + &meter("meter", "tcp", 1, "50ms");
    let site = stage.site(&broker.url(), "batch_window = \"1h\"\n", &rest);
    let mut gateway = Gateway::start(&stage, &site);
    let samples = gateway.until("samples", 60 * SECONDS, |status| {
        let samples = find(status, "devices", "meter")["samples"].as_u64()?;
        (samples >= 20 && status["uplink"]["state"] == "up").then_some(samples)
    });
    assert_eq!(receiver.ledger().values("meter", "reads").len(), 0, "they wait for the window");

    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    let delivered = receiver.until("the readings", 20 * SECONDS, |ledger| {
        let count = ledger.values("meter", "reads").len() as u64;
        (count >= samples && ledger.missing().is_empty()).then_some(count)
    });
    assert!(delivered >= samples);
    assert!(!stage.file("api.sock").exists(), "the socket is gone with the daemon");
}

#[test]
fn a_serial_port_that_returns_under_another_name_is_found_again() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    // What udev does under /dev/serial/by-id: the link stays, the name behind it changes.
    let link = stage.file("by-id");
    let (first, second) = (Pty::new(&stage, "ttyUSB0"), Pty::new(&stage, "ttyUSB1"));
    symlink(&first.near, &link).unwrap();
    let slave = Slave::serial(&stage, &first.far, &[5]);
    let bus = format!("[[bus]]\nid = \"rtu\"\nserial = \"{}\"\nbaud = {PTY_BAUD}\n", link.display());
    let site = stage.site(&broker.url(), "", &(bus + &meter("meter", "rtu", 5, "100ms")));
    let gateway = Gateway::start(&stage, &site);
    receiver.until("readings", 60 * SECONDS, |ledger| (ledger.values("meter", "reads").len() > 5).then_some(()));

    drop(slave);
    drop(first);
    std::fs::remove_file(&link).unwrap();
    gateway.until("the port to be missed", 30 * SECONDS, |status| {
        (find(status, "buses", "rtu")["open"] == false).then_some(())
    });
    receiver.until("the reason", 30 * SECONDS, |ledger| {
        let mut records = ledger.records("telemetry");
        records.any(|record| record.json["missing"]["reads"] == "bus_down").then_some(())
    });

    let _slave = Slave::serial(&stage, &second.far, &[5]);
    symlink(&second.near, &link).unwrap();
    let before = receiver.ledger().values("meter", "reads").len();
    receiver.until("readings again", 60 * SECONDS, |ledger| {
        (ledger.values("meter", "reads").len() > before + 5).then_some(())
    });
    gateway.until("the status to say so", 10 * SECONDS, |status| {
        (find(status, "buses", "rtu")["opened"] == 2).then_some(())
    });
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let slave = Slave::tcp(&stage, &[1]);
    let site = stage.site(&broker.url(), "", &(tcp("tcp", &slave) + &meter("meter", "tcp", 1, "100ms")));
    let gateway = Gateway::start(&stage, &site);
    gateway.until("the first daemon", 60 * SECONDS, |status| {
        (status["devices"][0]["samples"].as_u64()? > 0).then_some(())
    });

    let second = gatehouse_tests::gatehouse().arg("run").arg("--config").arg(&site).output().unwrap();
    assert!(!second.status.success(), "the second daemon has to give up");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("api.sock") || said.contains("data"), "it says what is taken: {said}");
    gateway.json(&["status"]);
}
