mod freezes;
mod load;
mod model;
mod people;
mod registers;
mod schedule;
mod statement;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::driver::{Action, FREEZE_TIME, METER_CLOCK};
use gatehouse_core::{
    BootId, Decimal, DeviceIx, Kind, Mono, Name, NoData, PointIx, PointReading, Stamp, Trust, Value, Wall,
};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::statement::{BalanceBook, Books, MeterBook, ReadingBook, RegisterBook, statement};
use super::*;
use crate::catalog::{CatalogDevice, CatalogPoint};
use crate::effect::{Act, ActResult};
use crate::schedule::zone;

pub(super) const ENERGY: PointIx = PointIx(0);
pub(super) const SERIAL: PointIx = PointIx(2);

pub(super) fn dec(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn shanghai() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(8))
}

pub(super) fn at(text: &str) -> Wall {
    zone::wall(text.parse::<DateTime>().unwrap(), &shanghai()).unwrap()
}

pub(super) fn register(point: u16, named: &str) -> RegisterSpec {
    let rollover = Some(dec("1000000"));
    RegisterSpec { point: PointIx(point), name: name(named), counter: true, rollover, max_per_hour: None }
}

pub(super) fn meter(device: u32) -> MeterSpec {
    MeterSpec {
        device: DeviceIx(device),
        registers: vec![register(0, "energy"), register(1, "energy_t1")],
        serial: Some("1001".to_owned()),
        multiplier: Some(dec("30")),
        serial_point: Some(SERIAL),
        freezes: false,
        load: None,
        ratio_in_scale: false,
    }
}

/// A meter that may keep daily freezes.
pub(super) fn freezing(device: u32) -> MeterSpec {
    MeterSpec { freezes: true, serial_point: None, ..meter(device) }
}

pub(super) fn daily(devices: u32) -> ReadingSpec {
    let of = (0..devices).map(|device| (DeviceIx(device), vec![ENERGY])).collect();
    ReadingSpec { name: name("daily"), every: Every::Day, at: (0, 0), wait: Duration::from_secs(3600), of }
}

/// A meter of the world: what it shows, what it froze, and how it answers.
#[derive(Debug, Clone)]
pub(super) struct Real {
    pub(super) energy: Result<Decimal, NoData>,
    /// Newest last: the time that it says, and the value.
    pub(super) frozen: Vec<(String, Decimal)>,
    /// How a request for a freeze ends in place of an answer.
    pub(super) refusal: Option<ActResult>,
    pub(super) clock: Option<String>,
    /// What it recorded itself, by its own clock; `Err`: how it refuses.
    pub(super) load: Result<Vec<(DateTime, Decimal)>, NoData>,
    /// It gives records only from a moment on of which it has one.
    pub(super) is_exact: bool,
    /// Its records have no time.
    pub(super) is_undated: bool,
}

/// A box with meters, a clock and a journal.
pub(super) struct Rig {
    pub(super) setup: BillingSetup,
    pub(super) catalog: Catalog,
    pub(super) billing: Billing,
    pub(super) now: Stamp,
    pub(super) journal: BTreeMap<String, Vec<u8>>,
    pub(super) events: Vec<(&'static str, Json)>,
    pub(super) alarms: BTreeMap<String, bool>,
    pub(super) real: BTreeMap<DeviceIx, Real>,
    /// Acts with the time at which each began.
    pub(super) asked: Vec<(Mono, Act)>,
    /// How long an act takes.
    pub(super) takes: Duration,
    run: u64,
}

impl Rig {
    pub(super) fn new(meters: Vec<MeterSpec>, readings: Vec<ReadingSpec>) -> Self {
        let catalog = catalog(meters.len());
        let setup = BillingSetup { meters, readings, balances: Vec::new() };
        let now = Stamp {
            boot: BootId(1),
            mono: Mono::from_millis(60_000),
            wall: at("2026-11-20T12:00:00"),
            trust: Trust::Synchronised,
        };
        let real = Real {
            energy: Ok(dec("100.00")),
            frozen: Vec::new(),
            refusal: None,
            clock: None,
            load: Ok(Vec::new()),
            is_exact: false,
            is_undated: false,
        };
        let mut rig = Rig {
            billing: Billing::new(&setup, &catalog, shanghai(), ActId(1)),
            real: setup.meters.iter().map(|meter| (meter.device, real.clone())).collect(),
            setup,
            catalog,
            now,
            journal: BTreeMap::new(),
            events: Vec::new(),
            alarms: BTreeMap::new(),
            asked: Vec::new(),
            takes: Duration::from_millis(700),
            run: 0,
        };
        rig.billing.handle_start(rig.now);
        rig.follow();
        rig
    }

