//! What is kept and told: installations of meters, and readings at fixed times.

use std::collections::BTreeMap;

use gatehouse_core::{Decimal, Raw, Stamp, Trust};
use serde::{Deserialize, Serialize};

use super::judge::Flag;
use crate::instant::Instant;

/// Begins the keys of readings at fixed times. They are not taken back at a start: `reading/DAY/NAME/DEVICE`, and behind
/// that `/manual-MICROSECONDS` for one that a person entered.
pub const READINGS: &str = "reading/";

/// Where a value is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The meter's own freeze, in time.
    Freeze,
    /// Read from the meter at that moment.
    Live,
    /// The meter's own freeze, fetched after the time had been missed.
    Recalled,
    /// Entered by a person.
    Manual,
    /// The last reading before, whatever its time: only of closing readings.
    Last,
}

impl Source {
    /// The name in records and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Freeze => "freeze",
            Source::Live => "live",
            Source::Recalled => "recalled",
            Source::Manual => "manual",
            Source::Last => "last",
        }
    }
}

/// What a record says of a billing point beside its value, as `NAME.flags` and `NAME.raw`.
pub const REMARKS: [&str; 2] = ["flags", "raw"];

/// A register's value at some moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// The register's own digits.
    #[serde(with = "decimal_text")]
    pub value: Decimal,
    /// What the register counted in whole rollovers since its installation.
    #[serde(with = "decimal_text", default = "zero", skip_serializing_if = "is_zero")]
    pub carried: Decimal,
    /// When, in microseconds since 1970; `None`: the box did not know the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_us: Option<i64>,
    /// Where it is from.
    pub source: Source,
    /// What is conspicuous about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// The bytes of the wire that it was made of.
    #[serde(with = "raw_text", default, skip_serializing_if = "Raw::is_empty")]
    pub raw: Raw,
}

/// One meter at one place, from one instant to another, with one ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// The device of the site file.
    pub device: String,
    /// Counts the installations of the device from 1.
    pub version: u32,
    /// Counts what was told of this installation from 1: of two events the higher one is the newer.
    pub revision: u32,
    /// The meter's serial number; `""` where nobody said.
    pub serial: String,
    /// The ratio of current and voltage transformers: registers times this is what was used.
    #[serde(with = "decimal_text")]
    pub multiplier: Decimal,
    /// Since when.
    pub from: Instant,
    /// Until when; `None`: it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Instant>,
    /// The first readings, by point.
    pub opening: BTreeMap<String, Taken>,
    /// The last readings, by point.
    pub closing: BTreeMap<String, Taken>,
    /// Who put it in: `site_file`, or who asked for the swap.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A reading of one device for one fixed time, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedReading {
    /// The name of the reading in the site file.
    pub reading: String,
    /// The device.
    pub device: String,
    /// The day of the site's zone, `2026-11-26`.
    pub day: String,
    /// The fixed time, in microseconds since 1970.
    pub due_us: i64,
    /// When the values came from the meter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Instant>,
    /// How long after the fixed time the values are from, in seconds; negative: before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<i64>,
    /// How far the meter's clock was ahead of the box's when it was last looked at, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_s: Option<i64>,
    /// The installation that the values belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<u32>,
    /// The values, by point.
    pub values: BTreeMap<String, Taken>,
    /// Why points have no value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    /// Who entered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a meter recorded itself at one moment, told after nobody had read it then.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LoadReading {
    /// The device.
    pub(super) device: String,
    /// The moment as the meter's own clock had it: `2026-11-26T00:15`.
    pub(super) at: String,
    /// The same in microseconds since 1970, taken for the site's zone.
    pub(super) at_us: i64,
    /// Where it is from: [`Source::Recalled`].
    pub(super) source: Source,
    /// How far the meter's clock was ahead of the box's when it was last looked at, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clock_offset_s: Option<i64>,
    /// The installation that the values belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) installation: Option<u32>,
    /// The values, by point.
    pub(super) values: BTreeMap<String, Taken>,
    /// Why points have no value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) missing: BTreeMap<String, String>,
}

/// Load records that will not come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LoadGap {
    /// The device.
    pub(super) device: String,
    /// The moment of the first, in microseconds since 1970.
    pub(super) from_us: i64,
    /// That of the last.
    pub(super) to_us: i64,
    /// Why.
    pub(super) why: String,
}

impl FixedReading {
    /// The key that it is kept under.
    pub fn key(&self) -> String {
        let FixedReading { reading, device, day, .. } = self;
        match (self.by.is_some(), self.at) {
            (true, Some(at)) => format!("{READINGS}{day}/{reading}/{device}/manual-{}", Stamp::from(at).wall.0),
            _ => format!("{READINGS}{day}/{reading}/{device}"),
        }
    }
}

/// The wall clock's microseconds, where they may be believed.
pub(super) fn believed(at: &Stamp) -> Option<i64> {
    (at.trust != Trust::Unset).then_some(at.wall.0)
}

pub(super) const fn zero() -> Decimal {
    Decimal::whole(0)
}

fn is_zero(number: &Decimal) -> bool {
    number.mantissa == 0
}

/// A decimal as a text, digit by digit.
/// Bytes as their hexadecimal digits.
pub(super) mod raw_text {
    use gatehouse_core::Raw;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(raw: &Raw, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(raw)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() <= 2 * Raw::MAX);
        let digits = digits.ok_or_else(|| de::Error::custom("no hexadecimal digits of at most 8 bytes"))?;
        let bytes: Vec<u8> =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
        Ok(Raw::new(&bytes))
    }
}

pub(super) mod decimal_text {
    use gatehouse_core::Decimal;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = String::deserialize(deserializer)?;
        Decimal::parse(&text).map_err(serde::de::Error::custom)
    }
}
