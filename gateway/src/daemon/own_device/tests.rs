use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use gatehouse_core::driver::Action;
use gatehouse_core::{PointIx, Value};
use gatehouse_drivers::profile::Library;
use gatehouse_rules::Engine;
use gatehouse_store::Store;
use tokio::sync::Notify;

use super::*;
use crate::daemon::clock::Clock;
use crate::daemon::effector::{Route, Way};

const FIRE: PointIx = PointIx(0);
const RELEASE: PointIx = PointIx(2);

/// A site whose bus never answers, with a barrier and a door on the box's own relays.
const SITE: &str = r#"
[site]
id = "s"
[[bus]]
id = "dead"
tcp = "127.0.0.1:1"
[[device]]
id = "meter"
profile = "acrel-adl400"
[[box.contact]]
name = "fire"
chip = "/dev/gpiochip-none"
line = 4
[[box.relay]]
name = "raise"
led = "DIR/raise"
[[box.relay]]
name = "release"
led = "DIR/release"
[[gate]]
id = "entry"
kind = "barrier"
open = { point = "box/raise", command = "pulse", time = "500ms" }
sensors = { fire = "box/fire" }
[[gate]]
id = "lobby"
kind = "door"
open = { point = "box/release", level = true }
sensors = { fire = "box/fire" }
"#;

/// A hub with the box's own device at work in `dir`. Nobody tells it that anything is durable: what goes out all the same
/// did not wait for the store.
fn start_in(dir: &Path) -> (Rc<Hub>, OwnDevice) {
    for relay in ["raise", "release"] {
        let led = dir.join(relay);
        std::fs::create_dir(&led).unwrap();
        for (file, text) in [("trigger", "[none] oneshot"), ("max_brightness", "1"), ("brightness", "0")] {
            std::fs::write(led.join(file), text).unwrap();
        }
    }
    let text = SITE.replace("DIR", dir.to_str().unwrap());
    let site = gatehouse_config::check("site.toml", &text, dir, &Library::new()).unwrap().site;
    let clock = Rc::new(Clock::open());
    let settings = gatehouse_store::Settings::new(dir.join("data"), dir.join("tail"));
    let (store, _) = Store::open(settings, clock.now(), Arc::new(|| {})).unwrap();
    let engine = Engine::new(&site.rules, 0).unwrap();
    let hub = Rc::new(Hub::new(clock, Rc::new(RefCell::new(store)), engine, Arc::new(Notify::new())));
    let own = start(&site, &hub, None).unwrap();
    let route = Route { device: own.device, way: Way::Own(own.io.commands()) };
    hub.set_routes(vec![None, Some(route)]);
    hub.start_engine();
    (hub, own)
}

/// Lets the others have their turns until this holds; fails where it never does.
async fn until(what: impl Fn() -> bool) {
    let held = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), held).await.expect("it comes about");
}

fn latest(hub: &Hub, own: &OwnDevice, point: PointIx) -> Option<Result<Value, NoData>> {
    let find = |device: &mut DeviceRuntime| device.latest().find(|(_, reading)| reading.point == point);
    hub.with(own.device, find).flatten().map(|(_, reading)| reading.value)
}

fn fire(hub: &Hub, own: &OwnDevice, value: Result<Value, NoData>) {
    let readings = vec![PointReading::new(FIRE, value)];
    pass(hub, own.device, bridge::Output::Sample { at: hub.clock.mono(), readings });
}

