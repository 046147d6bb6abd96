//! Answers to people: the documents of the API, commands on their way to a bus and back.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_config::{Device, Site, Station};
use gatehouse_core::driver::Action;
use gatehouse_core::{DeviceIx, Kind, Mono, RegisterRow, Wall};
use gatehouse_drivers::line::{Command, CommandResult};
use gatehouse_rules::command::Source;
use gatehouse_store::{LaneStatus, TroubleKind};
use gatehouse_uplink::{DeviceEntry, InventorySource, LinkState, PointEntry, SiteEntry};
use serde_json::json;

use super::command::{COMMAND_TTL, identify_answer, read_answer, registers_answer, write_action, write_answer};
use super::device::{nearest, points_by_name};
use super::load::{load_action, load_answer};
use super::own_device::OwnDevice;
use super::reloaded::Asked;
use super::run::Daemon;
use super::{metrics, standing};
use crate::api::server::LoadBody;
use crate::api::{Answer, Ask, Refusal, Request, doc};

/// A lost link is worth a word only after this; the box keeps everything meanwhile.
const LINK_GRACE: Duration = Duration::from_secs(60);

impl Daemon {
    /// Answers a request; reads and writes are answered once the bus is done with them.
    pub fn answer(&mut self, ask: Ask) {
        let Ask { request, reply } = ask;
        let answer = match request {
            Request::Status => document(&self.status()),
            Request::Spool => document(&self.spool()),
            Request::Health => document(&self.health()),
            Request::Metrics => Ok(Answer::Text(metrics::text(self))),
            Request::Frames { bus, since } => self.frames(&bus, since).and_then(|frames| document(&frames)),
            Request::Devices(None) => document(&self.devices()),
            Request::Devices(Some(id)) => self.device(&id).and_then(|d| document(&d)),
            Request::Reload { issuer } => return self.reload(Asked::Person { issuer, reply }),
            Request::Decided(part) => Ok(Answer::Json(self.decided(part))),
            Request::Command { body, uid } => return self.command(&body, uid, reply),
            Request::Present { reader, body } => self.present(&reader, &body),
            Request::IssueCode { body, issuer } => self.issue_code(&body, &issuer),
            Request::Meters => Ok(Answer::Json(self.meters())),
            Request::MeterBooks(month) => self.meter_books(&month).and_then(|books| document(&books)),
            Request::SwapMeter { device, body, issuer } => return self.swap_meter(&device, &body, &issuer, reply),
            Request::EnterReading { device, body, issuer } => {
                return self.enter_reading(&device, &body, &issuer, reply);
            }
            Request::Read { device, points } => return self.read(&device, &points, reply),
            Request::Registers { device, row, unit } => return self.registers(&device, (row, unit), reply),
            Request::Identify(device) => return self.identify(&device, reply),
            Request::LoadRecords { device, body } => return self.load_records(&device, &body, reply),
            Request::Rekey { device, issuer } => return self.rekey(&device, issuer, reply),
            Request::Write { device, point, value, issuer } => {
                return self.write(&device, &point, &value, issuer, reply);
            }
        };
        // A client that has gone needs no answer.
        let _ = reply.send(answer);
    }

    fn command(&self, body: &[u8], uid: u32, reply: Reply) {
        let outcome = self.hub.command(Source::Socket { uid }, false, body);
        tokio::task::spawn_local(async move {
            let answer = outcome.await.map_err(|_| stopped()).map(|outcome| {
                Answer::Json(json!({
                    "outcome": outcome.as_str(), "reason": outcome.reason(), "detail": outcome.detail(),
                    "read_back": outcome.read_back(),
                }))
            });
            let _ = reply.send(answer);
        });
    }

