//! What a device recorded itself at regular times, as it travels among readings.

use crate::driver::LOAD_TIME;
use crate::reading::{NoData, PointReading};
use crate::time::LocalTime;
use crate::value::Value;

/// One record: values of one moment of the device's own clock.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadRecord {
    /// The moment, in whole minutes.
    pub at: LocalTime,
    /// The points, in their order.
    pub readings: Vec<PointReading>,
}

impl LoadRecord {
    /// Takes records out of the readings of an answer, in their order there. Each record has one reading of each of its
    /// points and one of [`LOAD_TIME`], so that the n-th of each are of the n-th record.
    ///
    /// A record whose time is none of the calendar is left out, since nobody could say what its values are of. No readings
    /// are no records. `None` where the readings are no records, none of them has a time, or a time is a `BadReply`: the
    /// answer cannot be told apart into records, and says nothing of what the device has.
    pub fn from_readings(readings: &[PointReading]) -> Option<Vec<LoadRecord>> {
        let stamps = || readings.iter().filter(|reading| reading.point == LOAD_TIME);
        if stamps().any(|reading| reading.value == Err(NoData::BadReply)) {
            return None;
        }
        let times: Vec<Option<LocalTime>> = stamps().map(moment).collect();
        if !times.is_empty() && times.iter().all(Option::is_none) {
            return None;
        }
        let mut records: Vec<Vec<PointReading>> = vec![Vec::new(); times.len()];
        let values = || readings.iter().filter(|reading| reading.point != LOAD_TIME);
        for reading in values() {
            let record = records.iter_mut().find(|record| record.iter().all(|known| known.point != reading.point))?;
            record.push(reading.clone());
        }
        let width = records.first().map_or(0, Vec::len);
        if records.iter().any(|record| record.len() != width) {
            return None;
        }
        let timed = times.into_iter().zip(records);
        Some(timed.filter_map(|(at, readings)| Some(LoadRecord { at: at?, readings })).collect())
    }
}

/// The time in a reading of [`LOAD_TIME`].
fn moment(reading: &PointReading) -> Option<LocalTime> {
    match reading.value.as_ref().ok()? {
        Value::Text(text) => LocalTime::parse_minute(text),
        Value::Bool(_) | Value::Decimal(_) | Value::F32(_) | Value::F64(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PointIx;
    use crate::value::Decimal;

    fn time(text: &str) -> PointReading {
        PointReading::new(LOAD_TIME, Ok(Value::Text(text.into())))
    }

    fn number(point: u16, value: i128) -> PointReading {
        PointReading::new(PointIx(point), Ok(Value::Decimal(Decimal::whole(value))))
    }

    #[test]
    fn records_keep_their_own_values_when_readings_come_by_point() {
        let none = PointReading::new(PointIx(2), Err(NoData::NotAvailable));
        let readings = [
            number(1, 10),
            number(1, 20),
            none.clone(),
            number(2, 200),
            time("2026-11-26T00:15"),
            time("2026-11-26T00:30"),
        ];
        let at = |minute| LocalTime::new(2026, 11, 26, 0, minute, 0).unwrap();
        let records = LoadRecord::from_readings(&readings).unwrap();
        let first = LoadRecord { at: at(15), readings: vec![number(1, 10), none] };
        assert_eq!(records, [first, LoadRecord { at: at(30), readings: vec![number(1, 20), number(2, 200)] }]);
    }

    #[test]
    fn a_record_without_a_time_takes_its_values_with_it() {
        let lost = PointReading::new(LOAD_TIME, Err(NoData::OutOfRange));
        let readings = [number(1, 10), number(1, 20), lost, time("2026-11-26T00:30")];
        let records = LoadRecord::from_readings(&readings).unwrap();
        assert_eq!(records.iter().map(|record| &record.readings[..]).collect::<Vec<_>>(), [[number(1, 20)]]);
    }

    #[test]
    fn values_of_which_nobody_knows_the_record_are_none() {
        assert_eq!(LoadRecord::from_readings(&[number(1, 10)]), None, "no time");
        let uneven = [number(1, 10), number(2, 20), number(2, 30), time("2026-11-26T00:15"), time("2026-11-26T00:30")];
        assert_eq!(LoadRecord::from_readings(&uneven), None, "whose is 10?");
        let broken = PointReading::new(LOAD_TIME, Err(NoData::BadReply));
        assert_eq!(LoadRecord::from_readings(&[number(1, 10), time("2026-11-26T00:15"), broken]), None, "cut off");
        let undated = PointReading::new(LOAD_TIME, Err(NoData::OutOfRange));
        assert_eq!(LoadRecord::from_readings(&[number(1, 10), undated]), None, "it has records, of whichever time");
        assert_eq!(LoadRecord::from_readings(&[]), Some(Vec::new()), "the device has no record");
    }
}
