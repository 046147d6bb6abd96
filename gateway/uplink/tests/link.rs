//! The uplink against Debian's mosquitto: kills, freezes, both versions, refusals, packets of the wrong size.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::time::Duration;

use common::broker::{Box1, Core, Mosquitto, PATIENCE, until, without_mosquitto};
use common::{event, name, sample};
use gatehouse_core::Lane;
use gatehouse_uplink::schema::{AckMessage, DeviceMessage, InventoryMessage, StatusMessage};
use gatehouse_uplink::{
    AckMode, BackoffSettings, Broker, DeviceEntry, Fault, Inventory, LinkState, Settings, SiteEntry, UplinkEvent,
    Version,
};
use rustix::process::Signal;
use tokio::task::LocalSet;

fn settings(port: u16) -> Settings {
    let broker = Broker::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    let quick = BackoffSettings { first: Duration::from_millis(50), last: Duration::from_millis(200) };
    Settings { backoff: quick, ..Settings::new(name("box-1"), vec![broker]) }
}

fn inventory(devices: &[&str]) -> Inventory {
    let entry = |device: &&str| DeviceEntry { device: (*device).to_owned(), ..DeviceEntry::default() };
    let site = SiteEntry { title: "Riverside 7".to_owned(), software: "0.1.0".to_owned(), ..SiteEntry::default() };
    Inventory { site, devices: devices.iter().map(entry).collect() }
}

