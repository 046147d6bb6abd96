//! A meter that bills are made of, from its register to the accountant's workbook.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use gatehouse_tests::{Broker, Gateway, Ledger, SECONDS, Security, Slave, Stage, gatehouse, python};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The meter's register is the slave's set point, so that the test can turn it.
fn site(stage: &Stage, broker: &Broker, slave: &Slave, at: &str) -> std::path::PathBuf {
    let rest = format!(
        "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{port}\"\n\
         [[device]]\nid = \"main\"\nunit = 1\ninterval = \"200ms\"\nbilling = [\"energy\"]\n\
         [device.meter]\nserial = \"1001\"\nmultiplier = \"30\"\n\
         [[device.point]]\nname = \"energy\"\ntable = \"holding\"\naddress = 5\ntype = \"u16\"\nscale = \"0.01\"\n\
         unit = \"kWh\"\nwrite = true\n\
         [[reading]]\nname = \"daily\"\nat = \"{at}\"\n",
        port = slave.port()
    );
    stage.site(&broker.url(), "", &rest)
}

/// A time of the day (UTC) that comes within two minutes but not at once.
fn soon() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let minute = (now + 40).div_ceil(60) % 1440;
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn turn(gateway: &Gateway, energy: &str) {
    let output = gateway.ask(&["write", "main", "energy", energy]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a word of `gatehouse meters` against the daemon of this site file.
fn meters(path: &Path, word: &[&str]) -> Output {
    gatehouse().arg("meters").args(word).arg("--config").arg(path).output().unwrap()
}

fn done(output: &Output) -> &[u8] {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    &output.stdout
}

fn register(gateway: &Gateway) -> Value {
    gateway.json(&["meters"])["meters"][0]["registers"][0].clone()
}

fn raised(gateway: &Gateway, alarm: &str) -> bool {
    gateway.json(&["alarms"]).as_array().unwrap().iter().any(|one| one["alarm"] == alarm && one["active"] == true)
}

fn flagged(ledger: &Ledger) -> Option<()> {
    let found = |record: &gatehouse_tests::Record| {
        let values = &record.json["values"];
        values["energy"] == "90.00" && values["energy.flags"] == "regression" && values["energy.raw"] == "2328"
    };
    ledger.records("billing").any(found).then_some(())
}

fn events<'l>(ledger: &'l Ledger, kind: &'l str) -> impl Iterator<Item = &'l Value> {
    ledger.records("audit").filter(move |record| record.json["event"] == kind).map(|record| &record.json["data"])
}

/// The rows of a workbook's sheets, as openpyxl reads them.
fn workbook(path: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/workbook.py");
    let output = Command::new(python()).arg(script).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The cells of the rows of a sheet under these titles.
fn cells(book: &Value, sheet: &str, titles: &[&str]) -> Vec<Vec<Value>> {
    let rows = book[sheet].as_array().unwrap();
    let header: Vec<&str> = rows[0].as_array().unwrap().iter().map(|title| title.as_str().unwrap()).collect();
    let column = |title: &&str| header.iter().position(|known| known == title).unwrap();
    let columns: Vec<usize> = titles.iter().map(column).collect();
    rows[1..].iter().map(|row| columns.iter().map(|at| row[*at].clone()).collect()).collect()
}

#[test]
fn a_meter_is_flagged_read_at_its_time_swapped_and_accounted_for_through_a_kill() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &[1]);
    // Where it is not there yet it is built now: that may take longer than the time chosen next is ahead.
    drop(gatehouse());
    let at = soon();
    let path = site(&stage, &broker, &slave, &at);
    let mut gateway = Gateway::start(&stage, &path);
    gateway.until("the meter", 60 * SECONDS, |status| (status["devices"][0]["state"] == "online").then_some(()));
    turn(&gateway, "100.00");
    gateway.until("100.00", 20 * SECONDS, |_| (register(&gateway)["value"] == "100.00").then_some(()));

    // A step back is sent as it is, with its flag in the same record, and is no new beginning.
    turn(&gateway, "90.00");
    receiver.until("the flagged reading", 30 * SECONDS, flagged);
    gateway.until("the alarm", 20 * SECONDS, |_| raised(&gateway, "meter_regression/main").then_some(()));
    assert_eq!(register(&gateway)["value"], "100.00");
    turn(&gateway, "110.00");
    gateway.until("110.00", 20 * SECONDS, |_| (register(&gateway)["value"] == "110.00").then_some(()));

    // The fixed time comes.
    let reading = receiver
        .until("the reading at its time", 150 * SECONDS, |ledger| events(ledger, "meter_reading").next().cloned());
    assert_eq!((&reading["reading"], &reading["values"]["energy"]["value"]), (&json!("daily"), &json!("110.00")));
    assert_eq!(reading["values"]["energy"]["raw"], "2AF8", "the register's own bytes");
    assert_eq!(reading["values"]["energy"]["source"], "live");
    assert!((0..60).contains(&reading["skew_s"].as_i64().unwrap()), "{reading}");
    let day = reading["day"].as_str().unwrap().to_owned();

    // The meter is replaced: the record is on the disk when the command says so.
    let who = ["--who", "Wang", "--reason", "display"];
    let ends = ["--closing", "energy=110.00", "--opening", "energy=7.00"];
    let swap = [&["swap", "main", "--serial", "0002002", "--json"][..], &who, &ends].concat();
    let record: Value = serde_json::from_slice(done(&meters(&path, &swap))).unwrap();
    gateway.process.signal(Signal::KILL);
    gateway.process.wait(10 * SECONDS);
    assert_eq!((&record["version"], &record["multiplier"]), (&json!(2), &json!("30")), "{record}");
    let mut gateway = Gateway::start(&stage, &path);
    gateway.until("the meter again", 60 * SECONDS, |status| (status["devices"][0]["state"] == "online").then_some(()));
    let history = gateway.json(&["meters"])["meters"][0]["installations"].clone();
    assert_eq!(
        (&history[0]["closing"]["energy"]["value"], &history[1]["serial"]),
        (&json!("110.00"), &json!("0002002"))
    );

    let by = ["--reason", "check", "--who", "Li"];
    done(&meters(&path, &[&["enter", "main", "energy", "7.10", "--day", &day][..], &by].concat()));
    let refused = meters(&path, &[&["enter", "main", "energy", "7,10"][..], &by].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));

    // The accountant's workbook, read by somebody else's library.
    let file = stage.file("account.xlsx");
    let month = &day[..7];
    done(&meters(&path, &["export", "--month", month, "--format", "xlsx", "--output", file.to_str().unwrap()]));
    let book = workbook(&file);
    let titles = ["installation", "serial", "opening", "closing", "counted", "multiplier", "consumption"];
    let segments = cells(&book, "segments", &titles);
    assert_eq!(segments[0][1], "1001");
    assert_eq!(segments[0][3], json!(110));
    assert_eq!(segments[0][5], json!(30));
    assert_eq!(segments[1][1], "0002002", "a serial number is a text");
    assert_eq!(segments[1][2], json!(7));
    let sources = cells(&book, "readings", &["day", "source", "value", "by"]);
    assert!(sources.contains(&vec![json!(day), json!("live"), json!(110), Value::Null]), "{sources:?}");
    assert!(sources.iter().any(|row| row[1] == "manual" && row[3].as_str().is_some_and(|by| by.starts_with("Li"))));
    let csv = meters(&path, &["export", "--month", month]);
    let csv = String::from_utf8(done(&csv).to_vec()).unwrap();
    assert!(csv.contains("# segments\r\n") && csv.contains("110.00"), "{csv}");

    receiver.until("the records of the swap", 60 * SECONDS, |ledger| {
        let versions: Vec<_> = events(ledger, "meter_installation").filter_map(|one| one["version"].as_u64()).collect();
        (versions.contains(&2) && ledger.missing().is_empty()).then_some(())
    });
    assert_eq!(gateway.stop(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}
