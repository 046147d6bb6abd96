//! Bytes of an item to a value.

use std::fmt::Write as _;

use gatehouse_core::{Decimal, NoData, PointIx, PointReading, Value};

use super::catalog::{Axis, old_current, single};
use super::load;
use super::point::{Dlt645Point, Edition, Format};

/// The separator that some meters of 1997 put behind each item of a block. It is no packed decimal.
const SEPARATOR: u8 = 0xAA;

impl Format {
    /// The value of the bytes, which are as many as the format takes.
    ///
    /// # Errors
    /// [`NoData`] says why they hold no value: all FF is "not available", also in a word of several bytes, of which no
    /// meter defines every bit.
    pub fn decode(self, bytes: &[u8]) -> Result<Value, NoData> {
        if bytes.len() != usize::from(self.bytes()) {
            return Err(NoData::BadReply);
        }
        if self != (Format::Word { bytes: 1 }) && bytes.iter().all(|&byte| byte == 0xFF) {
            return Err(NoData::NotAvailable);
        }
        match self {
            Format::Number { places, signed, .. } => number(bytes, places, signed),
            Format::Word { .. } => Ok(Value::Decimal(Decimal::whole(i128::from(word(bytes))))),
            Format::Minute => minute(bytes),
            Format::Date => date(bytes),
            Format::Time => time(bytes),
            Format::Digits { .. } => digits(bytes),
            Format::Text { .. } => text(bytes),
        }
    }
}

impl Dlt645Point {
    /// The value in the data of a reply, behind the identifier; `first` is the block's item that the data begin with,
    /// `block` what its items differ in, `None` where the identifier asks for one item.
    ///
    /// # Errors
    /// [`NoData`]: data of a wrong length are a `BadReply`, items that the meter does not have `NotAvailable`.
    pub fn decode(&self, data: &[u8], first: u8, block: Option<Axis>) -> Result<Value, NoData> {
        let bytes = self.bytes_in(data, first, block)?;
        match self.bit {
            Some(bit) => match self.format.decode(bytes)? {
                Value::Decimal(flags) => Ok(Value::Bool(flags.mantissa.checked_shr(bit.into()).unwrap_or(0) & 1 == 1)),
                Value::Bool(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => Err(NoData::BadReply),
            },
            None => match self.kept_format(bytes.len()) {
                Some(kept) => kept.decode(bytes).map(one_more_place),
                None => self.format.decode(bytes),
            },
        }
    }

    /// How a current lies that came shorter than XXX.XXX.
    fn kept_format(&self, bytes: usize) -> Option<Format> {
        if bytes + 1 != usize::from(self.format.bytes()) {
            return None;
        }
        // Of a block that a meter refuses each item is asked for by itself.
        old_current(self.edition, single(self.edition, self.di, self.item).unwrap_or(self.di), bytes)
    }

    /// The same as a reading of the point, with the bytes that it was made of.
    pub(super) fn read(&self, point: PointIx, data: &[u8], first: u8, block: Option<Axis>) -> PointReading {
        let bytes = self.bytes_in(data, first, block).unwrap_or_default();
        PointReading::new(point, self.decode(data, first, block)).of(bytes)
    }

    /// The point's own bytes, least significant first.
    fn bytes_in<'d>(&self, data: &'d [u8], first: u8, block: Option<Axis>) -> Result<&'d [u8], NoData> {
        if block == Some(Axis::LoadRecord) {
            return load::bytes_of(data, self.item);
        }
        if block.is_none() && self.kept_format(data.len()).is_some() {
            return Ok(data);
        }
        let size = usize::from(self.item_bytes).max(1);
        let separable = self.edition == Edition::V1997 && !matches!(self.format, Format::Word { .. });
        let stride = match block {
            Some(axis) => {
                let stride = stride(data, size, separable).ok_or(NoData::BadReply)?;
                // Three currents of two bytes are as long as two of three: only the number of items tells.
                if !axis.takes(data.len().div_ceil(stride)) {
                    return Err(NoData::BadReply);
                }
                stride
            }
            None if data.len() != size => return Err(NoData::BadReply),
            None => size,
        };
        let start = usize::from(self.item.saturating_sub(first)) * stride;
        let Some(item) = data.get(start..start + size) else { return Err(NoData::NotAvailable) };
        let from = usize::from(self.offset);
        item.get(from..from + usize::from(self.format.bytes())).ok_or(NoData::BadReply)
    }
}

/// The same number with one more digit after the point, as many as the point's other values have.
fn one_more_place(value: Value) -> Value {
    match value {
        Value::Decimal(Decimal { mantissa, exponent }) => {
            Value::Decimal(Decimal { mantissa: mantissa * 10, exponent: exponent - 1 })
        }
        Value::Bool(_) | Value::F32(_) | Value::F64(_) | Value::Text(_) => value,
    }
}

