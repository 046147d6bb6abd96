//! JSON written straight into bytes: numbers with the meter's own digits, text, times. No allocation.

use gatehouse_core::{Decimal, Value, Wall};

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// Appends a whole number.
pub(crate) fn whole(out: &mut Vec<u8>, mut n: u128) {
    let mut digits = [0u8; 39];
    let mut at = digits.len();
    // Nearly every number fits in 64 bits, whose division is many times faster.
    while n > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = digit(n % 10);
        n /= 10;
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with u64::MAX above")]
    let mut small = n as u64;
    loop {
        at -= 1;
        digits[at] = digit(u128::from(small % 10));
        small /= 10;
        if small == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of ten")]
fn digit(n: u128) -> u8 {
    b'0' + n as u8
}

/// Appends a decimal with all its digits: mantissa 1600 with exponent −2 is `16.00`.
pub(crate) fn decimal(out: &mut Vec<u8>, d: Decimal) {
    if d.mantissa < 0 {
        out.push(b'-');
    }
    let places = usize::from(d.exponent.unsigned_abs());
    let start = out.len();
    whole(out, d.mantissa.unsigned_abs());
    if d.exponent >= 0 {
        if d.mantissa != 0 {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    let digits = out.len() - start;
    if digits <= places {
        let zeros = places + 1 - digits;
        out.resize(out.len() + zeros, b'0');
        out.copy_within(start..start + digits, start + zeros);
        out[start..start + zeros].fill(b'0');
    }
    out.push(b'.');
    let point = out.len() - 1 - places;
    out.copy_within(point..point + places, point + 1);
    out[point] = b'.';
}

/// Appends a finite float's shortest digits that read back as the same float; whole ones without `.0`.
fn float(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}

/// Appends a value: numbers bare, or as decimal strings when `quoted`.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value, quoted: bool) {
    match value {
        Value::Bool(on) => out.extend_from_slice(if *on { b"true" } else { b"false" }),
        Value::Text(text) => string(out, text),
        Value::Decimal(d) if quoted => {
            out.push(b'"');
            decimal(out, *d);
            out.push(b'"');
        }
        Value::Decimal(d) => decimal(out, *d),
        Value::F32(x) if !quoted => float(out, ryu::Buffer::new().format_finite(*x)),
        Value::F64(x) if !quoted => float(out, ryu::Buffer::new().format_finite(*x)),
        Value::F32(_) | Value::F64(_) => {
            out.push(b'"');
            match (value.to_decimal(), value) {
                (Some(d), _) => decimal(out, d),
                (None, Value::F32(x)) => float(out, ryu::Buffer::new().format_finite(*x)),
                (None, Value::F64(x)) => float(out, ryu::Buffer::new().format_finite(*x)),
                (None, _) => {}
            }
            out.push(b'"');
        }
    }
}

/// Appends text in quotes, escaped as RFC 8259 section 7 asks.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &b in text.as_bytes() {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

/// Writes times as RFC 3339 in UTC with milliseconds, and remembers the day it wrote last.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    day: i64,
    date: [u8; 10],
}

impl Default for Times {
    fn default() -> Self {
        Times { day: 0, date: *b"1970-01-01" }
    }
}

impl Times {
    /// Appends `wall` in quotes. Times outside the years 0 to 9999 are drawn to the nearest of these.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, wall: Wall) {
        // 0000-01-01 and 9999-12-31, in days from 1970-01-01.
        let us = wall.0.clamp(-719_528 * DAY_US, 2_932_897 * DAY_US - 1);
        let day = us.div_euclid(DAY_US);
        if day != self.day {
            (self.day, self.date) = (day, date(day));
        }
        let ms = us.rem_euclid(DAY_US) / 1000;
        let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
        text[1..11].copy_from_slice(&self.date);
        put(&mut text[12..14], ms / 3_600_000);
        put(&mut text[15..17], ms / 60_000 % 60);
        put(&mut text[18..20], ms / 1000 % 60);
        put(&mut text[21..24], ms % 1000);
        out.extend_from_slice(&text);
    }
}

/// Fills `place` with the last digits of `n`.
fn put(place: &mut [u8], mut n: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// The date of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn date(day: i64) -> [u8; 10] {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let mut text = *b"0000-00-00";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], doy - (153 * mp + 2) / 5 + 1);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"..".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap()[2..].to_owned()
    }

    proptest! {
        #[test]
        fn a_decimal_prints_as_it_displays(mantissa: i128, exponent in -30i8..=30) {
            for d in [Decimal { mantissa, exponent }, Decimal { mantissa: mantissa % 1000, exponent }] {
                prop_assert_eq!(text(|out| decimal(out, d)), d.to_string());
            }
        }

        #[test]
        fn a_float_reads_back_as_the_same_float(bits: u32) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let written = text(|out| value(out, &Value::F32(x), false));
            let read: f32 = written.parse().unwrap();
            prop_assert_eq!(read.to_bits(), bits, "{}", written);
        }

        #[test]
        fn text_reads_back_as_the_same_text(any: String) {
            let written = text(|out| string(out, &any));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), any);
        }

        #[test]
        fn a_time_prints_as_the_calendar_has_it(ms in -62_167_219_200_000i64..253_402_207_200_000) {
            let written = text(|out| Times::default().write(out, Wall(ms * 1000)));
            let time = jiff::Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(written, format!("\"{time:.3}\""));
        }
    }

    #[test]
    fn numbers_keep_the_digits_of_the_meter() {
        let number = |v| text(|out| value(out, &v, false));
        let billing = |v| text(|out| value(out, &v, true));
        let d = |mantissa, exponent| Value::Decimal(Decimal { mantissa, exponent });
        assert_eq!(number(d(1_234_567, -2)), "12345.67");
        assert_eq!(number(d(1600, -2)), "16.00");
        assert_eq!(number(d(-5, -3)), "-0.005");
        assert_eq!(number(Value::F32(230.1)), "230.1");
        assert_eq!(number(Value::F32(50.0)), "50");
        assert_eq!(number(Value::F64(1e300)), "1e300");
        assert_eq!(billing(d(1_234_567, -2)), "\"12345.67\"");
        assert_eq!(billing(Value::F32(230.1)), "\"230.1\"");
        assert_eq!(billing(Value::Bool(true)), "true");
        assert_eq!(number(Value::Text("a\"b\u{1}".into())), "\"a\\\"b\\u0001\"");
    }

    #[test]
    fn times_beyond_the_calendar_are_drawn_to_its_ends() {
        assert_eq!(text(|out| Times::default().write(out, Wall(i64::MAX))), "\"9999-12-31T23:59:59.999Z\"");
        assert_eq!(text(|out| Times::default().write(out, Wall(i64::MIN))), "\"0000-01-01T00:00:00.000Z\"");
    }
}