async fn all_arrive(site: &Box1, core: &Core, count: usize) {
    until("everything acknowledged", || site.outbox.borrow().unacked() == 0).await;
    until("everything received", || core.seen.borrow().records.len() == count).await;
    assert_eq!(core.seen.borrow().out_of_order, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn records_status_and_inventory_arrive_over_both_versions() {
    if without_mosquitto() {
        return;
    }
    for version in [Version::V5, Version::V311] {
        let (broker, local) = (Mosquitto::start(""), LocalSet::new());
        local.run_until(talk(broker, version)).await;
    }
}

async fn talk(broker: Mosquitto, version: Version) {
    let core = Core::start(broker.port);
    until("the core listens", || core.seen.borrow().connects == 1).await;
    let mut site =
        Box1::start(Settings { version, compress: true, ..settings(broker.port) }, inventory(&["meter-1", "meter-2"]));
    site.store(Lane::Telemetry, sample("meter-1", 50, 230));
    site.up().await;
    for n in 0..500 {
        site.store(Lane::Telemetry, sample("meter-1", 50, 230));
        if n % 50 == 0 {
            site.store(Lane::Alarms, event("raised", "{\"alarm\":\"leak\"}"));
            tokio::task::yield_now().await;
        }
        let in_flight = site.uplink.status().in_flight;
        assert!(version == Version::V311 || in_flight <= 20, "mosquitto's receive maximum: {in_flight}");
    }
    all_arrive(&site, &core, 511).await;
    assert_eq!(core.seen.borrow().duplicates, 0);
    let other = |rest: &str| core.seen.borrow().other.get(rest).cloned();
    until("the inventory", || other("inventory/meter-2").is_some()).await;
    let status: StatusMessage = serde_json::from_slice(&other("status").unwrap()).unwrap();
    assert_eq!((status.state.as_str(), status.epoch), ("online", Some(3)));
    let index: InventoryMessage = serde_json::from_slice(&other("inventory").unwrap()).unwrap();
    assert_eq!((index.title.as_str(), index.devices.len()), ("Riverside 7", 2));
    let device: DeviceMessage = serde_json::from_slice(&other("inventory/meter-1").unwrap()).unwrap();
    assert_eq!(device.about.device, "meter-1");

    site.uplink.set_inventory(std::rc::Rc::new(inventory(&["meter-2"])));
    until("the removal of a device", || other("inventory/meter-1").is_some_and(|payload| payload.is_empty())).await;
    site.store(Lane::Telemetry, sample("meter-2", 50, 230));
    site.uplink.drain(PATIENCE).await;
    assert_eq!(site.outbox.borrow().unacked(), 0, "what waited has left");
    assert_eq!(site.uplink.status().state, LinkState::Stopped);
    until("the last status", || other("status").unwrap().windows(9).any(|part| part == b"\"stopped\"")).await;
    assert_eq!(site.uplink.status().counters.connects, 1);
    assert!(
        !broker.log().contains("Sending PUBLISH to core (d0, q1, r1, m0, 'gatehouse/v1/box-1/status', ... \"lost\"")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_broker_that_is_killed_during_traffic_costs_no_record() {
    if without_mosquitto() {
        return;
    }
    let local = LocalSet::new();
    let work = async {
        let mut broker = Mosquitto::start("");
        let core = Core::start(broker.port);
        // mosquitto may lose what it has acknowledged when it is killed; the core's own word covers that.
        let site = Box1::start(Settings { ack: AckMode::Watermark, ..settings(broker.port) }, inventory(&[]));
        for round in 1..=4 {
            for _ in 0..10 {
                for _ in 0..50 {
                    site.store(Lane::Telemetry, sample("meter-1", 50, 230));
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            until("the box is there", || site.uplink.status().counters.connects >= round).await;
            broker.kill();
            broker.restart();
            until("the core is back", || core.seen.borrow().connects as u64 > round).await;
        }
        let began = std::time::Instant::now();
        while site.outbox.borrow().unacked() > 0 {
            assert!(began.elapsed() < PATIENCE, "{} left; {:?}", site.outbox.borrow().unacked(), site.uplink.status());
            let have = [(Lane::Telemetry.to_string(), core.seen.borrow().have(Lane::Telemetry))];
            let message = AckMessage { v: 1, epoch: 3, have: have.into_iter().collect() };
            core.publish("ack", serde_json::to_vec(&message).unwrap()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(core.seen.borrow().records.len(), 2000);
        assert!(site.uplink.status().counters.connects >= 5, "it was killed four times");
    };
    local.run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_frozen_broker_is_found_out_and_costs_no_record() {
    if without_mosquitto() {
        return;
    }
    let local = LocalSet::new();
    let work = async {
        let broker = Mosquitto::start("");
        let core = Core::start(broker.port);
        until("the core listens", || core.seen.borrow().connects == 1).await;
        let quick = Settings { response_timeout: Duration::from_secs(1), ..settings(broker.port) };
        let mut site = Box1::start(Settings { connect_timeout: Duration::from_secs(1), ..quick }, inventory(&[]));
        site.up().await;
        broker.signal(Signal::STOP);
        // More than the socket buffers of the machine hold.
        for _ in 0..20_000 {
            site.store(Lane::Telemetry, sample("meter-1", 50, 230));
        }
        let down = site.event(|event| matches!(event, UplinkEvent::LinkDown { .. })).await;
        assert!(matches!(down, UplinkEvent::LinkDown { fault: Fault::Silent { seconds: 1 }, .. }), "{down:?}");
        broker.signal(Signal::CONT);
        all_arrive(&site, &core, 20_000).await;
    };
    local.run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_lane_that_the_broker_forbids_is_held_alone_until_it_is_allowed() {
    if without_mosquitto() {
        return;
    }
    let local = LocalSet::new();
    let work = async {
        let folder = tempfile::tempdir().unwrap();
        let acl = folder.path().join("acl");
        std::fs::write(
            &acl,
            "topic readwrite gatehouse/v1/box-1/telemetry/#\ntopic readwrite gatehouse/v1/box-1/status\n",
        )
        .unwrap();
        let port = common::broker::free_port();
        let more = format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file $DIR/acl");
        let broker = Mosquitto::start_in(folder, &more);
        let core = Core::start(broker.port);
        until("the core listens", || core.seen.borrow().connects == 1).await;
        let mut site = Box1::start(settings(port), inventory(&[]));
        site.up().await;
        site.store(Lane::Alarms, event("raised", "{}"));
        let told = site.event(|event| matches!(event, UplinkEvent::LaneBlocked { .. })).await;
        let UplinkEvent::LaneBlocked { lane: Lane::Alarms, reason: 0x87, message } = told else { panic!("{told:?}") };
        assert_eq!(
            message,
            "records of alarms/live are held back: the box may not publish there (0x87): check the broker's access rules"
        );
        site.store(Lane::Telemetry, sample("meter-1", 8, 230));
        until("the other lane passes", || core.seen.borrow().records.contains(&(Lane::Telemetry, 1))).await;
        assert_eq!(site.uplink.status().held, [(Lane::Alarms, 0x87)]);
        std::fs::write(&acl, "topic readwrite gatehouse/v1/box-1/#\n").unwrap();
        broker.signal(Signal::HUP);
        all_arrive(&site, &core, 2).await;
    };
    local.run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn packets_of_the_wrong_size_or_content_are_counted_and_harm_nothing() {
    if without_mosquitto() {
        return;
    }
    for version in [Version::V5, Version::V311] {
        let local = LocalSet::new();
        let work = async {
            let broker = Mosquitto::start("max_packet_size 200000");
            let core = Core::start(broker.port);
            until("the core listens", || core.seen.borrow().connects == 1).await;
            let small = Settings { max_packet: 5000, version, ..settings(broker.port) };
            let mut site = Box1::start(small, inventory(&[]));
            site.up().await;
            core.publish("ack", "no json").await;
            core.publish("ack", "{\"v\":1,\"epoch\":3,\"have\":{\"telemetry\":[[1,18446744073709551615]],\"x\":[]}}")
                .await;
            core.publish("time", "{\"v\":1,\"time\":\"yesterday\",\"accuracy_ms\":1}").await;
            core.publish("time", vec![b' '; 100_000]).await;
            core.publish("time", "{\"v\":1,\"time\":\"2026-11-23T10:00:00Z\",\"accuracy_ms\":20}").await;
            let offer = site.event(|event| matches!(event, UplinkEvent::TimeOffer { .. })).await;
            let UplinkEvent::TimeOffer { wall, accuracy, authentic, .. } = offer else { panic!("{offer:?}") };
            assert_eq!((wall.0, accuracy.as_millis(), authentic), (common::TEN, 20, false));
            // mosquitto keeps the large one from a client of MQTT 5, which says what it takes.
            let ignored = if version == Version::V5 { 2 } else { 3 };
            assert_eq!(site.uplink.status().counters.ignored, ignored);
            site.store(Lane::Telemetry, sample("meter-1", 8, 230));
            site.store(Lane::Telemetry, sample("meter-1", 400, 230));
            site.store(Lane::Telemetry, sample("meter-1", 8, 230));
            all_arrive(&site, &core, 3).await;
            let told = site.event(|event| matches!(event, UplinkEvent::RecordRefused { .. })).await;
            assert!(matches!(told, UplinkEvent::RecordRefused { lane: Lane::Telemetry, seq: 2, .. }), "{told:?}");
            assert_eq!(site.uplink.status().counters.connects, 1);
        };
        local.run_until(work).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn trouble_is_told_once_per_kind_and_a_second_broker_takes_over() {
    if without_mosquitto() {
        return;
    }
    let local = LocalSet::new();
    let work = async {
        let dead = common::broker::free_port();
        let mut site = Box1::start(settings(dead), inventory(&[]));
        let down = site.event(|event| matches!(event, UplinkEvent::LinkDown { .. })).await;
        let UplinkEvent::LinkDown { fault, broker } = down else { panic!() };
        assert_eq!(broker, format!("mqtt://127.0.0.1:{dead}"));
        let words = fault.to_string();
        assert!(words.starts_with(&format!("127.0.0.1:{dead} cannot be reached: Connection refused")), "{words}");
        until("more attempts", || site.uplink.status().counters.failures >= 5).await;
        assert_eq!(site.uplink.try_event(), None, "said once");

        let broker = Mosquitto::start("");
        let second = Broker::parse(&format!("mqtt://localhost:{}", broker.port)).unwrap();
        let mut both = settings(dead);
        both.brokers.push(second);
        site.uplink.reload(both);
        site.up().await;
        assert_eq!(site.uplink.status().broker, format!("mqtt://localhost:{}", broker.port));
    };
    local.run_until(work).await;
}

/// Drains; a drain that does not end fails the test. Gives where the link then stands.
async fn drained(site: &Box1, limit: Duration) -> LinkState {
    let ended = tokio::time::timeout(PATIENCE, site.uplink.drain(limit)).await;
    assert!(ended.is_ok(), "the drain does not end: {:?}", site.uplink.status());
    site.uplink.status().state
}

#[tokio::test(flavor = "current_thread")]
async fn a_drain_ends_though_the_broker_vanishes_or_freezes_meanwhile() {
    if without_mosquitto() {
        return;
    }
    let local = LocalSet::new();
    let work = async {
        for (vanishes, limit) in [(true, 2 * PATIENCE), (false, Duration::from_millis(300))] {
            let mut broker = Mosquitto::start("");
            let mut site = Box1::start(settings(broker.port), inventory(&[]));
            site.up().await;
            until("the first status is through", || site.uplink.status().counters.acked > 0).await;
            broker.signal(Signal::STOP);
            site.store(Lane::Alarms, event("device_state", "{}"));
            until("the record is under way", || site.uplink.status().in_flight > 0).await;
            let vanish = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if vanishes {
                    broker.kill();
                }
            };
            let (state, ()) = tokio::join!(drained(&site, limit), vanish);
            assert_eq!((state, site.outbox.borrow().unacked()), (LinkState::Stopped, 1));
            assert_eq!(site.uplink.status().counters.failures, u64::from(vanishes), "it is left, or not tried again");
        }
    };
    local.run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_drain_ends_while_the_link_backs_off_or_connects() {
    let local = LocalSet::new();
    let work = async {
        let hour = Duration::from_secs(3600);
        let slow = |port| Settings {
            backoff: BackoffSettings { first: hour, last: hour },
            connect_timeout: hour,
            response_timeout: hour,
            ..settings(port)
        };
        let mut site = Box1::start(slow(common::broker::free_port()), inventory(&[]));
        site.event(|event| matches!(event, UplinkEvent::LinkDown { .. })).await;
        assert_eq!(drained(&site, hour).await, LinkState::Stopped, "while it backs off");

        let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Box1::start(slow(mute.local_addr().unwrap().port()), inventory(&[]));
        let _open = mute.accept().await.unwrap();
        assert_eq!(drained(&site, hour).await, LinkState::Stopped, "while it waits to be admitted");
    };
    local.run_until(work).await;
}
