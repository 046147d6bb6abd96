//! Whether what is delivered is what the simulated devices held at that time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gatehouse_core::Value;
use gatehouse_drivers::modbus::decode::PointCodec;
use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::point::PointSpec;

use super::super::books::Books;
use super::device::Device;
use super::plan::Role;
use crate::receive::{Context, Delivered, Judge, Record, Verdict};
use crate::slave::model::Model;
use crate::slave::osdp::Hand;
use crate::slave::relay::Switches;

/// A record's values may be this much older than its time: a poll of several requests, repeated after a timeout.
const POLL_SPAN_US: i64 = 5_000_000;

/// The latest values of each device, by id.
#[derive(Debug, Clone, Default)]
pub(in crate::demo) struct Latest(Arc<Mutex<BTreeMap<String, LatestRecord>>>);

/// What a device delivered last.
#[derive(Debug, Clone, Default)]
pub(in crate::demo) struct LatestRecord {
    /// Wall time of the record, microseconds.
    pub(in crate::demo) at_us: i64,
    /// Values as text, by point.
    pub(in crate::demo) values: BTreeMap<String, String>,
    /// Values that were delivered and right, all told.
    pub(in crate::demo) right: u64,
    /// The reason of the first missing point.
    pub(in crate::demo) missing: Option<String>,
}

impl Latest {
    /// Looks at the latest records.
    pub(in crate::demo) fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, LatestRecord>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Compares delivered values with what the simulated devices held at that time.
pub(in crate::demo) struct SiteJudge {
    devices: BTreeMap<String, Held>,
    latest: Latest,
    books: Books,
}

impl SiteJudge {
    pub(super) fn new(devices: BTreeMap<String, Held>, latest: Latest, books: Books) -> Self {
        SiteJudge { devices, latest, books }
    }
}

/// Where the values of a device come from.
pub(super) struct Held {
    model: Arc<Model>,
    coils: Switches,
    /// The inputs of a board that stands in the world; those of the others follow the model.
    inputs: Option<Switches>,
    /// Who shows cards to a reader.
    hand: Option<Hand>,
}

impl Held {
    pub(super) fn of(device: &Device) -> Self {
        Held {
            model: device.model.clone(),
            coils: device.coils.clone(),
            inputs: device.inputs.clone(),
            hand: (device.role == Role::Reader).then(|| device.hand.clone()),
        }
    }

    /// Whether it held this value at some time from `from_us` to `to_us`; `None` for a point that it does not have.
    fn held(&self, point: &str, value: &Delivered<'_>, (from_us, to_us): (i64, i64)) -> Option<bool> {
        if let Some(hand) = &self.hand {
            return showed(hand, point, value, to_us);
        }
        let (name, raw) = point.strip_suffix(".raw").map_or((point, None), |name| (name, Some(value)));
        let spec = self.model.points().iter().find(|spec| spec.name == *name)?;
        if let Some(raw) = raw {
            return Some(self.was_made_of(spec, raw, (from_us, to_us)));
        }
        let switches = spec.modbus().and_then(|place| {
            let written = place.table == Table::Coil && place.write.is_some();
            let switches = if written { Some(&self.coils) } else { self.inputs.as_ref() };
            switches.map(|switches| (place.address, switches))
        });
        if let Some((address, switches)) = switches {
            return Some(matches!(value, Delivered::Flag(on) if switches.was(address, *on, from_us, to_us)));
        }
        let mut generations = self.model.generation(from_us)..=self.model.generation(to_us);
        Some(generations.any(|at| self.model.value(point, at).is_some_and(|held| same(&held, value))))
    }

    /// Whether the bytes beside a value of a billing point are those of a value that was held. Of other protocols than
    /// Modbus only that they are bytes.
    fn was_made_of(&self, spec: &PointSpec, raw: &Delivered<'_>, (from_us, to_us): (i64, i64)) -> bool {
        let Delivered::Text(text) = raw else { return false };
        let digits: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        let Some(bytes) = digits.filter(|bytes| !bytes.is_empty()) else { return false };
        let Some(place) = spec.modbus() else { return true };
        let Ok(value) = PointCodec::new(place).registers(&bytes) else { return false };
        let mut generations = self.model.generation(from_us)..=self.model.generation(to_us);
        generations.any(|at| self.model.value(&spec.name, at).is_some_and(|held| held == value))
    }
}

/// Whether a card reader showed this by a wall time; `None` for a point that it does not have, or must not be told of.
fn showed(hand: &Hand, point: &str, value: &Delivered<'_>, by_us: i64) -> Option<bool> {
    let at_most = |most: usize| matches!(value, Delivered::Number(number) if (0.0..=most as f64).contains(number));
    Some(match point {
        "cards" | "dropped" => at_most(hand.shown_by(by_us)),
        "tamper" => matches!(value, Delivered::Flag(false)),
        "connected" => matches!(value, Delivered::Flag(_)),
        "secure" => matches!(value, Delivered::Flag(on) if !on || hand.was_secured()),
        _ => return None,
    })
}

impl Judge for SiteJudge {
    fn value(&mut self, context: Context<'_>, point: &str, value: &Delivered<'_>) -> Verdict {
        let Some(device) = self.devices.get(context.device) else { return Verdict::Unknown };
        match device.held(point, value, (context.at_us - POLL_SPAN_US, context.at_us)) {
            Some(true) => {
                self.latest.with(|latest| latest.entry(context.device.to_owned()).or_default().right += 1);
                Verdict::Right
            }
            Some(false) => Verdict::Wrong,
            None => Verdict::Unknown,
        }
    }

