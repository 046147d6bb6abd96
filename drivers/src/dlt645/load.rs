//! The load records of a meter (DL/T 645-2007, table A.7 and annex B): six classes of values in one block, `A0 A0`, a
//! count, mm hh DD MM YY, each class closed by AA and empty where the meter does not record it, a sum, `E5`.
//!
//! The latest one is asked for with a count of one behind the identifier, those from a time on with a count of records and
//! mm hh DD MM YY (7.1, frame formats 2 and 3). Records follow each other without anything between; a meter that has none
//! answers with the identifier alone. `E0 E0` in place of `A0 A0` marks a record that the meter itself holds for wrong.
//!
//! \[U\] Whether a meter that has no record of exactly the time that was asked for gives the next later one, as it is written,
//! or refuses with "no such data" differs between makes. That refusal is an answer without records: who asks does not take
//! it for the end, but asks once more from a later time. Every other refusal, as of a busy meter, is none.
//!
//! \[U\] What count and sum run over differs between sources, so that neither is looked at: the frame has its own sum, and
//! a block must be as long as its classes are, to the byte.

use gatehouse_core::{LocalTime, NoData};

use super::catalog;
use super::control::minute_bytes;
use super::point::{Dlt645Point, Edition, Format};
use super::value::to_bcd;

/// The identifier of the latest record.
pub const LATEST: u32 = 0x0600_0002;
/// The identifier of records from a time on.
pub(super) const FROM_TIME: u32 = 0x0600_0001;
/// What the request for [`LATEST`] has behind its identifier: one record.
pub(super) const ONE: [u8; 1] = [1];
/// Most records of one request: the count is two digits.
pub const MOST_RECORDS: u8 = 99;
/// The item that stands for the record's time.
pub const TIME_ITEM: u8 = 63;
/// Bytes of a record with all its classes.
pub const RECORD_BYTES: usize = 103;

const BEGIN: [u8; 2] = [0xA0, 0xA0];
/// Begins a record that the meter holds for wrong.
const WRONG: [u8; 2] = [0xE0, 0xE0];
const SEPARATOR: u8 = 0xAA;
const END: u8 = 0xE5;

/// One value of a record.
struct Field {
    name: &'static str,
    unit: &'static str,
    format: Format,
}

const fn field(name: &'static str, unit: &'static str, (bytes, places, signed): (u8, u8, bool)) -> Field {
    Field { name, unit, format: Format::Number { bytes, places, signed } }
}

const VOLTAGE: (u8, u8, bool) = (2, 1, false);
const CURRENT: (u8, u8, bool) = (3, 3, true);
const POWER: (u8, u8, bool) = (3, 4, true);
const FACTOR: (u8, u8, bool) = (2, 3, true);
const ENERGY: (u8, u8, bool) = (4, 2, false);
const COMBINED: (u8, u8, bool) = (4, 2, true);

const FIELDS: [Field; 29] = [
    field("load_voltage_a", "V", VOLTAGE),
    field("load_voltage_b", "V", VOLTAGE),
    field("load_voltage_c", "V", VOLTAGE),
    field("load_current_a", "A", CURRENT),
    field("load_current_b", "A", CURRENT),
    field("load_current_c", "A", CURRENT),
    field("load_frequency", "Hz", (2, 2, false)),
    field("load_active_power_total", "kW", POWER),
    field("load_active_power_a", "kW", POWER),
    field("load_active_power_b", "kW", POWER),
    field("load_active_power_c", "kW", POWER),
    field("load_reactive_power_total", "kvar", POWER),
    field("load_reactive_power_a", "kvar", POWER),
    field("load_reactive_power_b", "kvar", POWER),
    field("load_reactive_power_c", "kvar", POWER),
    field("load_power_factor_total", "", FACTOR),
    field("load_power_factor_a", "", FACTOR),
    field("load_power_factor_b", "", FACTOR),
    field("load_power_factor_c", "", FACTOR),
    field("load_forward_active_energy", "kWh", ENERGY),
    field("load_reverse_active_energy", "kWh", ENERGY),
    field("load_combined_reactive1_energy", "kvarh", COMBINED),
    field("load_combined_reactive2_energy", "kvarh", COMBINED),
    field("load_quadrant1_reactive_energy", "kvarh", ENERGY),
    field("load_quadrant2_reactive_energy", "kvarh", ENERGY),
    field("load_quadrant3_reactive_energy", "kvarh", ENERGY),
    field("load_quadrant4_reactive_energy", "kvarh", ENERGY),
    field("load_active_demand", "kW", POWER),
    field("load_reactive_demand", "kvar", POWER),
];

/// How many fields each class has.
const CLASSES: [usize; 6] = [7, 8, 4, 4, 4, 2];

/// Name, unit and format of an item of a record; `None` for one that it does not have.
pub fn item(item: u8) -> Option<(&'static str, &'static str, Format)> {
    if item == TIME_ITEM {
        return Some(("load_time", "", Format::Minute));
    }
    FIELDS.get(usize::from(item)).map(|field| (field.name, field.unit, field.format))
}

