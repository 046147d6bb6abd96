//! Recorded readings: the `records` payloads of the uplink, one JSON document a line, as docs/uplink.md describes them.

use std::collections::BTreeMap;
use std::io::BufRead;

use gatehouse_core::{DeviceIx, Kind, Name, NoData, PointReading, Value, Wall};
use gatehouse_rules::Catalog;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::order::Order;
use super::seen::Seen;

/// What was recorded, as far as rules ask for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happened {
    /// A device was read.
    Sample(DeviceIx, Vec<PointReading>),
    /// A device answers, or no longer, and why.
    Device(DeviceIx, bool, String),
    /// The link to the core came or went.
    Link(bool),
}

/// What was taken, and what was left out and why.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Samples and events that were replayed.
    pub(super) replayed: u64,
    /// Records that came twice.
    pub(super) repeated: u64,
    /// Messages of other boxes.
    pub(super) other_boxes: u64,
    /// Events that rules do not ask for.
    pub(super) other_events: u64,
    /// Gaps: records that the box had lost.
    pub(super) gaps: u64,
    /// Records whose time was never known.
    pub(super) without_time: u64,
    /// Values that are none for their point.
    pub(super) bad_values: u64,
    /// Samples of devices that the site does not have, by device.
    pub(super) unknown_devices: BTreeMap<String, u64>,
    /// Values of points that the site does not have, by `device/point`.
    pub(super) unknown_points: BTreeMap<String, u64>,
}

/// All that was recorded.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order in which it was read.
    pub(super) order: Order,
    pub(super) tally: Tally,
    seen: Seen,
}

impl Records {
    /// Takes the lines of one file. What stands before the first `{` of a line is left out, as `mosquitto_sub -v` writes
    /// the topic there.
    ///
    /// # Errors
    /// What is wrong with a line, and its number; reading stops there.
    pub(super) fn take(&mut self, lines: impl BufRead, site: &Name, catalog: &Catalog) -> Result<(), String> {
        for (number, line) in (1u64..).zip(lines.split(b'\n')) {
            let line = line.map_err(|why| format!("line {number}: {why}"))?;
            let text = String::from_utf8(line).map_err(|_| {
                format!("line {number} is no text: unpack what was sent with `compress` first (zstd -d)")
            })?;
            let Some(begin) = text.find('{') else {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(format!("line {number} is no JSON document: it has no {{"));
            };
            let json = text.get(begin..).unwrap_or_default();
            let document: Map<String, Json> =
                serde_json::from_str(json).map_err(|why| format!("line {number} is no JSON document: {why}"))?;
            if document.get("box").and_then(Json::as_str).is_some_and(|name| *site != *name) {
                self.tally.other_boxes += 1;
                continue;
            }
            self.document(&document, catalog).map_err(|why| format!("line {number}: {why}"))?;
        }
        Ok(())
    }

    fn document(&mut self, document: &Map<String, Json>, catalog: &Catalog) -> Result<(), String> {
        let Some(records) = document.get("records") else { return self.record(document, catalog) };
        let records = records.as_array().ok_or("`records` is no list")?;
        let lane = document.get("lane").and_then(Json::as_str);
        let epoch = document.get("epoch").and_then(Json::as_u64);
        for record in records {
            let record = record.as_object().ok_or("`records` has something that is no record")?;
            let seq = record.get("seq").and_then(Json::as_u64);
            if let (Some(lane), Some(epoch), Some(seq)) = (lane, epoch, seq)
                && !self.seen.insert(lane, epoch, seq)
            {
                self.tally.repeated += 1;
                continue;
            }
            self.record(record, catalog)?;
        }
        Ok(())
    }

    fn record(&mut self, record: &Map<String, Json>, catalog: &Catalog) -> Result<(), String> {
        if record.contains_key("gap") {
            self.tally.gaps += 1;
            return Ok(());
        }
        if record.get("trust").and_then(Json::as_str) == Some("unset") {
            self.tally.without_time += 1;
            return Ok(());
        }
        let time = record.get("time").and_then(Json::as_str).ok_or("a record has no `time`")?;
        let time: jiff::Timestamp = time.parse().map_err(|_| format!("{time:?} is no time"))?;
        let at = Wall(time.as_microsecond());
        let happened = match record.get("event").and_then(Json::as_str) {
            Some(event) => self.event(event, record.get("data"), catalog),
            None => self.sample(record, catalog)?,
        };
        if let Some(happened) = happened {
            self.tally.replayed += 1;
            self.order.push(at, happened).map_err(|why| format!("what was read cannot be put aside: {why}"))?;
        }
        Ok(())
    }

