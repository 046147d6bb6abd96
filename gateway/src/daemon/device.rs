//! One configured device at run time: its latest readings, its state, and which readings become records.

use std::sync::Arc;

use gatehouse_config::{Device, Station};
use gatehouse_core::{DeviceIx, Kind, Mono, Name, NoData, PointIx, PointReading, Reading, Schema, SchemaPoint, Value};
use gatehouse_rules::billing::{Flag, REMARKS, flags_text};
use gatehouse_rules::report::Reporter;

use crate::api::{Refusal, doc};

/// A device at run time.
#[derive(Debug)]
pub struct DeviceRuntime {
    /// What the site file says of it.
    pub config: Arc<Device>,
    /// Its place in the site file.
    pub place: DeviceIx,
    /// The id of its bus; `None`: the box itself.
    pub bus: Option<Name>,
    /// What its stored values mean.
    pub schema: Arc<Schema>,
    /// What its stored billing values mean: the same points, and behind them flags and bytes of each billing point.
    pub billing_schema: Arc<Schema>,
    /// Samples taken.
    pub samples: u64,
    state: Option<(bool, Mono, Option<NoData>)>,
    reporter: Reporter,
    latest: Vec<Option<Reading>>,
    plain: bool,
}

impl DeviceRuntime {
    /// A device of which nothing is known yet.
    pub fn new((place, config): (DeviceIx, Arc<Device>), bus: Option<Name>) -> Self {
        let schema = config.schema();
        let billing_schema = billing_schema(&config, &schema);
        let policies: Vec<_> = config.points.iter().map(|p| p.report).collect();
        let always = gatehouse_rules::report::Policy::Always;
        let plain = config.points.iter().all(|p| !p.billing && p.report == always && !p.personal);
        let latest = config.points.iter().map(|_| None).collect();
        DeviceRuntime {
            config,
            place,
            bus,
            schema,
            billing_schema,
            samples: 0,
            state: None,
            reporter: Reporter::new(policies),
            latest,
            plain,
        }
    }

    /// Takes over what is known from the same device before a reload, point by point.
    pub fn inherit(&mut self, old: &DeviceRuntime) {
        self.samples = old.samples;
        self.state = old.state;
        for (ix, point) in self.config.points.iter().enumerate() {
            let before = old.config.points.iter().position(|p| p.spec == point.spec);
            if let (Some(slot), Some(reading)) = (self.latest.get_mut(ix), before.and_then(|ix| old.latest.get(ix))) {
                slot.clone_from(reading);
            }
        }
    }

    /// Notes the readings and sorts those that become records into `telemetry` and `billing`.
    ///
    /// Gives true when all of them are telemetry and to be recorded, and nothing was sorted.
    pub fn take(
        &mut self,
        at: Mono,
        readings: &[PointReading],
        telemetry: &mut Vec<PointReading>,
        billing: &mut Vec<PointReading>,
    ) -> bool {
        self.samples += 1;
        for reading in readings {
            if let Some(slot) = self.latest.get_mut(usize::from(reading.point.0)) {
                *slot = Some(Reading { at, value: reading.value.clone() });
            }
        }
        if self.plain {
            return true;
        }
        for reading in readings {
            // Who was at a reader is told by the passages; what was typed there is told to nobody.
            if self.config.points.get(usize::from(reading.point.0)).is_some_and(|p| p.personal) {
                continue;
            }
            let is_bill = self.config.points.get(usize::from(reading.point.0)).is_some_and(|p| p.billing);
            if is_bill {
                billing.push(reading.clone());
            } else if self.reporter.admit(at, reading) {
                telemetry.push(reading.clone());
            }
        }
        false
    }

    /// True when bills are made of one of its points.
    pub fn has_billing(&self) -> bool {
        self.billing_schema.points.len() > self.schema.points.len()
    }