    /// Asks a device for something that changes nothing. `begin` says what to ask, and what `tell` needs besides the device
    /// and its answer.
    fn ask<K: 'static, T: serde::Serialize>(
        &self,
        id: &str,
        reply: Reply,
        begin: impl FnOnce(&Device) -> Result<(Action, K), Refusal>,
        tell: impl FnOnce(&Device, K, (Mono, CommandResult)) -> Result<T, Refusal> + 'static,
    ) {
        let begun = self.locate(id).and_then(|(ix, config)| {
            let (action, kept) = begin(&config)?;
            Ok((self.send(ix, action)?, config, kept))
        });
        let (done, config, kept) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        tokio::task::spawn_local(async move {
            let result = done.await.map_err(|_| stopped());
            let _ = reply.send(result.and_then(|result| tell(&config, kept, result)).and_then(|told| document(&told)));
        });
    }

    fn read(&self, id: &str, names: &[String], reply: Reply) {
        let begin = |device: &Device| {
            let points = points_by_name(device, names)?;
            Ok((Action::Read(points.clone()), points))
        };
        self.ask(id, reply, begin, |device, points, (at, result)| read_answer(device, at, &points, result));
    }

    fn registers(&self, id: &str, (row, unit): (RegisterRow, Option<u8>), reply: Reply) {
        let begin = |device: &Device| match (&device.station, unit) {
            (Station::Modbus(station), Some(believed)) if station.unit != believed => {
                let text =
                    format!("device {id} has unit {} here: `gatehouse reload` the site file first", station.unit);
                Err(Refusal::new(409, "other_unit", text))
            }
            (_, _) => Ok((Action::Registers(row), row)),
        };
        self.ask(id, reply, begin, |device, row, (_, result)| registers_answer(device, row, result));
    }

    fn load_records(&self, id: &str, body: &LoadBody, reply: Reply) {
        let begin = |device: &Device| Ok((load_action(device, body)?, ()));
        self.ask(id, reply, begin, |device, (), (_, result)| load_answer(device, result));
    }

    fn identify(&self, id: &str, reply: Reply) {
        let begin = |_: &Device| Ok((Action::Identify, ()));
        self.ask(id, reply, begin, |device, (), (_, result)| identify_answer(device, result));
    }

    fn write(&self, id: &str, point: &str, value: &str, issuer: String, reply: Reply) {
        let begun = self.locate(id).and_then(|(ix, config)| {
            let (written, action) = write_action(&config, point, value)?;
            let place = self.hub.with(ix, |device| device.place).unwrap_or(ix);
            let at = gatehouse_rules::PointRef { device: place, point: written };
            if let Some(owner) = self.hub.look(|engine| engine.reserved(at).map(str::to_owned)) {
                let text = format!("{id} {point} belongs to {owner}: use `gatehouse command`, which asks that");
                return Err(Refusal::new(409, "reserved", text));
            }
            let done = self.send(ix, action)?;
            Ok((config, done))
        });
        let (config, done) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                let fields = json!({
                    "device": id, "point": point, "value": value, "issuer": issuer,
                    "outcome": "refused", "detail": refusal.message,
                });
                self.hub.audit("command", &fields);
                return drop(reply.send(Err(refusal)));
            }
        };
        let (hub, point, value) = (self.hub.clone(), point.to_owned(), value.to_owned());
        tokio::task::spawn_local(async move {
            let answer = match done.await {
                Ok((_, result)) => Ok(write_answer(&config, &point, result)),
                Err(_) => Err(stopped()),
            };
            let (outcome, detail, read_back) = match &answer {
                Ok(answer) => (answer.outcome.clone(), answer.detail.clone(), answer.read_back.clone()),
                Err(refusal) => ("unknown".to_owned(), Some(refusal.message.clone()), None),
            };
            let personal = config.points.iter().any(|known| known.personal && known.spec.name == *point);
            let told = |text: String| if personal { "personal".to_owned() } else { text };
            let fields = json!({
                "device": config.id.as_str(), "point": point, "value": told(value), "issuer": issuer,
                "outcome": outcome, "detail": detail, "read_back": read_back.map(told),
            });
            hub.audit("command", &fields);
            let _ = reply.send(answer.and_then(|a| document(&a)));
        });
    }

    fn send(&self, device: DeviceIx, action: Action) -> Result<Done, Refusal> {
        let way = self.way(device).ok_or_else(stopped)?;
        let (id, done) = self.hub.expect_command(device);
        let expires = self.hub.clock.mono() + COMMAND_TTL;
        way.send(Command { id, device, action, expires }).map_err(|_| {
            self.hub.forget_command(id);
            Refusal::new(503, "busy", "too many commands wait for it already: try again in a moment")
        })?;
        Ok(done)
    }

    /// The device's index and what the site file says of it.
    pub(super) fn locate(&self, id: &str) -> Result<(DeviceIx, Arc<Device>), Refusal> {
        for ix in self.indexes() {
            let config = self.hub.with(ix, |d| (d.config.id == *id).then(|| d.config.clone())).flatten();
            if let Some(config) = config {
                return Ok((ix, config));
            }
        }
        let hint = nearest(id, self.site.devices.iter().map(|d| d.id.as_str()));
        Err(Refusal::new(404, "unknown_device", format!("the site has no device {id:?}{hint}")))
    }

    fn device(&self, id: &str) -> Result<doc::Device, Refusal> {
        let (ix, _) = self.locate(id)?;
        let now = self.hub.clock.mono();
        self.hub.with(ix, |d| d.document(now, self.started)).ok_or_else(stopped)
    }

    fn devices(&self) -> Vec<doc::Device> {
        let now = self.hub.clock.mono();
        self.indexes().filter_map(|ix| self.hub.with(ix, |d| d.document(now, self.started))).collect()
    }

    /// The whole picture.
    pub fn status(&self) -> doc::Status {
        let stamp = self.hub.clock.now();
        doc::Status {
            box_id: self.site.id.to_string(),
            title: self.site.title.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: stamp.mono.since(self.started).as_secs_f64(),
            config: self.path.display().to_string(),
            clock: doc::Clock {
                time: rfc3339(stamp.wall),
                trust: stamp.trust.as_str().to_owned(),
                boot: stamp.boot.to_string(),
            },
            buses: self.site.buses.iter().zip(&self.buses).map(|(c, b)| bus_doc(c, b, stamp.mono)).collect(),
            devices: self.indexes().filter_map(|ix| self.hub.with(ix, |d| d.brief(stamp.mono, self.started))).collect(),
            spool: self.spool(),
            uplink: self.uplink.as_ref().map(|u| uplink_doc(&u.status(), stamp.mono)),
            guard: self.guard(),
            wishes: self.hub.look(standing::wishes),
            controllers: self.hub.look(standing::controllers),
            troubles: self.troubles(),
        }
    }

    /// What is held.
    pub fn spool(&self) -> doc::Spool {
        let status = self.hub.store.borrow().status();
        doc::Spool {
            epoch: status.epoch,
            bytes: status.spool_bytes + status.tail_bytes + status.journal_bytes,
            max_bytes: status.max_bytes,
            free_bytes: status.free_bytes,
            lanes: status.lanes.iter().map(lane_doc).collect(),
        }
    }

    fn health(&self) -> doc::Health {
        let store = self.hub.store.borrow().status();
        let passing = |kind| matches!(kind, TroubleKind::Damaged | TroubleKind::Bounded);
        let stores = store.troubles.iter().all(|t| passing(t.kind));
        let ports = self.buses.iter().all(|bus| bus.handle.port.borrow().open);
        let lines = self.own.as_ref().is_none_or(|own| own.trouble().is_empty());
        doc::Health { healthy: stores && ports && lines, troubles: self.troubles() }
    }

    /// What is wrong right now, each in one sentence.
    pub fn troubles(&self) -> Vec<String> {
        let now = self.hub.clock.mono();
        let mut troubles = Vec::new();
        for (config, bus) in self.site.buses.iter().zip(&self.buses) {
            let port = bus.handle.port.borrow();
            if let Some(error) = &port.error {
                troubles.push(format!("bus {}: {error}", config.id));
            }
        }
        for ix in self.indexes() {
            let offline = self.hub.with(ix, |d| d.is_offline().then(|| d.brief(now, self.started))).flatten();
            if let Some(device) = offline {
                let why = device.reason.unwrap_or_default();
                let on = if device.bus.is_empty() { String::new() } else { format!(" on bus {}", device.bus) };
                troubles.push(format!("device {}{on} does not answer ({why})", device.id));
            }
        }
        troubles.extend(self.own.iter().flat_map(OwnDevice::troubles));
        troubles.extend(self.hub.look(standing::troubles));
        troubles.extend(self.http_trouble.lock().ok().and_then(|trouble| trouble.clone()));
        troubles.extend(self.hub.store.borrow().status().troubles.into_iter().map(|t| t.text));
        if let Some(link) = self.uplink.as_ref().map(|u| u.status()) {
            let down = link.state != LinkState::Up && now.since(link.since) >= LINK_GRACE;
            if let (true, Some(fault)) = (down, &link.last_error) {
                troubles.push(format!("link to {}: {fault}", link.broker));
            }
            if link.budget_exhausted {
                troubles.push("the day's telemetry budget is used up: telemetry waits until midnight UTC".to_owned());
            }
            for (lane, reason) in &link.held {
                troubles.push(format!("the broker holds up the lane {lane} (reason {reason:#04x})"));
            }
        }
        troubles
    }
}

