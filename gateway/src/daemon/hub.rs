//! Where a line's output becomes records: latest values, report by exception, the store, the uplink.
//!
//! The hub is the one place that a sample passes on its way from a bus to the core. It never waits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use gatehouse_core::{DeviceIx, Event, Lane, Mono, NoData, PointIx, PointReading, Schema};
use gatehouse_drivers::line::{CommandResult, Output};
use gatehouse_rules::Engine;
use gatehouse_rules::access::Ask;
use gatehouse_rules::billing::Flag;
use gatehouse_store::{Batch, CommitTicket, Store, StoreError};
use gatehouse_uplink::schema::AskMessage;
use gatehouse_uplink::{Inbound, MessageId, UplinkHandle};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

use super::bus::Sink;
use super::clock::Clock;
use super::device::DeviceRuntime;
use super::effector::Effector;

/// Who waits for a command's result.
type Waiting = oneshot::Sender<(Mono, CommandResult)>;

/// The state that all buses share.
pub struct Hub {
    /// The clocks.
    pub clock: Rc<Clock>,
    /// The store.
    pub store: Rc<RefCell<Store>>,
    uplink: RefCell<Option<UplinkHandle>>,
    devices: RefCell<BTreeMap<DeviceIx, DeviceRuntime>>,
    next_device: Cell<u32>,
    waiting: RefCell<BTreeMap<u64, (DeviceIx, Waiting)>>,
    next_command: Cell<u64>,
    sorted: RefCell<[Vec<PointReading>; 2]>,
    refused: Cell<u64>,
    store_failing: Cell<bool>,
    pub(super) store_wake: Arc<Notify>,
    store_armed: Cell<Mono>,
    /// Who waits at the socket for the outcome of a command, by its id.
    pub(super) askers: RefCell<BTreeMap<String, oneshot::Sender<gatehouse_rules::command::Outcome>>>,
    pub(super) engine: RefCell<Engine>,
    pub(super) effector: RefCell<Effector>,
    runs: Cell<u32>,
    pub(super) engine_armed: Cell<Mono>,
}

impl Hub {
    /// A hub without devices. `store_wake` tells the main loop that the store or the engine has something to do or to
    /// say.
    pub fn new(clock: Rc<Clock>, store: Rc<RefCell<Store>>, engine: Engine, store_wake: Arc<Notify>) -> Self {
        Hub {
            clock,
            store,
            uplink: RefCell::new(None),
            devices: RefCell::new(BTreeMap::new()),
            next_device: Cell::new(0),
            waiting: RefCell::new(BTreeMap::new()),
            next_command: Cell::new(1),
            sorted: RefCell::new([Vec::new(), Vec::new()]),
            refused: Cell::new(0),
            store_failing: Cell::new(false),
            store_wake,
            store_armed: Cell::new(Mono(0)),
            askers: RefCell::new(BTreeMap::new()),
            engine: RefCell::new(engine),
            effector: RefCell::default(),
            runs: Cell::new(0),
            engine_armed: Cell::new(Mono(0)),
        }
    }

    /// Tells the hub whom to wake for new records.
    pub fn set_uplink(&self, uplink: Option<UplinkHandle>) {
        *self.uplink.borrow_mut() = uplink;
    }

    /// Adds a device; its index is never given to another one, so that a late output cannot reach a stranger.
    pub fn add(&self, device: DeviceRuntime) -> DeviceIx {
        let ix = DeviceIx(self.next_device.replace(self.next_device.get() + 1));
        self.devices.borrow_mut().insert(ix, device);
        ix
    }

    /// Removes a device. Who still waits for a command of it is told that the bus has ended.
    pub fn remove(&self, ix: DeviceIx) -> Option<DeviceRuntime> {
        self.waiting.borrow_mut().retain(|_, (device, _)| *device != ix);
        self.devices.borrow_mut().remove(&ix)
    }

    /// Looks at a device.
    pub fn with<T>(&self, ix: DeviceIx, look: impl FnOnce(&mut DeviceRuntime) -> T) -> Option<T> {
        self.devices.borrow_mut().get_mut(&ix).map(look)
    }