#[tokio::test]
async fn a_fire_contact_on_the_box_raises_and_releases_before_anything_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap_or_default();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (hub, own) = start_in(dir.path());
            until(|| latest(&hub, &own, RELEASE) == Some(Ok(Value::Bool(false)))).await;
            fire(&hub, &own, Ok(Value::Bool(false)));
            assert_eq!((read("release/brightness"), read("raise/shot")), ("0".to_owned(), String::new()));
            fire(&hub, &own, Ok(Value::Bool(true)));
            until(|| read("release/brightness") == "1" && read("raise/shot") == "1").await;
            assert_eq!(read("raise/delay_on"), "500", "the kernel ends the pulse");
            until(|| latest(&hub, &own, RELEASE) == Some(Ok(Value::Bool(true)))).await;
            // The wire burns through: that is no all-clear.
            fire(&hub, &own, Err(NoData::BusDown));
            fire(&hub, &own, Ok(Value::Bool(false)));
            own.io.stop().await;
        })
        .await;
    assert_eq!(read("release/brightness"), "0", "off at the end, as `at_restart` says where it says nothing");
}

#[tokio::test]
async fn what_is_told_by_the_box_is_a_reading_and_a_line_that_cannot_be_opened_a_trouble() {
    let dir = tempfile::tempdir().unwrap();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (hub, mut own) = start_in(dir.path());
            until(|| latest(&hub, &own, FIRE).is_some()).await;
            assert_eq!(latest(&hub, &own, FIRE), Some(Err(NoData::BusDown)));
            assert!(hub.store.borrow().newest(gatehouse_core::Lane::Telemetry) > 0, "it is a record");
            assert_eq!(hub.with(own.device, |device| device.online()), Some(Some(true)), "its relays are there");
            assert!(own.trouble().starts_with("fire of the box: there is no GPIO chip /dev/gpiochip-none"));
            assert!(own.has_news() && !own.has_news(), "told once");
        })
        .await;
}

#[tokio::test]
async fn a_command_comes_back_when_the_box_takes_none_any_more() {
    let dir = tempfile::tempdir().unwrap();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (hub, own) = start_in(dir.path());
            let (way, device) = (Way::Own(own.io.commands()), own.device);
            let action = Action::Write(RELEASE, Value::Bool(true));
            let (id, done) = hub.expect_command(device);
            let expires = hub.clock.mono() + std::time::Duration::from_secs(60);
            let command = Command { id, device, action, expires };
            way.send(command.clone()).unwrap();
            assert_eq!(done.await.unwrap().1, CommandResult::Verified(Value::Bool(true)));
            own.io.stop().await;
            assert_eq!(way.send(command.clone()), Err(command));
        })
        .await;
}

#[tokio::test]
async fn the_lines_change_hands_without_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (hub, own) = start_in(dir.path());
            until(|| latest(&hub, &own, RELEASE).is_some()).await;
            let text = SITE.replace("DIR", dir.path().to_str().unwrap()).replace("line = 4", "line = 5");
            let site = gatehouse_config::check("site.toml", &text, dir.path(), &Library::new()).unwrap().site;
            hub.remove(own.device);
            let next = start(&site, &hub, Some(own.io)).unwrap();
            assert_ne!(next.device, own.device);
            until(|| latest(&hub, &next, RELEASE).is_some()).await;
            next.io.stop().await;
        })
        .await;
}

#[test]
fn one_dead_line_is_no_dead_device() {
    let sample = |values: [Result<bool, NoData>; 2]| {
        let readings = (0u16..).map(PointIx).zip(values);
        let readings = readings.map(|(point, value)| PointReading::new(point, value.map(Value::Bool))).collect();
        bridge::Output::Sample { at: Mono(5), readings }
    };
    let mut alive = Alive::new(2);
    let gone = Err(NoData::BusDown);
    assert_eq!(alive.take(&bridge::Output::Sample { at: Mono(0), readings: Vec::new() }), None, "nothing is known");
    assert_eq!(alive.take(&sample([gone, Ok(false)])), Some((Mono(5), true)));
    assert_eq!(alive.take(&sample([Err(NoData::NotAvailable), gone])), None, "a contact that bounces is there");
    assert_eq!(alive.take(&sample([gone, gone])), Some((Mono(5), false)));
    assert_eq!(alive.take(&sample([gone, gone])), None);
}
