//! Meters that bills are made of, as documents of the API; swaps and readings of people; what is kept for how long.

use gatehouse_core::{DeviceIx, Stamp};
use gatehouse_rules::billing::statement::{BalanceBook, Books, MeterBook, ReadingBook, RegisterBook, needed};
use gatehouse_rules::billing::{Entry, Every, FixedReading, MeterError, MeterSpec, READINGS, ReadingSpec, Swap};
use gatehouse_rules::{Engine, PointRef};
use gatehouse_store::Batch;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::effector::Held;
use super::report::{Reply, rfc3339};
use super::run::Daemon;
use crate::api::{Answer, Refusal};

/// Days that are deleted at a time.
const DROPPED_AT_ONCE: usize = 4;

impl Daemon {
    /// Registers and installations of all meters.
    pub(super) fn meters(&self) -> Value {
        self.hub.look(|engine| {
            let billing = engine.billing();
            let meters: Vec<Value> = billing.meters().map(|(spec, _)| self.meter(engine, spec)).collect();
            json!({ "meters": meters, "owed": billing.owed(), "load_owed": billing.load_owed() })
        })
    }

    fn meter(&self, engine: &Engine, spec: &MeterSpec) -> Value {
        let billing = engine.billing();
        let config = self.site.device(spec.device);
        let history = billing.installations(spec.device).unwrap_or_default();
        let registers = billing.standing(spec.device).into_iter().map(|(register, taken)| {
            let at = taken.as_ref().and_then(|taken| taken.at_us).map(|us| rfc3339(gatehouse_core::Wall(us)));
            json!({
                "point": register.name.as_str(),
                "unit": unit(engine, PointRef { device: spec.device, point: register.point }),
                "value": taken.as_ref().map(|taken| taken.value.to_string()),
                "at": at,
                "flags": taken.map(|taken| taken.flags).unwrap_or_default(),
            })
        });
        let installations = history.iter().map(|one| {
            json!({
                "version": one.version, "serial": one.serial, "multiplier": one.multiplier.to_string(),
                "from": rfc3339(Stamp::from(one.from).wall), "to": one.to.map(|to| rfc3339(Stamp::from(to).wall)),
                "opening": one.opening, "closing": one.closing, "by": one.by, "reason": one.reason,
            })
        });
        json!({
            "device": config.map(|device| device.id.to_string()),
            "title": config.map(|device| device.title.clone()),
            "address": config.map(|device| device.station.to_string()),
            "registers": registers.collect::<Vec<_>>(),
            "installations": installations.collect::<Vec<_>>(),
        })
    }

    /// What a month's account is made of.
    pub(super) fn meter_books(&self, month: &str) -> Result<Books, Refusal> {
        let bad = |why: &dyn std::fmt::Display| Refusal::new(400, "bad_month", why.to_string());
        let [this, next] = needed(month).map_err(|why| bad(&why))?;
        let setup = &self.site.rules.billing;
        let mut prefixes = vec![format!("{READINGS}{this}-")];
        for spec in &setup.readings {
            let day = match spec.every {
                Every::Day => 1,
                Every::Month(day) => day,
            };
            prefixes.push(format!("{READINGS}{next}-{day:02}/"));
        }
        prefixes.dedup();
        let store = self.hub.store.borrow();
        let kept = prefixes.iter().flat_map(|prefix| store.scan(prefix.as_bytes()));
        let kept: Vec<FixedReading> = kept.filter_map(|(_, value)| serde_json::from_slice(&value).ok()).collect();
        Ok(self.hub.look(|engine| Books {
            site: self.site.id.to_string(),
            timezone: self.site.timezone.clone(),
            now_us: self.hub.clock.now().wall.0,
            readings: setup.readings.iter().map(|spec| reading_book(engine, spec)).collect(),
            meters: engine.billing().meters().map(|(spec, _)| meter_book(engine, spec)).collect(),
            balances: setup
                .balances
                .iter()
                .map(|balance| BalanceBook {
                    id: balance.id.to_string(),
                    master: named(engine, balance.master),
                    submeters: balance.submeters.iter().map(|at| named(engine, *at)).collect(),
                })
                .collect(),
            kept,
        }))
    }

    /// A meter was replaced, or has another ratio. Answered once it is durable.
    pub(super) fn swap_meter(&self, device: &str, body: &[u8], by: &str, reply: Reply) {
        let swap: Swap = match serde_json::from_slice(body) {
            Ok(swap) => swap,
            Err(why) => return drop(reply.send(Err(bad_body(&why)))),
        };
        let mut done = Err(MeterError::NoMeter(device.to_owned()));
        self.hub.decide(|engine, now| done = engine.swap_meter(now, device, &swap, by));
        self.told(done.map(|installation| json!(installation)), reply);
    }