    /// Samples that the store refused.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// A fresh id for a command to this device, and where its result will come.
    pub fn expect_command(&self, device: DeviceIx) -> (u64, oneshot::Receiver<(Mono, CommandResult)>) {
        let id = self.next_number();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, (device, sender));
        (id, receiver)
    }

    /// Counts the engines of this daemon.
    pub(super) fn next_run(&self) -> u32 {
        self.runs.set(self.runs.get() + 1);
        self.runs.get()
    }

    /// A number for a command that no other one has.
    pub(super) fn next_number(&self) -> u64 {
        self.next_command.replace(self.next_command.get() + 1)
    }

    /// Forgets a command that was never sent.
    pub fn forget_command(&self, id: u64) {
        self.waiting.borrow_mut().remove(&id);
    }

    /// Puts an event into the audit lane; gives the ticket that is told once the event is durable.
    pub fn audit(&self, kind: &'static str, fields: &serde_json::Value) -> Option<CommitTicket> {
        let event = Event { kind, json: fields.to_string().into() };
        let batch = Batch { state: Vec::new(), events: vec![(Lane::Audit, self.clock.now(), event)] };
        let committed = self.store.borrow_mut().commit(batch);
        committed.inspect_err(|e| self.store_failed(e)).ok()
    }

    /// Tells that a message of the core is of no use.
    pub(super) fn refuse_message(&self, topic: Inbound, why: &str) {
        tracing::warn!(topic = topic.as_str(), why, "a message of the core cannot be used");
        let why: String = why.chars().take(300).collect();
        self.audit("message_refused", &json!({ "topic": topic.as_str(), "why": why }));
    }

    /// Asks the core whether somebody may pass. False without a link.
    pub(super) fn ask_core(&self, ask: &Ask) -> bool {
        let message = AskMessage {
            v: 1,
            request: ask.request.0,
            gate: ask.gate.clone(),
            direction: ask.direction.as_str().to_owned(),
            credential: ask.credential.clone(),
            kind: ask.kind.to_owned(),
            deadline_ms: u64::from(ask.deadline_ms),
        };
        let question = serde_json::to_vec(&message).unwrap_or_default();
        self.uplink.borrow().as_ref().is_some_and(|uplink| uplink.ask(question))
    }

    /// Acknowledges a message of the core to the broker.
    pub(super) fn settle_message(&self, id: MessageId) {
        if let Some(uplink) = &*self.uplink.borrow() {
            uplink.settle(id);
        }
    }

    /// Tells the core whether the box counts as cut off.
    pub(super) fn tell_mode(&self, mode: &'static str) {
        if let Some(uplink) = &*self.uplink.borrow() {
            uplink.set_mode(mode);
        }
    }

    /// Wakes the uplink for what the store made ready.
    pub fn sendable(&self, lane: Lane) {
        if let Some(uplink) = &*self.uplink.borrow() {
            uplink.stored(lane);
        }
    }

    /// Judges the billing points of a sample before it is stored.
    fn judge(&self, ix: DeviceIx, at: Mono, readings: &[PointReading]) -> Vec<(PointIx, Vec<Flag>)> {
        let place = self.with(ix, |device| device.has_billing().then_some(device.place)).flatten();
        let now = self.clock.now();
        place.map(|place| self.engine.borrow_mut().judge(now, place, at, readings)).unwrap_or_default()
    }

    fn sample(&self, ix: DeviceIx, at: Mono, readings: &[PointReading], flags: &[(PointIx, Vec<Flag>)]) {
        let mut devices = self.devices.borrow_mut();
        let Some(device) = devices.get_mut(&ix) else { return };
        let mut sorted = self.sorted.borrow_mut();
        let [telemetry, billing] = &mut *sorted;
        let plain = device.take(at, readings, telemetry, billing);
        if plain {
            self.append(Lane::Telemetry, at, &device.schema, readings);
        } else {
            self.append(Lane::Telemetry, at, &device.schema, telemetry);
            device.add_remarks(flags, billing);
            self.append(Lane::Billing, at, &device.billing_schema, billing);
        }
        telemetry.clear();
        billing.clear();
    }

    fn append(&self, lane: Lane, at: Mono, schema: &Arc<Schema>, readings: &[PointReading]) {
        if readings.is_empty() {
            return;
        }
        let stamp = self.clock.stamp(at);
        let mut store = self.store.borrow_mut();
        let appended = store.append_sample(lane, stamp, schema, readings);
        if store.poll_timeout().is_some_and(|due| due < self.store_armed.get()) {
            self.store_wake.notify_one();
        }
        drop(store);
        match appended {
            Ok(_) => {
                self.store_recovered();
                // Billing readings are announced by the store once they are durable.
                if lane == Lane::Telemetry {
                    self.sendable(lane);
                }
            }
            Err(e) => {
                self.refused.set(self.refused.get() + 1);
                self.store_failed(&e);
            }
        }
    }

    pub(super) fn store_failed(&self, error: &StoreError) {
        if matches!(error, StoreError::TooLarge { .. }) {
            tracing::error!(error = %error, "an event is too large for the journal and is left out");
        } else if !self.store_failing.replace(true) {
            tracing::error!(error = %error, "the store takes no more records; they are lost until it does");
        }
    }

    /// When the store wants to be woken; the caller promises to wake it then.
    pub fn arm_store(&self) -> Option<Mono> {
        let due = self.store.borrow().poll_timeout();
        self.store_armed.set(due.unwrap_or(Mono(u64::MAX)));
        due
    }

    fn store_recovered(&self) {
        if self.store_failing.replace(false) {
            tracing::info!("the store takes records again");
        }
    }

    fn device_state(&self, ix: DeviceIx, at: Mono, online: bool, reason: Option<NoData>) {
        let Some((name, own)) = self.with(ix, |device| {
            device.set_state(at, online, reason);
            (device.config.id.clone(), device.bus.is_none())
        }) else {
            return;
        };
        let why = reason.map(|r| r.to_string());
        if own {
            // Each of its lines has been told by itself.
        } else if online {
            tracing::info!(device = %name, "device answers");
        } else {
            tracing::warn!(device = %name, reason = why.as_deref().unwrap_or("-"), "device does not answer, probing it slowly");
        }
        self.audit("device_state", &json!({ "device": name.as_str(), "online": online, "reason": why }));
    }
}