/// The item of a record that has what a point shows now; `None` where records have no such thing.
pub fn item_of(point: &Dlt645Point) -> Option<u8> {
    if point.edition != Edition::V2007 || point.offset != 0 || !matches!(point.format, Format::Number { .. }) {
        return None;
    }
    if point.di == LATEST {
        return Some(point.item);
    }
    let di = catalog::single(Edition::V2007, point.di, point.item).unwrap_or(point.di);
    let [class, two, one, zero] = di.to_be_bytes();
    match (class, two, one, zero) {
        (0x00, 0x01..=0x08, 0, 0) => Some(18 + two),
        (0x02, 0x01, 1..=3, 0) => Some(one - 1),
        (0x02, 0x02, 1..=3, 0) => Some(2 + one),
        (0x02, 0x03, 0..=3, 0) => Some(7 + one),
        (0x02, 0x04, 0..=3, 0) => Some(11 + one),
        (0x02, 0x06, 0..=3, 0) => Some(15 + one),
        (0x02, 0x80, 0, 0x02) => Some(6),
        (0x02, 0x80, 0, 0x04) => Some(27),
        (0x02, 0x80, 0, 0x05) => Some(28),
        _ => None,
    }
}

/// What a request for `count` records from a time on has behind the identifier.
pub(super) fn from_time_data(count: u8, from: LocalTime) -> [u8; 6] {
    let [minute, hour, day, month, year] = minute_bytes(from);
    [to_bcd(count), minute, hour, day, month, year]
}

/// One record, split into its fields.
pub(super) struct Record<'d> {
    time: &'d [u8],
    /// In the order of [`FIELDS`]; empty where the class is not recorded.
    fields: [&'d [u8]; FIELDS.len()],
    is_wrong: bool,
}

impl<'d> Record<'d> {
    /// The first record of the data, and what is behind it.
    ///
    /// # Errors
    /// A `BadReply` where the data begin with no record.
    pub(super) fn split(data: &'d [u8]) -> Result<(Record<'d>, &'d [u8]), NoData> {
        let (begin, rest) = data.split_first_chunk::<2>().ok_or(NoData::BadReply)?;
        if *begin != BEGIN && *begin != WRONG {
            return Err(NoData::BadReply);
        }
        let (_, rest) = rest.split_first().ok_or(NoData::BadReply)?;
        let (time, mut rest) = take(rest, Format::Minute)?;
        let mut record = Record { time, fields: [&[]; FIELDS.len()], is_wrong: *begin == WRONG };
        let mut fields = record.fields.iter_mut().zip(&FIELDS);
        for count in CLASSES {
            // Packed decimals have no byte AA, so that a separator in their place is an empty class.
            let is_empty = rest.first() == Some(&SEPARATOR);
            for (bytes, field) in fields.by_ref().take(count) {
                if !is_empty {
                    (*bytes, rest) = take(rest, field.format)?;
                }
            }
            rest = rest.strip_prefix(&[SEPARATOR]).ok_or(NoData::BadReply)?;
        }
        match rest {
            [_sum, END, rest @ ..] => Ok((record, rest)),
            _ => Err(NoData::BadReply),
        }
    }

    /// The bytes of an item.
    ///
    /// # Errors
    /// `NotAvailable` where the meter does not record the item's class, or holds the record for wrong.
    pub(super) fn bytes(&self, item: u8) -> Result<&'d [u8], NoData> {
        if item == TIME_ITEM {
            return Ok(self.time);
        }
        let bytes = self.fields.get(usize::from(item)).copied().ok_or(NoData::BadReply)?;
        if bytes.is_empty() || self.is_wrong { Err(NoData::NotAvailable) } else { Ok(bytes) }
    }
}

/// The bytes of an item in the data of a reply with one record.
///
/// # Errors
/// A `BadReply` where the data are no single record; `NotAvailable` where there is none, or not of the item's class.
pub(super) fn bytes_of(data: &[u8], item: u8) -> Result<&[u8], NoData> {
    if data.is_empty() {
        return Err(NoData::NotAvailable);
    }
    match Record::split(data)? {
        (record, []) => record.bytes(item),
        _ => Err(NoData::BadReply),
    }
}