pub(super) type Reply = tokio::sync::oneshot::Sender<Result<Answer, Refusal>>;
type Done = tokio::sync::oneshot::Receiver<(Mono, CommandResult)>;

fn stopped() -> Refusal {
    Refusal::new(503, "stopping", "the bus is being stopped or reloaded: try again in a moment")
}

fn document(value: &impl serde::Serialize) -> Result<Answer, Refusal> {
    serde_json::to_value(value).map(Answer::Json).map_err(|e| Refusal::new(500, "unexpected", e.to_string()))
}

/// A time as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(wall: Wall) -> String {
    let time = jiff::Timestamp::from_microsecond(wall.0).unwrap_or_default();
    format!("{time:.3}")
}

fn bus_doc(config: &gatehouse_config::Bus, bus: &super::run::BusRuntime, now: Mono) -> doc::Bus {
    let line = bus.handle.line.borrow();
    let (stats, port) = (line.stats(), bus.handle.port.borrow());
    let rejected: BTreeMap<String, u64> =
        stats.rejects().filter(|(_, n)| *n > 0).map(|(why, n)| (metrics::reject_name(why).to_owned(), n)).collect();
    doc::Bus {
        id: config.id.to_string(),
        port: config.port.to_string(),
        open: port.open,
        since_s: now.since(port.since).as_secs_f64(),
        error: port.error.clone(),
        load_percent: bus.load(now) * 100.0,
        transactions: stats.transactions,
        timeouts: stats.timeouts,
        rejected,
        late: stats.late_replies,
        retries: stats.retries,
        skipped: stats.skipped_slots,
        opened: port.opened,
    }
}