    /// Puts what is to be said of billing points behind their values, as further points of
    /// [`DeviceRuntime::billing_schema`]: their flags, and the bytes that they were made of.
    pub fn add_remarks(&self, flags: &[(PointIx, Vec<Flag>)], billing: &mut Vec<PointReading>) {
        let billed = (0u16..).map(PointIx).zip(&self.config.points).filter(|(_, point)| point.billing);
        let values = billing.len();
        for (at, (point, _)) in billed.enumerate() {
            let flags = flags.iter().find(|(of, _)| *of == point).map(|(_, flags)| flags_text(flags));
            let raw = billing.iter().take(values).find(|reading| reading.point == point).map(|reading| reading.raw);
            let raw = raw.filter(|raw| !raw.is_empty()).map(|raw| raw.to_string());
            for (remark, text) in [flags, raw].into_iter().enumerate() {
                let place = u16::try_from(self.config.points.len() + REMARKS.len() * at + remark);
                let (Some(text), Ok(place)) = (text, place) else { continue };
                billing.push(PointReading::new(PointIx(place), Ok(Value::Text(text.into()))));
            }
        }
    }

    /// Notes that the device answers again, or no longer.
    pub fn set_state(&mut self, at: Mono, online: bool, reason: Option<NoData>) {
        self.state = Some((online, at, reason));
    }

    /// The document without values.
    pub fn brief(&self, now: Mono, started: Mono) -> doc::DeviceBrief {
        let (state, since, reason) = match self.state {
            None => ("unknown", started, None),
            Some((true, since, _)) => ("online", since, None),
            Some((false, since, reason)) => ("offline", since, reason),
        };
        doc::DeviceBrief {
            id: self.config.id.to_string(),
            title: self.config.title.clone(),
            bus: self.bus.as_ref().map(Name::to_string).unwrap_or_default(),
            unit: match &self.config.station {
                Station::Modbus(modbus) => Some(modbus.unit),
                Station::Dlt645(_) | Station::Cjt188(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => {
                    None
                }
            },
            address: self.config.station.to_string(),
            state: state.to_owned(),
            since_s: now.since(since).as_secs_f64(),
            reason: reason.map(|r| r.to_string()),
            samples: self.samples,
        }
    }

    /// Whether the device answers; `None` before it is known.
    pub fn online(&self) -> Option<bool> {
        self.state.map(|(online, ..)| online)
    }

    /// The latest readings, and when they were taken.
    pub fn latest(&self) -> impl Iterator<Item = (Mono, PointReading)> {
        let points = (0u16..).map(PointIx).zip(&self.latest);
        points.filter_map(|(point, reading)| {
            let reading = reading.as_ref()?;
            Some((reading.at, PointReading::new(point, reading.value.clone())))
        })
    }

    /// True while the device is known to be silent.
    pub fn is_offline(&self) -> bool {
        matches!(self.state, Some((false, ..)))
    }

    /// The document with the latest values.
    pub fn document(&self, now: Mono, started: Mono) -> doc::Device {
        let points = (0u16..).map(PointIx).zip(&self.latest);
        doc::Device {
            device: self.brief(now, started),
            labels: self.config.labels.clone(),
            points: points.filter_map(|(ix, latest)| point_doc(&self.config, ix, latest.as_ref(), now)).collect(),
        }
    }
}

/// The schema with texts behind it for the remarks on each billing point.
fn billing_schema(config: &Device, schema: &Arc<Schema>) -> Arc<Schema> {
    let billed = config.points.iter().filter(|point| point.billing);
    let names = billed.flat_map(|point| REMARKS.map(|remark| format!("{}.{remark}", point.spec.name)));
    let remarks: Vec<SchemaPoint> =
        names.filter_map(|name| Some(SchemaPoint { name: Name::new(&name).ok()?, kind: Kind::Text })).collect();
    if remarks.is_empty() {
        return Arc::clone(schema);
    }
    let points = schema.points.iter().cloned().chain(remarks).collect();
    Arc::new(Schema { device: schema.device.clone(), points })
}

/// The document of one point with this reading.
pub fn point_doc(device: &Device, ix: PointIx, reading: Option<&Reading>, now: Mono) -> Option<doc::Point> {
    let point = device.points.get(usize::from(ix.0))?;
    let personal = point.personal;
    let value = reading.and_then(|r| r.value.as_ref().ok()).filter(|_| !personal);
    let missing = match reading.map(|r| &r.value) {
        None => Some("never_read".to_owned()),
        Some(Ok(_)) if personal => Some("personal".to_owned()),
        Some(Ok(_)) => None,
        Some(Err(reason)) => Some(reason.to_string()),
    };
    Some(doc::Point {
        name: point.spec.name.to_string(),
        value: value.map(Value::to_string),
        missing,
        unit: point.spec.unit.clone(),
        age_s: reading.map(|r| now.since(r.at).as_secs_f64()),
        bits: value.map(|v| set_bits(&point.spec.bits, v)).unwrap_or_default(),
        writable: point.spec.is_writable(),
        billing: point.billing,
    })
}

fn set_bits(names: &[(String, u8)], value: &Value) -> Vec<String> {
    let Value::Decimal(word) = value else { return Vec::new() };
    let is_set = |bit: u8| word.mantissa >> bit & 1 == 1;
    names.iter().filter(|(_, bit)| is_set(*bit)).map(|(name, _)| name.clone()).collect()
}

/// The points of a device by name; all when none is named.
///
/// # Errors
/// A refusal that names the nearest point.
pub fn points_by_name(device: &Device, names: &[String]) -> Result<Vec<PointIx>, Refusal> {
    names.iter().map(|name| point_by_name(device, name)).collect()
}

/// The point with this name.
///
/// # Errors
/// A refusal that names the nearest point.
pub fn point_by_name(device: &Device, name: &str) -> Result<PointIx, Refusal> {
    device.point_by_name(name).map(|(ix, _)| ix).ok_or_else(|| {
        let hint = nearest(name, device.points.iter().map(|p| p.spec.name.as_str()));
        Refusal::new(404, "unknown_point", format!("device {} has no point {name:?}{hint}", device.id))
    })
}

/// A hint like `: did you mean "voltage_l1"?`, or nothing.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.map(|k| (strsim::jaro_winkler(name, k), k)).filter(|(likeness, _)| *likeness > 0.7);
    let best = near.max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, k)| format!(": did you mean {k:?}?")).unwrap_or_default()
}