/// How many items a block of items of `size` bytes has, separators or not.
pub(super) fn items(edition: Edition, data: &[u8], size: u8, is_words: bool) -> usize {
    let size = usize::from(size).max(1);
    let stride = stride(data, size, edition == Edition::V1997 && !is_words).unwrap_or(size);
    data.len().div_ceil(stride)
}

/// Bytes from one item of a block to the next: those of an item, or one more where `separable` items have separators.
/// `None` where the data are no row of items.
pub(super) fn stride(data: &[u8], size: usize, separable: bool) -> Option<usize> {
    let wide = size + 1;
    let whole_row = data.len().is_multiple_of(wide) || (data.len() + 1).is_multiple_of(wide);
    let mut gaps = data.chunks(wide).map(|item| item.get(size));
    if separable && data.len() > size && whole_row && gaps.all(|gap| gap.is_none_or(|&byte| byte == SEPARATOR)) {
        return Some(wide);
    }
    (!data.is_empty() && data.len().is_multiple_of(size)).then_some(size)
}

/// The decimal number in a byte.
pub(super) fn bcd(byte: u8) -> Result<u8, NoData> {
    let (high, low) = (byte >> 4, byte & 15);
    if high > 9 || low > 9 { Err(NoData::NotBcd) } else { Ok(high * 10 + low) }
}

