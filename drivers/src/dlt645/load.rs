//! The latest load record of a meter (DL/T 645-2007 annex A, table of load records): six classes of values in one block,
//! `A0 A0`, a count, mm hh DD MM YY, each class closed by AA and empty where the meter does not record it, a sum, `E5`.
//!
//! \[U\] What count and sum run over differs between sources, so that neither is looked at: the frame has its own sum, and
//! the block must be as long as its classes are, to the byte.

use gatehouse_core::NoData;

use super::point::Format;

/// The identifier of the latest record.
pub const LATEST: u32 = 0x0600_0002;
/// The item that stands for the record's time.
pub const TIME_ITEM: u8 = 63;
/// Bytes of a record with all its classes.
pub const RECORD_BYTES: usize = 103;

const BEGIN: [u8; 2] = [0xA0, 0xA0];
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

/// The bytes of an item in the data of a reply.
///
/// # Errors
/// A `BadReply` where the data are no record; `NotAvailable` where the meter does not record the item's class.
pub(super) fn bytes_of(data: &[u8], item: u8) -> Result<&[u8], NoData> {
    let body = data.strip_prefix(&BEGIN).and_then(|rest| rest.strip_suffix(&[END])).ok_or(NoData::BadReply)?;
    let (_, mut rest) = body.split_first().ok_or(NoData::BadReply)?;
    let mut found = None;
    rest = take(&mut found, rest, Format::Minute.bytes(), item == TIME_ITEM)?;
    let mut first = 0;
    for count in CLASSES {
        let fields = FIELDS.get(first..first + count).ok_or(NoData::BadReply)?;
        // Packed decimals have no byte AA, so that a separator in their place is an empty class.
        if rest.first() != Some(&SEPARATOR) {
            for (at, field) in (first..).zip(fields) {
                rest = take(&mut found, rest, field.format.bytes(), at == usize::from(item))?;
            }
        }
        rest = rest.strip_prefix(&[SEPARATOR]).ok_or(NoData::BadReply)?;
        first += count;
    }
    match rest {
        [_sum] => found.ok_or(NoData::NotAvailable),
        _ => Err(NoData::BadReply),
    }
}

/// Splits a field off, and notes it if it is the wanted one.
fn take<'d>(found: &mut Option<&'d [u8]>, data: &'d [u8], bytes: u8, wanted: bool) -> Result<&'d [u8], NoData> {
    let (field, rest) = data.split_at_checked(usize::from(bytes)).ok_or(NoData::BadReply)?;
    if wanted {
        *found = Some(field);
    }
    Ok(rest)
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
    fn a_record_of_another_length_is_none() {
        let data = record(&[0, 1, 2, 3, 4, 5]);
        for cut in 0..data.len() {
            assert_eq!(bytes_of(&data[..cut], 0), Err(NoData::BadReply), "{cut}");
            let missing = [&data[..cut], &data[cut + 1..]].concat();
            assert_eq!(bytes_of(&missing, 28), Err(NoData::BadReply), "without byte {cut}");
        }
    }
}