/// Reads a value for a point of this kind from what a person typed.
///
/// # Errors
/// A refusal that says what would do.
pub fn parse_value(kind: Kind, text: &str) -> Result<Value, Refusal> {
    Value::parse(kind, text).map_err(|why| Refusal::new(400, "bad_value", format!("{text:?}: {why}")))
}

#[cfg(test)]
mod tests {
    use gatehouse_core::Decimal;

    use super::*;

    #[test]
    fn a_person_may_type_switch_positions_and_decimals() {
        assert_eq!(parse_value(Kind::Bool, "ON").unwrap(), Value::Bool(true));
        assert_eq!(parse_value(Kind::Bool, "0").unwrap(), Value::Bool(false));
        let decimal = Value::Decimal(Decimal { mantissa: 125, exponent: -1 });
        assert_eq!(parse_value(Kind::F32, " 12.5 ").unwrap(), decimal);
        let refusal = parse_value(Kind::Bool, "open").unwrap_err();
        assert_eq!(refusal.message, "\"open\": not a switch position: use on or off");
        assert_eq!(parse_value(Kind::F32, "12,5").unwrap_err().code, "bad_value");
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        let known = ["voltage_l1", "current_l1", "import_energy"];
        assert_eq!(nearest("voltagel1", known.into_iter()), ": did you mean \"voltage_l1\"?");
        assert_eq!(nearest("zzz", known.into_iter()), "");
    }
}
