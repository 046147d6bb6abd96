//! Codes of units, as several firmwares have them.

use std::fmt;

/// A unit that a meter may name. A value keeps the unit that its meter names: nothing is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unit(u8);

/// Codes and how the units are written.
const UNITS: [(u8, &str); 16] = [
    (0x01, "J"),
    (0x02, "Wh"),
    (0x05, "kWh"),
    (0x08, "MWh"),
    (0x0A, "100 MWh"),
    (0x0B, "kJ"),
    (0x0E, "MJ"),
    (0x11, "GJ"),
    (0x13, "100 GJ"),
    (0x14, "W"),
    (0x17, "kW"),
    (0x1A, "MW"),
    (0x29, "L"),
    (0x2C, "m3"),
    (0x32, "L/h"),
    (0x35, "m3/h"),
];

impl Unit {
    /// Cubic metres.
    pub const CUBIC_METRE: Unit = Unit(0x2C);
    /// Cubic metres in an hour.
    pub const CUBIC_METRE_PER_HOUR: Unit = Unit(0x35);
    /// Kilowatt-hours.
    pub const KILOWATT_HOUR: Unit = Unit(0x05);
    /// Kilowatts.
    pub const KILOWATT: Unit = Unit(0x17);

    /// The unit with this code; `None` for a code that no source knows.
    pub fn of_code(code: u8) -> Option<Unit> {
        UNITS.iter().any(|(known, _)| *known == code).then_some(Unit(code))
    }

    /// The unit that is written so.
    pub fn parse(text: &str) -> Option<Unit> {
        UNITS.iter().find(|(_, name)| *name == text).map(|(code, _)| Unit(*code))
    }

    /// The code on the wire.
    pub fn code(self) -> u8 {
        self.0
    }

    /// How it is written.
    pub fn as_str(self) -> &'static str {
        UNITS.iter().find(|(code, _)| *code == self.0).map_or("", |(_, name)| name)
    }

    /// How all are written.
    pub fn names() -> impl Iterator<Item = &'static str> {
        UNITS.iter().map(|(_, name)| *name)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
