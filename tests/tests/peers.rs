//! The real gateway between peers that nobody here wrote: pymodbus on one side, mosquitto on the other.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use gatehouse_tests::{Broker, Gateway, Ledger, PTY_BAUD, Pty, SECONDS, Security, Slave, Stage};
use serde_json::{Value, json};

/// The points of `tests/peers/slave.py`, for one device.
fn device(id: &str, bus: &str, unit: u8, interval: &str) -> String {
    format!(
        r#"
[[device]]
id = "{id}"
bus = "{bus}"
unit = {unit}
interval = "{interval}"
billing = ["energy"]
[[device.point]]
name = "reads"
table = "holding"
address = 0
type = "u32"
[[device.point]]
name = "voltage"
table = "holding"
address = 2
type = "f32"
unit = "V"
[[device.point]]
name = "unit"
table = "holding"
address = 4
type = "u16"
[[device.point]]
name = "setpoint"
table = "holding"
address = 5
type = "u16"
scale = "0.1"
write = true
[[device.point]]
name = "chill"
table = "holding"
address = 6
type = "i16"
[[device.point]]
name = "energy"
table = "holding"
address = 20
type = "u32"
scale = "0.01"
unit = "kWh"
[[device.point]]
name = "relay"
table = "coil"
address = 3
type = "bool"
write = true
"#
    )
}

/// True once so many records of each device have come.
fn enough(ledger: &Ledger, devices: &[&str], count: usize) -> Option<()> {
    devices.iter().all(|device| ledger.values(device, "voltage").len() >= count).then_some(())
}

/// Everything that must hold of what the slaves' readings became on their way.
fn check(ledger: &Ledger, devices: &[(&str, u8)]) {
    assert_eq!(ledger.missing(), Vec::<String>::new(), "{}", ledger.summary());
    assert_eq!((ledger.lost(), ledger.epochs()), (0, 1), "{}", ledger.summary());
    for (device, unit) in devices {
        let only = |point: &str, value: Value| {
            let values = ledger.values(device, point);
            assert!(!values.is_empty(), "no {point} of {device}");
            assert!(values.iter().all(|seen| *seen == value), "{device} {point}: {values:?}");
        };
        only("voltage", json!(f64::from(*unit) * 100.0 + 31.5));
        only("unit", json!(unit));
        only("chill", json!(-5));
        only("energy", json!("12345.67"));
        let reads: Vec<u64> = ledger.values(device, "reads").iter().filter_map(Value::as_u64).collect();
        assert!(reads.is_sorted_by(|a, b| a < b), "{device}: readings out of order or twice: {reads:?}");
    }
}

#[test]
fn a_tcp_slave_is_delivered_over_tls_to_a_broker_that_wants_certificates() {
    let stage = Stage::new();
    stage.certificates("box-1");
    let broker = Broker::start(&stage, Security::Certificates);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1, 2]);
    let folder = stage.path().display();
    let tls = format!("ca = \"{folder}/ca.pem\"\ncert = \"{folder}/box.pem\"\nkey = \"{folder}/box.key\"\n");
    let bus = format!("[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{}\"\n", slave.port());
    let devices = device("meter-1", "tcp", 1, "100ms") + &device("meter-2", "tcp", 2, "200ms");
    let site = stage.site(&broker.url(), &tls, &(bus + &devices));

    let mut gateway = Gateway::start(&stage, &site);
    receiver.until("20 readings of each meter", 30 * SECONDS, |ledger| enough(ledger, &["meter-1", "meter-2"], 20));
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    receiver.until("the last word", 10 * SECONDS, |ledger| {
        let status = ledger.retained("/status")?;
        (status["state"] == "stopped").then_some(())
    });
    check(receiver.ledger(), &[("meter-1", 1), ("meter-2", 2)]);
    assert!(receiver.ledger().retained("/inventory/meter-1").is_some(), "no inventory");
    assert!(broker.log().contains("u'box-1'"), "the broker knows the box by its certificate");
}

#[test]
fn an_rtu_slave_on_a_serial_line_is_polled_and_written() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[3, 4]);
    let bus = format!("[[bus]]\nid = \"rtu\"\nserial = \"{}\"\nbaud = {PTY_BAUD}\n", line.near.display());
    let devices = device("meter-3", "rtu", 3, "200ms") + &device("meter-4", "rtu", 4, "200ms");
    let site = stage.site(&broker.url(), "", &(bus + &devices));

    let mut gateway = Gateway::start(&stage, &site);
    receiver.until("10 readings of each meter", 30 * SECONDS, |ledger| enough(ledger, &["meter-3", "meter-4"], 10));

    let written = gateway.json(&["write", "meter-3", "setpoint", "21.5"]);
    assert_eq!((&written["outcome"], &written["read_back"]), (&json!("verified"), &json!("21.5")));
    let written = gateway.json(&["write", "meter-4", "relay", "on"]);
    assert_eq!(written["outcome"], "verified");
    let read = gateway.json(&["read", "meter-3", "setpoint", "voltage"]);
    let values: Vec<&Value> = read["points"].as_array().unwrap().iter().map(|point| &point["value"]).collect();
    assert_eq!(values, [&json!("331.5"), &json!("21.5")], "in the order of the device's points: {read}");
    let refused = gateway.ask(&["write", "meter-3", "voltage", "1"]);
    assert_ne!(refused.status.code(), Some(0), "voltage is read-only");

    receiver.until("the set point to be delivered", 20 * SECONDS, |ledger| {
        let seen = ledger.values("meter-3", "setpoint").last() == Some(&json!(21.5));
        (seen && ledger.values("meter-4", "relay").last() == Some(&json!(true))).then_some(())
    });
    let status = gateway.json(&["status"]);
    assert_eq!(status["buses"][0]["open"], true, "{status}");
    assert_eq!(status["devices"][0]["state"], "online", "{status}");
    let spool = gateway.json(&["spool"]);
    assert!(spool["lanes"].as_array().unwrap().iter().any(|lane| lane["lane"] == "telemetry"), "{spool}");
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    check(receiver.ledger(), &[("meter-3", 3), ("meter-4", 4)]);
}

#[test]
fn read_and_write_open_the_port_themselves_when_no_daemon_runs() {
    let stage = Stage::new();
    let line = Pty::new(&stage, "ttyS9");
    let _slave = Slave::serial(&stage, &line.far, &[7]);
    let bus = format!("[[bus]]\nid = \"rtu\"\nserial = \"{}\"\nbaud = {PTY_BAUD}\n", line.near.display());
    let site = stage.site("mqtt://127.0.0.1:1", "", &(bus + &device("meter-7", "rtu", 7, "1s")));
    let run = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        gatehouse_tests::gatehouse().arg(command).arg("--config").arg(&site).args(rest).arg("--json").output().unwrap()
    };

    let written = run(&["write", "meter-7", "setpoint", "3.5"]);
    assert_eq!(written.status.code(), Some(0), "{}", String::from_utf8_lossy(&written.stderr));
    let read = run(&["read", "meter-7"]);
    assert_eq!(read.status.code(), Some(0), "{}", String::from_utf8_lossy(&read.stderr));
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    let value = |name: &str| {
        let points = read["points"].as_array().unwrap();
        points.iter().find(|point| point["name"] == name).map(|point| point["value"].clone())
    };
    assert_eq!(value("setpoint"), Some(json!("3.5")), "{read}");
    assert_eq!(value("voltage"), Some(json!("731.5")));
    assert_eq!(value("energy"), Some(json!("12345.67")));
}