/// Splits a field off.
fn take(data: &[u8], format: Format) -> Result<(&[u8], &[u8]), NoData> {
    data.split_at_checked(usize::from(format.bytes())).ok_or(NoData::BadReply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record whose fields hold their own number; classes that are not in the list are empty.
    fn record(classes: &[usize]) -> Vec<u8> {
        let mut data = vec![0xA0, 0xA0, 95, 0x09, 0x15, 0x14, 0x03, 0x26];
        let mut at = 0u8;
        for (class, count) in CLASSES.into_iter().enumerate() {
            for _ in 0..count {
                let bytes = item(at).unwrap().2.bytes();
                if classes.contains(&class) {
                    data.push(((at / 10) << 4) | (at % 10));
                    data.extend((1..bytes).map(|_| 0));
                }
                at += 1;
            }
            data.push(0xAA);
        }
        data.extend([0, 0xE5]);
        data
    }

    fn said(data: &[u8], at: u8) -> Result<String, NoData> {
        item(at).unwrap().2.decode(bytes_of(data, at)?).map(|value| value.to_string())
    }

    #[test]
    fn each_item_of_a_whole_record_is_its_own() {
        let data = record(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(data.len(), RECORD_BYTES);
        assert_eq!(said(&data, TIME_ITEM), Ok("2026-03-14T15:09".to_owned()));
        for (at, value) in
            [(0, "0.0"), (3, "0.003"), (6, "0.06"), (7, "0.0007"), (18, "0.018"), (19, "0.19"), (28, "0.0028")]
        {
            assert_eq!(said(&data, at), Ok(value.to_owned()), "{}", item(at).unwrap().0);
        }
    }

    #[test]
    fn a_class_that_is_not_recorded_is_not_available_and_moves_no_other() {
        let data = record(&[0, 3]);
        assert_eq!(said(&data, 19), Ok("0.19".to_owned()));
        assert_eq!(said(&data, 7), Err(NoData::NotAvailable));
    }

    #[test]
    fn a_record_that_the_meter_holds_for_wrong_has_a_time_and_no_values() {
        let mut data = record(&[0, 3]);
        data[..2].copy_from_slice(&[0xE0, 0xE0]);
        assert_eq!(said(&data, TIME_ITEM), Ok("2026-03-14T15:09".to_owned()));
        assert_eq!(said(&data, 19), Err(NoData::NotAvailable));
    }

    #[test]
    fn records_that_follow_each_other_are_told_apart() {
        let data = [record(&[0, 3]), record(&[]), record(&[0, 1, 2, 3, 4, 5])].concat();
        let (first, rest) = Record::split(&data).unwrap();
        let (second, rest) = Record::split(rest).unwrap();
        let (third, rest) = Record::split(rest).unwrap();
        assert!(first.bytes(19).is_ok() && second.bytes(19).is_err() && third.bytes(28).is_ok() && rest.is_empty());
        assert_eq!(bytes_of(&data, 19), Err(NoData::BadReply), "one was asked for");
    }

    #[test]
    fn fields_full_of_ff_are_not_available() {
        let mut data = record(&[3]);
        data[11..15].fill(0xFF);
        assert_eq!(said(&data, 19), Err(NoData::NotAvailable));
        assert_eq!(said(&data, 20), Ok("0.20".to_owned()));
    }

    #[test]
    fn what_a_point_shows_now_is_found_in_a_record_under_its_own_name_and_unit() {
        for (di, item, name) in [
            (0x0001_0000, 0, "load_forward_active_energy"),
            (0x0001_FF00, 0, "load_forward_active_energy"),
            (0x0002_0000, 0, "load_reverse_active_energy"),
            (0x0003_0000, 0, "load_combined_reactive1_energy"),
            (0x0008_0000, 0, "load_quadrant4_reactive_energy"),
            (0x0201_FF00, 2, "load_voltage_c"),
            (0x0202_0100, 0, "load_current_a"),
            (0x0203_FF00, 0, "load_active_power_total"),
            (0x0203_0300, 0, "load_active_power_c"),
            (0x0204_0000, 0, "load_reactive_power_total"),
            (0x0206_FF00, 3, "load_power_factor_c"),
            (0x0280_0002, 0, "load_frequency"),
            (0x0280_0005, 0, "load_reactive_demand"),
            (LATEST, 27, "load_active_demand"),
        ] {
            let layout = catalog::layout(Edition::V2007, di).unwrap();
            let (item_bytes, format) = (layout.item_bytes(), layout.format_of(item).unwrap());
            let point = Dlt645Point { edition: Edition::V2007, di, item, item_bytes, offset: 0, format, bit: None };
            let (found, unit, recorded) = self::item(item_of(&point).unwrap()).unwrap();
            assert_eq!((found, unit, recorded), (name, layout.unit_of(item), format), "{di:08X}");
        }
        for (di, item) in [(0x0001_0100, 0), (0x0001_FF00, 1), (0x0001_0001, 0), (0x0000_0000, 0), (0x0400_0501, 0)] {
            let layout = catalog::layout(Edition::V2007, di).unwrap();
            let (item_bytes, format) = (layout.item_bytes(), layout.format);
            let point = Dlt645Point { edition: Edition::V2007, di, item, item_bytes, offset: 0, format, bit: None };
            assert_eq!(item_of(&point), None, "{di:08X}: tariffs, settlements and combined energy are not recorded");
        }
    }

    #[test]
    fn a_record_of_another_length_is_none() {
        let data = record(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes_of(&[], 0), Err(NoData::NotAvailable), "the meter has none");
        for cut in 1..data.len() {
            assert_eq!(bytes_of(&data[..cut], 0), Err(NoData::BadReply), "{cut}");
            let missing = [&data[..cut], &data[cut + 1..]].concat();
            assert_eq!(bytes_of(&missing, 28), Err(NoData::BadReply), "without byte {cut}");
        }
    }
}
