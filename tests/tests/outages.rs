//! Kills, crashes and silences in the middle of traffic: nothing that was stored is lost, and nothing is told wrongly.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_tests::{Broker, Gateway, Ledger, SECONDS, Security, Slave, Stage, Subscriber};
use serde_json::Value;

const UNITS: [u8; 2] = [1, 2];

/// A site with two fast meters, each with a telemetry and a billing point, that is quick to give up on a broker.
fn site(stage: &Stage, broker: &Broker<'_>, slave: &Slave) -> PathBuf {
    let uplink = "connect_timeout = \"1s\"\nresponse_timeout = \"2s\"\nkeep_alive = \"2s\"\n";
    // A loaded machine must not turn a slow answer into a missing reading or a repeated question.
    let mut rest = format!(
        "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:{}\"\ntimeout_min = \"10s\"\ntimeout = \"20s\"\n",
        slave.port()
    );
    for unit in UNITS {
        rest += &format!(
            "[[device]]\nid = \"meter-{unit}\"\nbus = \"tcp\"\nunit = {unit}\ninterval = \"100ms\"\nbilling = [\"energy\"]\n\
             [[device.point]]\nname = \"reads\"\ntable = \"holding\"\naddress = 0\ntype = \"u32\"\n\
             [[device.point]]\nname = \"energy\"\ntable = \"holding\"\naddress = 20\ntype = \"u32\"\nscale = \"0.01\"\n"
        );
    }
    stage.site(&broker.url(), uplink, &rest)
}

/// What a meter counted and the core did not hear of: numbers between the first and the last that came.
fn unheard(ledger: &Ledger, unit: u8) -> usize {
    let values = ledger.values(&format!("meter-{unit}"), "reads");
    let reads: Vec<u64> = values.iter().filter_map(Value::as_u64).collect();
    assert!(reads.is_sorted_by(|a, b| a < b), "meter-{unit}: out of order or twice: {reads:?}");
    let (Some(first), Some(last)) = (reads.first(), reads.last()) else { return 0 };
    usize::try_from(last - first).unwrap() + 1 - reads.len()
}

/// Records that the gateway holds for the core, in the lanes of readings.
fn held(status: &Value) -> u64 {
    let lanes = status["spool"]["lanes"].as_array().unwrap();
    let readings = lanes.iter().filter(|lane| lane["lane"] == "telemetry" || lane["lane"] == "billing");
    readings.map(|lane| lane["held"].as_u64().unwrap()).sum()
}

/// The newest number of each lane of readings.
fn newest(status: &Value) -> Vec<(String, u64)> {
    let lanes = status["spool"]["lanes"].as_array().unwrap().iter();
    let lanes = lanes.map(|lane| (lane["lane"].as_str().unwrap().to_owned(), lane["newest"].as_u64().unwrap()));
    lanes.filter(|(lane, newest)| (lane == "telemetry" || lane == "billing") && *newest > 0).collect()
}

/// Ends the gateway in order, once it holds nothing more, and checks that the books are complete.
fn close(mut gateway: Gateway, receiver: &mut Subscriber) {
    // New readings come all the time, so that there is always one on its way.
    gateway.until("the backlog to be delivered", 60 * SECONDS, |status| (held(status) <= 4).then_some(()));
    assert_eq!(gateway.stop(30 * SECONDS).code(), Some(0), "{}", gateway.process.log());
    receiver.until("the last word", 20 * SECONDS, |ledger| {
        (ledger.retained("/status")?["state"] == "stopped" && ledger.missing().is_empty()).then_some(())
    });
    let ledger = receiver.ledger();
    assert_eq!((ledger.lost(), ledger.epochs()), (0, 1), "{}", ledger.summary());
}

#[test]
fn a_gateway_killed_two_hundred_times_loses_no_stored_reading() {
    const KILLS: usize = 200;
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &UNITS);
    let site = site(&stage, &broker, &slave);
    let mut random = fastrand::Rng::with_seed(7);
    let mut frozen = false;
    // What the gateway itself called stored before a kill.
    let mut stored = Vec::new();

    for round in 0..KILLS {
        // Four rounds in ten the broker does not answer, so that readings pile up over several lives of the gateway.
        if (round % 10 >= 6) != frozen {
            frozen = !frozen;
            if frozen { broker.freeze() } else { broker.thaw() }
        }
        let mut gateway = Gateway::start(&stage, &site);
        if round % 7 == 3 {
            // Killed while it starts.
        } else if frozen {
            let before = gateway.until("a status", 30 * SECONDS, |status| Some(held(status)));
            let status = gateway.until("readings to pile up", 30 * SECONDS, |status| {
                (held(status) > before + 3).then(|| status.clone())
            });
            stored.extend(newest(&status));
        } else {
            let before = receiver.ledger().count();
            receiver.until("new readings", 30 * SECONDS, |ledger| (ledger.count() > before + 3).then_some(()));
            stored.extend(gateway.until("a status", 30 * SECONDS, |status| Some(newest(status))));
        }
        std::thread::park_timeout(Duration::from_millis(random.u64(0..60)));
        gateway.process.kill();
    }

    if frozen {
        broker.thaw();
    }
    close(Gateway::start(&stage, &site), &mut receiver);
    for (lane, seq) in stored {
        assert!(
            receiver.ledger().has(&lane, seq),
            "{lane} {seq} was stored and is gone\n{}",
            receiver.ledger().summary()
        );
    }
    for unit in UNITS {
        // An answer that had not been stored when the kill came was nobody's yet: at most one a kill and meter.
        let unheard = unheard(receiver.ledger(), unit);
        assert!(unheard <= KILLS, "meter-{unit}: {unheard} readings unheard\n{}", receiver.ledger().summary());
        println!("meter-{unit}: {unheard} answers were on their way at {KILLS} kills");
    }
    println!("{}", receiver.ledger().summary());
}