impl Sink for Hub {
    fn output(&self, output: Output) -> Option<Vec<PointReading>> {
        match output {
            Output::Sample { device, at, readings, .. } => {
                let flags = self.judge(device, at, &readings);
                self.sample(device, at, &readings, &flags);
                if let Some(place) = self.with(device, |device| device.place) {
                    self.decide(|engine, now| engine.handle_sample(now, place, at, &readings));
                }
                Some(readings)
            }
            Output::DeviceState { device, at, online, reason } => {
                self.device_state(device, at, online, reason);
                let why = reason.map(|reason| reason.to_string()).unwrap_or_default();
                if let Some(place) = self.with(device, |device| device.place) {
                    self.decide(|engine, now| engine.handle_device_state(now, place, online, &why));
                }
                None
            }
            Output::CommandDone { id, at, result } if self.act_done(id, at, &result) => None,
            Output::CommandDone { id, result, .. } if self.enquiry_done(id, &result) => None,
            Output::CommandDone { id, at, result } => {
                let waiting = self.waiting.borrow_mut().remove(&id);
                if let Some((_, waiting)) = waiting {
                    // Whoever asked may have gone; the outcome is in the audit trail all the same.
                    let _ = waiting.send((at, result));
                }
                None
            }
            Output::ClosePort { .. } | Output::Characters { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gatehouse_core::{Body, Value};
    use gatehouse_drivers::profile::Library;

    use super::*;

    const SITE: &str = r#"
[site]
id = "box"
timezone = "UTC"
[[bus]]
id = "plant"
tcp = "127.0.0.1:502"
[[device]]
id = "meter"
bus = "plant"
unit = 1
profile = "acrel-adl400"
interval = "1s"
points = ["import_energy", "voltage_l1"]
billing = ["import_energy"]
"#;

    fn hub(dir: &Path) -> (Hub, DeviceIx) {
        let clock = Rc::new(Clock::open());
        let settings = gatehouse_store::Settings::new(dir.join("data"), dir.join("tail"));
        let (store, _) = Store::open(settings, clock.now(), Arc::new(|| {})).unwrap();
        let site = gatehouse_config::check("site.toml", SITE, dir, &Library::new()).unwrap().site;
        let engine = Engine::new(&site.rules, 0).unwrap();
        let hub = Hub::new(clock, Rc::new(RefCell::new(store)), engine, Arc::new(Notify::new()));
        let device = DeviceRuntime::new((DeviceIx(0), site.devices[0].clone()), Some(site.buses[0].id.clone()));
        let ix = hub.add(device);
        (hub, ix)
    }

    fn sample(device: DeviceIx, at: Mono) -> Output {
        let value = |digits| Ok(Value::Decimal(gatehouse_core::Decimal { mantissa: digits, exponent: -2 }));
        let readings =
            vec![PointReading::new(PointIx(0), value(1_234_567)), PointReading::new(PointIx(1), Err(NoData::Timeout))];
        Output::Sample { device, group: 0, at, readings }
    }

    #[test]
    fn billing_points_travel_apart_from_telemetry() {
        let dir = tempfile::tempdir().unwrap();
        let (hub, ix) = hub(dir.path());
        let billing = hub.with(ix, |d| d.config.points.iter().position(|p| p.billing)).flatten();
        assert!(hub.output(sample(ix, hub.clock.mono())).is_some(), "the buffer comes back");
        let mut seen = Vec::new();
        let mut store = hub.store.borrow_mut();
        for lane in [Lane::Telemetry, Lane::Billing] {
            while lane == Lane::Billing && store.newest(lane) == 0 {
                std::thread::yield_now();
                let _ = store.poll_event();
            }
            store
                .read(lane, 0, &mut |record| {
                    let Body::Sample { readings, .. } = &record.body else { return std::ops::ControlFlow::Break(()) };
                    seen.push((lane, readings.iter().map(|r| usize::from(r.point.0)).collect::<Vec<_>>()));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
        }
        let other = 1 - billing.unwrap();
        assert_eq!(seen, [(Lane::Telemetry, vec![other]), (Lane::Billing, vec![billing.unwrap()])]);
    }

    #[test]
    fn flags_and_bytes_travel_in_the_record_of_the_reading_that_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let (hub, ix) = hub(dir.path());
        let billing = hub.with(ix, |d| d.config.points.iter().position(|p| p.billing)).flatten().unwrap();
        let point = PointIx(u16::try_from(billing).unwrap());
        for mantissa in [1_234_567, 1_234_500] {
            let value = Ok(Value::Decimal(gatehouse_core::Decimal { mantissa, exponent: -2 }));
            let readings = vec![PointReading::new(point, value).of(&[0x12, 0xD6])];
            hub.output(Output::Sample { device: ix, group: 0, at: hub.clock.mono(), readings });
        }
        let mut seen = Vec::new();
        let mut store = hub.store.borrow_mut();
        while store.newest(Lane::Billing) < 2 {
            std::thread::yield_now();
            let _ = store.poll_event();
        }
        store
            .read(Lane::Billing, 0, &mut |record| {
                let Body::Sample { schema, readings } = &record.body else { return std::ops::ControlFlow::Break(()) };
                let named =
                    |r: &PointReading| format!("{}={}", schema.point(r.point).unwrap().name, r.value.as_ref().unwrap());
                seen.push(readings.iter().map(named).collect::<Vec<_>>().join(" "));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(
            seen,
            [
                "import_energy=12345.67 import_energy.raw=12D6",
                "import_energy=12345.00 import_energy.flags=regression import_energy.raw=12D6"
            ],
            "the value is kept as it came, with its bytes"
        );
    }

    #[test]
    fn a_late_sample_of_a_removed_device_reaches_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (hub, old) = hub(dir.path());
        let removed = hub.remove(old).unwrap();
        let new = hub.add(removed);
        assert_ne!(old, new, "an index is never given twice");
        hub.output(sample(old, hub.clock.mono()));
        assert_eq!(hub.with(new, |d| d.samples), Some(0));
        assert_eq!(hub.store.borrow().newest(Lane::Telemetry), 0);
    }
}