    /// A person read a meter. Answered once it is durable.
    pub(super) fn enter_reading(&self, device: &str, body: &[u8], by: &str, reply: Reply) {
        let entry: Entry = match serde_json::from_slice(body) {
            Ok(entry) => entry,
            Err(why) => return drop(reply.send(Err(bad_body(&why)))),
        };
        let mut done = Err(MeterError::NoMeter(device.to_owned()));
        self.hub.decide(|engine, now| done = engine.enter_reading(now, device, &entry, by));
        self.told(done.map(|reading| json!(reading)), reply);
    }

    fn told(&self, done: Result<Value, MeterError>, reply: Reply) {
        let answer = match done {
            Ok(answer) => answer,
            Err(why) => {
                let status = match &why {
                    MeterError::NoMeter(_) | MeterError::NoPoint { .. } => 404,
                    MeterError::StackedRatio(_)
                    | MeterError::Unchanged(_)
                    | MeterError::TooMany(_)
                    | MeterError::NoClock => 409,
                    MeterError::BadText(_)
                    | MeterError::BadNumber(_)
                    | MeterError::BadRatio(_)
                    | MeterError::BadDay(_) => 400,
                };
                return drop(reply.send(Err(Refusal::new(status, why.code(), why.to_string()))));
            }
        };
        let (sender, durable) = oneshot::channel();
        self.hub.hold(Held::Told(sender));
        tokio::task::spawn_local(async move {
            let stopping = || Refusal::new(503, "stopping", "the daemon is stopping: look whether it was kept");
            // A client that has gone needs no answer.
            let _ = reply.send(durable.await.map(|()| Answer::Json(answer)).map_err(|_| stopping()));
        });
    }

    /// Deletes readings beyond the days that there is room for.
    pub(super) fn drop_old_readings(&self) {
        let days = self.hub.look(|engine| engine.billing().days_to_drop());
        for day in days.iter().take(DROPPED_AT_ONCE) {
            let keys = self.hub.store.borrow().scan(format!("{READINGS}{day}/").as_bytes());
            let state = keys.into_iter().map(|(key, _)| (key.into_boxed_slice(), None)).collect();
            let deleted = self.hub.store.borrow_mut().commit(Batch { state, events: Vec::new() });
            match deleted {
                Ok(_) => self.hub.decide(|engine, now| engine.handle_dropped_day(now, day)),
                Err(error) => return self.hub.store_failed(&error),
            }
        }
    }
}

fn bad_body(why: &serde_json::Error) -> Refusal {
    Refusal::new(400, "bad_body", format!("the request's body: {why}"))
}

fn unit(engine: &Engine, at: PointRef) -> String {
    engine.catalog().point(at).map(|point| point.unit.clone()).unwrap_or_default()
}

fn id(engine: &Engine, device: DeviceIx) -> String {
    engine.catalog().device(device).map(|device| device.id.to_string()).unwrap_or_default()
}

fn named(engine: &Engine, at: PointRef) -> (String, String) {
    let point = engine.catalog().point(at).map(|point| point.name.to_string()).unwrap_or_default();
    (id(engine, at.device), point)
}

fn reading_book(engine: &Engine, spec: &ReadingSpec) -> ReadingBook {
    let of = spec.of.iter().map(|(device, points)| {
        let points = points.iter().map(|point| named(engine, PointRef { device: *device, point: *point }).1);
        (id(engine, *device), points.collect())
    });
    ReadingBook {
        name: spec.name.to_string(),
        day: match spec.every {
            Every::Day => None,
            Every::Month(day) => Some(day),
        },
        at: spec.at,
        of: of.collect(),
    }
}

fn meter_book(engine: &Engine, spec: &MeterSpec) -> MeterBook {
    MeterBook {
        device: id(engine, spec.device),
        title: engine.catalog().device(spec.device).map(|device| device.title.clone()).unwrap_or_default(),
        registers: spec
            .registers
            .iter()
            .map(|register| RegisterBook {
                point: register.name.to_string(),
                unit: unit(engine, PointRef { device: spec.device, point: register.point }),
                counter: register.counter,
            })
            .collect(),
        installations: engine.billing().installations(spec.device).unwrap_or_default().to_vec(),
    }
}