fn lane_doc(lane: &LaneStatus) -> doc::LaneDoc {
    doc::LaneDoc {
        lane: lane.lane.as_str().to_owned(),
        held: lane.held,
        oldest: lane.oldest.map(|(wall, _)| rfc3339(wall)),
        newest: lane.newest,
        lost: lane.lost,
    }
}

fn uplink_doc(status: &gatehouse_uplink::UplinkStatus, now: Mono) -> doc::Uplink {
    let n = &status.counters;
    doc::Uplink {
        state: status.state.as_str().to_owned(),
        broker: status.broker.clone(),
        since_s: now.since(status.since).as_secs_f64(),
        error: status.last_error.as_ref().map(ToString::to_string),
        messages: n.messages,
        acknowledged: n.acked,
        bytes: n.bytes_sent,
        in_flight: u64::from(status.in_flight),
        connects: n.connects,
    }
}

/// What the core is told about the site: made when it is sent, held nowhere.
pub struct SiteInventory(pub Rc<Site>);

impl InventorySource for SiteInventory {
    fn site(&self) -> SiteEntry {
        SiteEntry {
            title: self.0.title.clone(),
            timezone: self.0.timezone.clone(),
            labels: self.0.labels.clone(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn device(&self, ix: usize) -> Option<DeviceEntry> {
        self.0.devices.get(ix).map(|device| device_entry(&self.0, device))
    }
}

fn device_entry(site: &Site, device: &Device) -> DeviceEntry {
    let point = |point: &gatehouse_config::PointConfig| PointEntry {
        point: point.spec.name.to_string(),
        title: point.title.clone(),
        unit: point.spec.unit.clone(),
        kind: match point.spec.kind() {
            Kind::Bool => "bool",
            Kind::Decimal { .. } | Kind::FreeDecimal => "decimal",
            Kind::F32 | Kind::F64 => "float",
            Kind::Text => "text",
        }
        .to_owned(),
        billing: point.billing,
        interval_ms: u64::try_from(point.interval.as_millis()).ok(),
        bits: point.spec.bits.iter().map(|(name, bit)| (*bit, name.clone())).collect(),
    };
    DeviceEntry {
        device: device.id.to_string(),
        title: device.title.clone(),
        profile: device.profile.as_ref().map(ToString::to_string).unwrap_or_default(),
        bus: device.bus.and_then(|bus| site.buses.get(bus)).map(|bus| bus.id.to_string()).unwrap_or_default(),
        labels: device.labels.clone(),
        points: device.points.iter().map(point).collect(),
    }
}