/// The packed decimal of a number below 100.
pub(super) fn to_bcd(number: u8) -> u8 {
    ((number / 10 % 10) << 4) | (number % 10)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn number(bytes: &[u8], places: u8, signed: bool) -> Result<Value, NoData> {
    let Some((&last, rest)) = bytes.split_last() else { return Err(NoData::BadReply) };
    let negative = signed && last & 0x80 != 0;
    let top = if signed { last & 0x7F } else { last };
    let mut mantissa = i128::from(bcd(top)?);
    for &byte in rest.iter().rev() {
        mantissa = mantissa * 100 + i128::from(bcd(byte)?);
    }
    let exponent = -i8::try_from(places).unwrap_or(i8::MAX);
    Ok(Value::Decimal(Decimal { mantissa: if negative { -mantissa } else { mantissa }, exponent }))
}

/// A date that is none in the calendar is out of range; one of zeros was never set.
fn calendar(year: u8, month: u8, day: u8) -> Result<(), NoData> {
    let days = match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    match (year, month, day) {
        (0, 0, 0) => Err(NoData::NotAvailable),
        _ if day == 0 || day > days => Err(NoData::OutOfRange),
        _ => Ok(()),
    }
}

fn clock(hour: u8, minute: u8, second: u8) -> Result<(), NoData> {
    if hour < 24 && minute < 60 && second < 60 { Ok(()) } else { Err(NoData::OutOfRange) }
}

fn written(text: std::fmt::Arguments<'_>) -> Result<Value, NoData> {
    let mut out = String::with_capacity(16);
    out.write_fmt(text).map_err(|_| NoData::BadText)?;
    Ok(Value::Text(out.into()))
}

fn minute(bytes: &[u8]) -> Result<Value, NoData> {
    let &[minute, hour, day, month, year] = bytes else { return Err(NoData::BadReply) };
    let (minute, hour, day, month, year) = (bcd(minute)?, bcd(hour)?, bcd(day)?, bcd(month)?, bcd(year)?);
    calendar(year, month, day)?;
    clock(hour, minute, 0)?;
    written(format_args!("20{year:02}-{month:02}-{day:02}T{hour:02}:{minute:02}"))
}

fn date(bytes: &[u8]) -> Result<Value, NoData> {
    let &[_, day, month, year] = bytes else { return Err(NoData::BadReply) };
    let (day, month, year) = (bcd(day)?, bcd(month)?, bcd(year)?);
    calendar(year, month, day)?;
    written(format_args!("20{year:02}-{month:02}-{day:02}"))
}

fn time(bytes: &[u8]) -> Result<Value, NoData> {
    let &[second, minute, hour] = bytes else { return Err(NoData::BadReply) };
    let (second, minute, hour) = (bcd(second)?, bcd(minute)?, bcd(hour)?);
    clock(hour, minute, second)?;
    written(format_args!("{hour:02}:{minute:02}:{second:02}"))
}

fn digits(bytes: &[u8]) -> Result<Value, NoData> {
    let mut out = String::with_capacity(2 * bytes.len());
    for &byte in bytes.iter().rev() {
        write!(out, "{:02}", bcd(byte)?).map_err(|_| NoData::BadText)?;
    }
    Ok(Value::Text(out.into()))
}

fn text(bytes: &[u8]) -> Result<Value, NoData> {
    let kept = bytes.iter().rev().filter(|&&byte| byte != 0);
    let out: Option<String> = kept.map(|&byte| (b' '..=b'~').contains(&byte).then_some(char::from(byte))).collect();
    out.map(|text| Value::Text(text.trim().into())).ok_or(NoData::BadText)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENERGY: Format = Format::Number { bytes: 4, places: 2, signed: false };

    fn said(format: Format, bytes: &[u8]) -> Result<String, NoData> {
        format.decode(bytes).map(|value| value.to_string())
    }

    #[test]
    fn the_highest_bit_is_a_sign_only_where_the_item_has_one() {
        let bytes = [0x32, 0x54, 0x76, 0x98];
        assert_eq!(said(ENERGY, &bytes), Ok("987654.32".into()));
        assert_eq!(said(Format::Number { bytes: 4, places: 2, signed: true }, &bytes), Ok("-187654.32".into()));
    }

    #[test]
    fn all_ff_is_not_available_and_a_digit_above_nine_is_no_number() {
        assert_eq!(said(ENERGY, &[0xFF; 4]), Err(NoData::NotAvailable));
        assert_eq!(said(ENERGY, &[0xFF, 0xFF, 0xFF, 0]), Err(NoData::NotBcd));
        assert_eq!(said(Format::Number { bytes: 3, places: 3, signed: true }, &[0xFF; 3]), Err(NoData::NotAvailable));
        assert_eq!(said(Format::Word { bytes: 2 }, &[0xFF; 2]), Err(NoData::NotAvailable), "no meter sets all flags");
        assert_eq!(said(ENERGY, &[0; 3]), Err(NoData::BadReply));
    }

    #[test]
    fn dates_that_are_none_are_refused() {
        assert_eq!(said(Format::Minute, &[0x09, 0x15, 0x14, 0x03, 0x26]), Ok("2026-03-14T15:09".into()));
        assert_eq!(said(Format::Minute, &[0; 5]), Err(NoData::NotAvailable), "never set");
        assert_eq!(said(Format::Date, &[0, 0x30, 0x02, 0x24]), Err(NoData::OutOfRange));
        assert_eq!(said(Format::Date, &[0, 0x29, 0x02, 0x24]), Ok("2024-02-29".into()));
        assert_eq!(said(Format::Time, &[0x60, 0, 0]), Err(NoData::OutOfRange));
        assert_eq!(said(Format::Time, &[0x0A, 0, 0]), Err(NoData::NotBcd));
    }

    #[test]
    fn a_current_of_two_bytes_is_read_by_its_length_with_the_places_of_the_others() {
        let layout = crate::dlt645::catalog::layout(Edition::V2007, 0x0202_0100).unwrap();
        let (item_bytes, format) = (layout.item_bytes(), layout.format);
        let point = |di| Dlt645Point { edition: Edition::V2007, di, item: 0, item_bytes, offset: 0, format, bit: None };
        let said = |di, data: &[u8]| point(di).decode(data, 0, None).map(|value| value.to_string());
        assert_eq!(said(0x0202_0100, &[0x34, 0x12]), Ok("12.340".into()));
        assert_eq!(said(0x0202_0100, &[0x00, 0x99]), Ok("99.000".into()), "no sign");
        assert_eq!(said(0x0202_0100, &[0x45, 0x23, 0x81]), Ok("-12.345".into()));
        assert_eq!(said(0x0280_0001, &[0x34, 0x12]), Err(NoData::BadReply), "no current of a phase");
        let of_block = Dlt645Point { item: 1, ..point(0x0202_FF00) };
        let asked_alone = of_block.decode(&[0x34, 0x12], 1, None).map(|value| value.to_string());
        assert_eq!(asked_alone, Ok("12.340".into()), "an item of a block that was refused");
    }

    #[test]
    fn items_of_a_block_may_be_separated() {
        assert_eq!(stride(&[1, 2, 0xAA, 3, 4, 0xAA], 2, true), Some(3));
        assert_eq!(stride(&[1, 2, 0xAA, 3, 4], 2, true), Some(3));
        assert_eq!(stride(&[1, 2, 0xAA, 3, 4, 0xAA], 2, false), Some(2), "words of flags");
        assert_eq!(stride(&[1, 2, 3, 4, 5, 6], 2, true), Some(2));
        assert_eq!(stride(&[1, 2, 3], 2, true), None);
        assert_eq!(stride(&[], 2, true), None);
    }
}