    fn held(&self, context: Context<'_>, point: &str) -> String {
        let Some(Held { model, .. }) = self.devices.get(context.device) else {
            return "nothing: it is unknown".to_owned();
        };
        let generations = model.generation(context.at_us - POLL_SPAN_US)..=model.generation(context.at_us);
        let held = generations.filter_map(|generation| model.value(point, generation)).map(|value| value.to_string());
        held.collect::<Vec<String>>().join(", ")
    }

    fn event(&mut self, lane: &str, event: &str, record: &Record<'_>) {
        self.books.with(|pages| pages.enter(lane, event, record));
    }

    fn record(&mut self, context: Context<'_>, record: &Record<'_>) {
        self.latest.with(|latest| {
            let entry = latest.entry(context.device.to_owned()).or_default();
            if context.at_us < entry.at_us {
                return;
            }
            entry.at_us = context.at_us;
            entry.missing = record.missing.0.first().map(|(_, reason)| reason.to_string());
            for (point, value) in &record.values.0 {
                let text = match value {
                    Delivered::Flag(on) => if *on { "on" } else { "off" }.to_owned(),
                    Delivered::Number(number) => number.to_string(),
                    Delivered::Text(text) => text.to_string(),
                };
                entry.values.insert(point.to_string(), text);
            }
        });
    }
}

/// Whether a delivered value is the one that was held, by the rules of `docs/uplink.md`: billing keeps the digits,
/// telemetry the number, a float its shortest text.
fn same(held: &Value, delivered: &Delivered<'_>) -> bool {
    match (held, delivered) {
        (Value::Bool(held), Delivered::Flag(on)) => held == on,
        // Two shortest texts can be the same float (26168.812 and 26168.813), so that the digits must be few, and right.
        (Value::F32(held), Delivered::Number(number)) => {
            number.to_string().parse() == Ok(*held) && number.to_string().len() <= held.to_string().len()
        }
        (Value::F64(held), Delivered::Number(number)) => held == number,
        (Value::Decimal(held), Delivered::Number(number)) => held.to_string().parse() == Ok(*number),
        (Value::Text(held), Delivered::Text(text)) => **held == **text,
        (held, Delivered::Text(text)) => held.to_string() == **text,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_drivers::profile::Library;

    use super::super::plan::PLAN;
    use super::*;
    use crate::sim_clock::wall_us;

    #[test]
    fn a_value_is_judged_by_device_point_and_time() {
        let library = Library::new();
        let (device, _) = Device::new(1, PLAN[0], library.find("eastron-sdm630").unwrap(), [0; 16]).unwrap();
        let devices = BTreeMap::from([("m".to_owned(), Held::of(&device))]);
        let mut judge = SiteJudge::new(devices, Latest::default(), Books::default());
        let at_us = wall_us();
        let held = device.model.value("voltage_l1", device.model.generation(at_us)).unwrap();
        let number = Delivered::Number(held.to_string().parse().unwrap());
        let context = |device, at_us| Context { device, at_us, now_ns: 0, backfill: false };
        assert_eq!(judge.value(context("m", at_us), "voltage_l1", &number), Verdict::Right);
        assert_eq!(judge.value(context("m", at_us), "voltage_l2", &number), Verdict::Wrong);
        let energy = device.model.value("import_energy", device.model.generation(at_us)).unwrap();
        let energy = Delivered::Number(energy.to_string().parse().unwrap());
        assert_eq!(judge.value(context("m", at_us), "import_energy", &energy), Verdict::Right);
        let earlier = context("m", at_us - 2 * POLL_SPAN_US);
        assert_eq!(judge.value(earlier, "import_energy", &energy), Verdict::Wrong, "a counter's later state");
        assert_eq!(judge.value(context("other", at_us), "voltage_l1", &number), Verdict::Unknown);
    }

    #[test]
    fn a_meter_of_packed_decimals_is_judged_by_its_model_and_a_reader_by_who_shows_cards() {
        let library = Library::new();
        let of = |name: &str| *PLAN.iter().find(|plan| plan.0 == name).unwrap();
        let make = |name: &str| Device::new(9, of(name), library.find(of(name).5).unwrap(), [0; 16]).unwrap().0;
        let (meter, reader, now) = (make("meter-201"), make("reader-garage"), wall_us());
        let energy = meter.model.value("import_energy", meter.model.generation(now)).unwrap();
        let digits = Delivered::Text(energy.to_string().into());
        let held = |device: &Device, point, value: &Delivered<'_>| Held::of(device).held(point, value, (now, now));
        assert_eq!(held(&meter, "import_energy", &digits), Some(true));
        assert_eq!(held(&meter, "import_energy_t1", &digits), Some(false));
        assert_eq!(held(&meter, "clock_time", &digits), None);
        assert_eq!(held(&reader, "cards", &Delivered::Number(1.0)), Some(false), "nobody was there");
        reader.hand.show(26, &[0; 4], now);
        assert_eq!(held(&reader, "cards", &Delivered::Number(1.0)), Some(true));
        assert_eq!(held(&reader, "card", &Delivered::Text("26:0".into())), None, "a card is never recorded");
    }

    #[test]
    fn telemetry_is_compared_as_numbers_and_billing_by_its_digits() {
        let held = Value::Decimal(gatehouse_core::Decimal { mantissa: 1600, exponent: -2 });
        assert!(same(&held, &Delivered::Number(16.0)));
        assert!(same(&held, &Delivered::Text("16.00".into())) && !same(&held, &Delivered::Text("16".into())));
        assert!(same(&Value::F32(230.1), &Delivered::Number(230.1)));
        assert!(!same(&Value::F32(230.1), &Delivered::Number(f64::from(230.1f32))), "more digits than the meter has");
        assert!(same(&Value::F32(26_168.813), &Delivered::Number(26_168.812)));
        assert!(same(&Value::F32(26_168.813), &Delivered::Number(26_168.813)));
    }
}