#[test]
fn a_broker_killed_in_traffic_costs_no_reading() {
    let stage = Stage::new();
    let mut broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &UNITS);
    let gateway = Gateway::start(&stage, &site(&stage, &broker, &slave));

    for round in 1..=6 {
        // mosquitto acknowledges before it has written anything to its disk. Only once the receiver is there again and has
        // what was queued for it does an acknowledged message no longer hang on the broker's life.
        let telemetry = |status: &Value| newest(status).into_iter().find(|(lane, _)| lane == "telemetry");
        let (_, now) = gateway.until("a reading", 60 * SECONDS, telemetry);
        receiver.until("later readings", 60 * SECONDS, |ledger| (ledger.highest("telemetry") > now + 4).then_some(()));
        broker.kill();
        let enough = 20 * round;
        gateway.until("readings to pile up", 30 * SECONDS, |status| (held(status) > enough).then_some(()));
        broker.restart();
    }
    close(gateway, &mut receiver);
    assert_eq!(UNITS.map(|unit| unheard(receiver.ledger(), unit)), [0, 0], "{}", receiver.ledger().summary());
    let backfilled = receiver.ledger().records("telemetry").any(|record| record.topic.ends_with("/backfill"));
    assert!(backfilled, "what was held goes to the backfill topic");
}

#[test]
fn a_frozen_broker_costs_no_reading_and_holds_up_no_poll() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let slave = Slave::tcp(&stage, &UNITS);
    let gateway = Gateway::start(&stage, &site(&stage, &broker, &slave));
    receiver.until("readings", 60 * SECONDS, |ledger| (ledger.count() > 20).then_some(()));

    broker.freeze();
    gateway.until("the gateway to notice", 60 * SECONDS, |status| (status["uplink"]["state"] != "up").then_some(()));
    gateway.until("readings to pile up", 30 * SECONDS, |status| (held(status) > 60).then_some(()));
    let status = gateway.json(&["status"]);
    assert_eq!(status["buses"][0]["timeouts"], 0, "polling does not wait for the link: {status}");
    broker.thaw();
    close(gateway, &mut receiver);
    assert_eq!(UNITS.map(|unit| unheard(receiver.ledger(), unit)), [0, 0], "{}", receiver.ledger().summary());
}

#[test]
fn a_slave_that_dies_and_returns_leaves_reasons_and_then_values() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let mut receiver = broker.subscribe();
    let mut slave = Slave::tcp(&stage, &UNITS);
    let gateway = Gateway::start(&stage, &site(&stage, &broker, &slave));
    receiver.until("readings", 60 * SECONDS, |ledger| (ledger.count() > 10).then_some(()));

    assert_eq!(gateway.get(&stage, "/health").0, 200);
    let (_, metrics) = gateway.get(&stage, "/metrics");
    let polled = metrics.lines().any(|line| line.starts_with("gatehouse_") && line.contains("bus=\"tcp\""));
    assert!(polled, "the bus has its metrics:\n{metrics}");

    slave.process().kill();
    let reason = receiver.until("a reason instead of a value", 60 * SECONDS, |ledger| {
        let reasons = ledger.records("telemetry").filter_map(|record| record.json["missing"]["reads"].as_str());
        reasons.last().map(str::to_owned)
    });
    assert_eq!(reason, "bus_down", "the connection is gone, which is not the meter's fault");
    let dead = gateway.until("the bus to be down", 60 * SECONDS, |status| {
        (status["buses"][0]["open"] == false).then(|| status.clone())
    });
    assert!(dead["buses"][0]["error"].is_string(), "{dead}");
    let (code, health) = gateway.get(&stage, "/health");
    assert_eq!(code, 503, "a bus without its port is no health: {health}");
    close(gateway, &mut receiver);
}