    /// Keeps, records and answers what the machine wants, until it wants nothing more at this time.
    pub(super) fn follow(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "it goes round in a circle");
            let mut acts = Vec::new();
            while let Some(effect) = self.billing.poll_effect() {
                match effect {
                    Effect::Keep { key, value } => {
                        assert!(
                            key.len() <= 256 && value.as_ref().is_none_or(|value| value.len() <= 12 << 10),
                            "{key}"
                        );
                        match value {
                            Some(value) => drop(self.journal.insert(key.into(), value.into())),
                            None => drop(self.journal.remove(&*key)),
                        }
                    }
                    Effect::Event { event, .. } => {
                        self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                    }
                    Effect::Act(act) => acts.push(act),
                }
            }
            while let Some(condition) = self.billing.poll_condition() {
                self.alarms.insert(condition.id.to_string(), condition.active.unwrap());
            }
            if acts.is_empty() {
                return;
            }
            for act in acts {
                self.answer(act);
            }
        }
    }

    fn answer(&mut self, act: Act) {
        self.asked.push((self.now.mono, act.clone()));
        self.pass(self.takes);
        let real = &self.real[&act.device];
        if let Action::LoadRecords { from, count, .. } = act.action {
            let recorded = real.load.clone().map(|kept| load::answer_of(real, &kept, from, count));
            return match recorded {
                Ok(readings) => self.billing.handle_act_readings(self.now, act.id, self.now.mono, &readings),
                Err(why) => drop(self.billing.handle_act_result(self.now, act.id, &ActResult::Failed(why))),
            };
        }
        let Action::Recall { back, points } = act.action else { panic!("{act:?}") };
        if let Some(refusal) = real.refusal.clone().filter(|_| back > 0) {
            self.billing.handle_act_result(self.now, act.id, &refusal);
            return;
        }
        let mut readings = Vec::new();
        let failed = match (back, &real.energy) {
            (0, Ok(value)) => {
                readings.push(PointReading::new(ENERGY, Ok(Value::Decimal(*value))));
                let others = points.iter().filter(|point| **point != ENERGY);
                readings.extend(others.map(|point| PointReading::new(*point, Ok(Value::Decimal(dec("7.50"))))));
                None
            }
            (0, Err(why)) => Some(*why),
            (_, Err(why)) if *why == NoData::Timeout => Some(*why),
            (back, _) => match real.frozen.len().checked_sub(usize::from(back)) {
                Some(ix) => {
                    let (time, value) = &real.frozen[ix];
                    let time = Value::Text(time.as_str().into());
                    readings.push(PointReading::new(FREEZE_TIME, Ok(time)));
                    readings.push(PointReading::new(ENERGY, Ok(Value::Decimal(*value))));
                    None
                }
                None => {
                    let none = [FREEZE_TIME, ENERGY].map(|point| PointReading::new(point, Err(NoData::NotAvailable)));
                    readings.extend(none);
                    None
                }
            },
        };
        if let (0, Some(clock), None) = (back, &real.clock, failed) {
            readings.push(PointReading::new(METER_CLOCK, Ok(Value::Text(clock.as_str().into()))));
        }
        match failed {
            Some(why) => drop(self.billing.handle_act_result(self.now, act.id, &ActResult::Failed(why))),
            None => self.billing.handle_act_readings(self.now, act.id, self.now.mono, &readings),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.wall.0 += i64::try_from(time.as_micros()).unwrap();
    }

    /// Lets time pass, with all that the machine wants to be woken for.
    pub(super) fn run_until(&mut self, wall: Wall) {
        while self.now.wall < wall {
            let left = Duration::from_micros(u64::try_from(wall.0 - self.now.wall.0).unwrap());
            let wake = self.billing.poll_timeout().map_or(left, |at| self.now.mono.until(at));
            self.pass(left.min(wake));
            self.billing.handle_timeout(self.now);
            self.follow();
        }
    }

    /// The box is off until `wall`, and what was not kept is forgotten.
    pub(super) fn restart(&mut self, wall: Wall, trust: Trust) {
        self.run += 1;
        self.billing = Billing::new(&self.setup, &self.catalog, shanghai(), ActId(1 + (self.run << 32)));
        for (key, value) in self.journal.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            assert!(self.billing.restore(key, value), "{key}");
        }
        let boot = BootId(self.now.boot.0 + 1);
        self.now = Stamp { boot, mono: Mono::from_millis(5_000), wall, trust };
        self.billing.handle_start(self.now);
        self.follow();
    }

    /// A poll reads the first register; gives its flags.
    pub(super) fn poll(&mut self, device: u32, value: &str) -> Vec<Flag> {
        self.poll_with(device, vec![PointReading::new(ENERGY, Ok(Value::Decimal(dec(value))))])
    }

    /// A poll reads the first register of each meter, which goes on by little.
    pub(super) fn poll_all(&mut self) {
        (0..u32::try_from(self.setup.meters.len()).unwrap()).for_each(|device| drop(self.poll(device, "200.00")));
    }

    pub(super) fn poll_with(&mut self, device: u32, readings: Vec<PointReading>) -> Vec<Flag> {
        let flagged = self.billing.handle_readings(self.now, DeviceIx(device), &readings);
        self.billing.handle_timeout(self.now);
        self.follow();
        flagged.into_iter().find(|(point, _)| *point == ENERGY).map(|(_, flags)| flags).unwrap_or_default()
    }

    pub(super) fn minutes(&mut self, minutes: u64) {
        let us = i64::try_from(minutes).unwrap() * 60_000_000;
        self.run_until(Wall(self.now.wall.0 + us));
    }

    /// What is kept of a day's reading.
    pub(super) fn kept(&self, day: &str, device: u32) -> Option<FixedReading> {
        let value = self.journal.get(&format!("reading/{day}/daily/meter-{device}"))?;
        Some(serde_json::from_slice(value).unwrap())
    }

    pub(super) fn value(&self, day: &str, device: u32) -> Option<(String, Source)> {
        let reading = self.kept(day, device)?;
        reading.values.get("energy").map(|taken| (taken.value.to_string(), taken.source))
    }

    pub(super) fn why(&self, day: &str, device: u32) -> Option<String> {
        self.kept(day, device)?.missing.get("energy").cloned()
    }

    pub(super) fn freeze(&mut self, device: u32, day: &str, value: &str) {
        self.real.get_mut(&DeviceIx(device)).unwrap().frozen.push((format!("{day}T00:00"), dec(value)));
    }

    pub(super) fn show(&mut self, device: u32, value: &str) {
        self.real.get_mut(&DeviceIx(device)).unwrap().energy = Ok(dec(value));
    }

    /// How many freezes were asked for since the last time.
    pub(super) fn freezes_asked(&mut self) -> usize {
        let asked = std::mem::take(&mut self.asked);
        asked.iter().filter(|(_, act)| matches!(act.action, Action::Recall { back: 1.., .. })).count()
    }

    /// The books as the shell would hand them out.
    pub(super) fn books(&self) -> Books {
        let kept = self.journal.iter().filter(|(key, _)| key.starts_with(READINGS));
        let register = |spec: &RegisterSpec| RegisterBook {
            point: spec.name.to_string(),
            unit: "kWh".to_owned(),
            counter: spec.counter,
        };
        let id = |device: DeviceIx| self.catalog.device(device).unwrap().id.to_string();
        let meter = |(spec, history): (&MeterSpec, &[Installation])| MeterBook {
            device: id(spec.device),
            title: String::new(),
            registers: spec.registers.iter().map(register).collect(),
            installations: history.to_vec(),
        };
        let reading = |spec: &ReadingSpec| ReadingBook {
            name: spec.name.to_string(),
            day: match spec.every {
                Every::Day => None,
                Every::Month(day) => Some(day),
            },
            at: spec.at,
            of: spec.of.iter().map(|(device, _)| (id(*device), vec!["energy".to_owned()])).collect(),
        };
        Books {
            site: "box-1".to_owned(),
            timezone: "Asia/Shanghai".to_owned(),
            now_us: self.now.wall.0,
            readings: self.setup.readings.iter().map(reading).collect(),
            meters: self.billing.meters().map(meter).collect(),
            balances: Vec::new(),
            kept: kept.map(|(_, value)| serde_json::from_slice(value).unwrap()).collect(),
        }
    }

    pub(super) fn raised(&self, alarm: &str) -> bool {
        self.alarms.get(alarm) == Some(&true)
    }
}

fn catalog(devices: usize) -> Catalog {
    let point = |id: &str, kind| CatalogPoint {
        name: name(id),
        unit: "kWh".to_owned(),
        kind,
        interval: Duration::from_secs(60),
        writable: false,
        personal: false,
    };
    let number = Kind::Decimal { exponent: -2 };
    let device = |ix: usize| CatalogDevice {
        id: name(&format!("meter-{ix}")),
        title: String::new(),
        bus: Some(0),
        profile: None,
        category: String::new(),
        labels: BTreeMap::new(),
        points: vec![point("energy", number), point("energy_t1", number), point("serial", Kind::Text)],
    };
    Catalog { devices: (0..devices).map(device).collect(), buses: vec![name("bus")] }
}