    fn event(&mut self, event: &str, data: Option<&Json>, catalog: &Catalog) -> Option<Happened> {
        let field = |name: &str| data.and_then(|data| data.get(name));
        match (event, field("device").and_then(Json::as_str), field("online").or(field("up")).and_then(Json::as_bool)) {
            ("device_state", Some(id), Some(online)) => {
                let Some((device, _)) = catalog.device_by_id(id) else {
                    *self.tally.unknown_devices.entry(id.to_owned()).or_default() += 1;
                    return None;
                };
                let why = field("reason").and_then(Json::as_str).unwrap_or_default().to_owned();
                Some(Happened::Device(device, online, why))
            }
            ("link", _, Some(up)) => Some(Happened::Link(up)),
            _ => {
                self.tally.other_events += 1;
                None
            }
        }
    }

    fn sample(&mut self, record: &Map<String, Json>, catalog: &Catalog) -> Result<Option<Happened>, String> {
        let id = record.get("device").and_then(Json::as_str).ok_or("a record has neither `device` nor `event`")?;
        let Some((device, config)) = catalog.device_by_id(id) else {
            *self.tally.unknown_devices.entry(id.to_owned()).or_default() += 1;
            return Ok(None);
        };
        let mut readings = Vec::new();
        let fields = |name: &str| record.get(name).and_then(Json::as_object).into_iter().flatten();
        let all = fields("values").map(|(name, value)| (name, value, true));
        for (name, json, has_value) in all.chain(fields("missing").map(|(name, why)| (name, why, false))) {
            let Some((point, config)) = config.point_by_name(name) else {
                *self.tally.unknown_points.entry(format!("{id}/{name}")).or_default() += 1;
                continue;
            };
            let read = if has_value { value(config.kind, json).map(Ok) } else { reason(json.as_str()).map(Err) };
            match read {
                Some(value) => readings.push(PointReading::new(point, value)),
                None => self.tally.bad_values += 1,
            }
        }
        Ok((!readings.is_empty()).then_some(Happened::Sample(device, readings)))
    }
}

/// A value of a point: a number, or the same in quotes as billing travels; a flag; a text.
fn value(kind: Kind, json: &Json) -> Option<Value> {
    match (kind, json) {
        (_, Json::Bool(on)) => (kind == Kind::Bool).then_some(Value::Bool(*on)),
        (_, Json::String(text)) => Value::parse(kind, text).ok(),
        (Kind::Text, _) => None,
        (_, Json::Number(number)) => Value::parse(kind, &number.to_string()).ok(),
        (_, Json::Null | Json::Array(_) | Json::Object(_)) => None,
    }
}

/// The reason for a missing value, by its name in payloads.
fn reason(name: Option<&str>) -> Option<NoData> {
    Some(match name? {
        "timeout" => NoData::Timeout,
        "bad_reply" => NoData::BadReply,
        "not_a_number" => NoData::NotANumber,
        "infinite" => NoData::Infinite,
        "not_available" => NoData::NotAvailable,
        "not_bcd" => NoData::NotBcd,
        "bad_text" => NoData::BadText,
        "out_of_range" => NoData::OutOfRange,
        "device_offline" => NoData::DeviceOffline,
        "bus_down" => NoData::BusDown,
        other => match other.strip_prefix("unexpected_unit_") {
            Some(code) => NoData::UnexpectedUnit(u8::from_str_radix(code, 16).ok()?),
            None => NoData::Exception(other.strip_prefix("exception_")?.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_is_written() {
        for code in 1..=12 {
            let reason_of = NoData::from_code(code, 2).unwrap();
            assert_eq!(reason(Some(&reason_of.to_string())), Some(reason_of));
        }
        assert_eq!(reason(Some("exception_300")), None);
        assert_eq!(reason(Some("tired")), None);
    }

    #[test]
    fn values_come_as_numbers_or_as_decimal_strings() {
        let decimal = |text: &str| Some(Value::Decimal(gatehouse_core::Decimal::parse(text).unwrap()));
        let of = |text: &str| value(Kind::FreeDecimal, &serde_json::from_str(text).unwrap());
        assert_eq!(of("231.2"), decimal("231.2"));
        assert_eq!(of("\"12345.60\""), decimal("12345.60"));
        assert_eq!(of("true"), None);
        assert_eq!(of("null"), None);
        assert_eq!(value(Kind::Bool, &Json::Bool(true)), Some(Value::Bool(true)));
    }
}
