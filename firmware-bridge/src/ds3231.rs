//! The DS3231 battery-backed clock, which many edge boxes carry so that they know the date without a network.
//!
//! Facts from Maxim's data sheet 19-5170, Rev 10: the register map (Figure 1), the control and status registers
//! (0Eh, 0Fh) and the rules for reading and setting time ("Clock and Calendar").

use embedded_hal::i2c::{ErrorKind, I2c, NoAcknowledgeSource};
use gatehouse_core::{Trust, Wall};

/// The chip's only address, 1101000b (data sheet, "I2C Serial Port Operation").
pub const ADDRESS: u8 = 0x68;

const SECONDS: u8 = 0x00;
const CONTROL: u8 = 0x0e;
const STATUS: u8 = 0x0f;
/// Hours register, bit 6: the hour counts to 12, and bit 5 means p.m.
const TWELVE_HOURS: u8 = 0x40;
/// Control register, bit 7: the oscillator stops when the chip runs from its battery.
const STOP_ON_BATTERY: u8 = 0x80;
/// Status register, bit 7: the oscillator is or was stopped; stays set until it is written to 0.
const OSCILLATOR_STOPPED: u8 = 0x80;

const DAY_SECONDS: i64 = 86_400;
/// 2000-01-01T00:00:00Z in seconds since 1970.
const FIRST_SECOND: i64 = 946_684_800;
/// 2100-01-01T00:00:00Z: the chip's leap years are right until here.
const END_SECOND: i64 = 4_102_444_800;

/// What the chip says the time is, to the second, and how far it may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcReading {
    /// The time, 2000 to 2099, UTC.
    pub wall: Wall,
    /// [`Trust::FreeRunning`], or [`Trust::Unset`] when the oscillator has stood still since the time was set.
    pub trust: Trust,
}

/// Why the chip could not be read or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ds3231Error {
    /// Nothing acknowledges the address.
    #[error("no clock chip answers at I2C address 0x68: is a DS3231 fitted, and is this its bus?")]
    Missing,
    /// The bus failed in another way.
    #[error("the I2C bus failed while talking to the clock chip: {0:?}")]
    Bus(ErrorKind),
    /// A register holds what no date has; the chip was never set, or another chip answers.
    #[error(
        "register 0x{register:02x} of the clock chip holds 0x{value:02x}, which is no part of a date: set the clock"
    )]
    NotADate {
        /// The register.
        register: u8,
        /// What it holds.
        value: u8,
    },
    /// The chip counts years 2000 to 2099 only.
    #[error("the clock chip cannot hold this time, {0:?}: it counts the years 2000 to 2099")]
    OutOfRange(Wall),
}

/// A DS3231 on an I2C bus. Time is kept as UTC in 24-hour form.
///
/// The century bit is ignored, as Linux does: systems disagree on what it means.
pub struct Ds3231<I> {
    i2c: I,
}

impl<I: I2c> Ds3231<I> {
    /// Takes the bus (or a share of it). Nothing is sent yet.
    pub fn new(i2c: I) -> Self {
        Ds3231 { i2c }
    }

    /// Gives the bus back.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Reads the time and whether it may be believed, in one transfer, so that both are of the same instant.
    ///
    /// # Errors
    /// [`Ds3231Error::NotADate`] only for a chip that claims to be right: one whose oscillator stopped may hold anything.
    pub fn read(&mut self) -> Result<RtcReading, Ds3231Error> {
        let mut registers = [0; 16];
        self.i2c.write_read(ADDRESS, &[SECONDS], &mut registers).map_err(bus)?;
        let stopped = registers[usize::from(STATUS)] & OSCILLATOR_STOPPED != 0;
        match (decode(&registers), stopped) {
            (Ok(wall), false) => Ok(RtcReading { wall, trust: Trust::FreeRunning }),
            (Ok(wall), true) => Ok(RtcReading { wall, trust: Trust::Unset }),
            (Err(_), true) => Ok(RtcReading { wall: Wall(FIRST_SECOND * 1_000_000), trust: Trust::Unset }),
            (Err(error), false) => Err(error),
        }
    }

    /// Sets the time, rounded to the nearest second, and has it run on from the battery.
    ///
    /// The stop flag is cleared last: if the bus fails on the way, the time stays untrusted.
    ///
    /// # Errors
    /// [`Ds3231Error::OutOfRange`] before 2000 or after 2099; nothing was sent then.
    pub fn set(&mut self, wall: Wall) -> Result<(), Ds3231Error> {
        let date = encode(wall)?;
        let mut message = [SECONDS; 8];
        message[1..].copy_from_slice(&date);
        self.i2c.write(ADDRESS, &message).map_err(bus)?;
        let mut flags = [0; 2];
        self.i2c.write_read(ADDRESS, &[CONTROL], &mut flags).map_err(bus)?;
        let [control, status] = flags;
        self.i2c.write(ADDRESS, &[CONTROL, control & !STOP_ON_BATTERY, status & !OSCILLATOR_STOPPED]).map_err(bus)
    }
}

fn bus<E: embedded_hal::i2c::Error>(error: E) -> Ds3231Error {
    match error.kind() {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address | NoAcknowledgeSource::Unknown) => Ds3231Error::Missing,
        kind => Ds3231Error::Bus(kind),
    }
}

/// The time that registers 00h to 06h hold.
fn decode(registers: &[u8; 16]) -> Result<Wall, Ds3231Error> {
    let field = |register: u8, mask: u8, low: u8, high: u8| {
        let value = registers[usize::from(register)];
        bcd(value & mask)
            .filter(|number| (low..=high).contains(number))
            .map(i64::from)
            .ok_or(Ds3231Error::NotADate { register, value })
    };
    let second = field(0, 0x7f, 0, 59)?;
    let minute = field(1, 0x7f, 0, 59)?;
    let hour = match registers[2] & (TWELVE_HOURS | 0x20) {
        TWELVE_HOURS => field(2, 0x1f, 1, 12)? % 12,
        0x60 => field(2, 0x1f, 1, 12)? % 12 + 12,
        _ => field(2, 0x3f, 0, 23)?,
    };
    let month = field(5, 0x1f, 1, 12)?;
    let year = 2000 + field(6, 0xff, 0, 99)?;
    let day = field(4, 0x3f, 1, days_in_month(year, month))?;
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Ok(Wall(seconds * 1_000_000))
}

/// Registers 00h to 06h for a time.
fn encode(wall: Wall) -> Result<[u8; 7], Ds3231Error> {
    let seconds = wall.0.saturating_add(500_000).div_euclid(1_000_000);
    if !(FIRST_SECOND..END_SECOND).contains(&seconds) {
        return Err(Ds3231Error::OutOfRange(wall));
    }
    let days = seconds / DAY_SECONDS;
    let (year, month, day) = civil(days);
    let time = seconds % DAY_SECONDS;
    // 1970-01-01 was a Thursday; the chip leaves the numbering of weekdays to us: 1 is Monday, as in ISO 8601.
    let weekday = (days + 3) % 7 + 1;
    Ok([time % 60, time / 60 % 60, time / 3600, weekday, day, month, year - 2000].map(to_bcd))
}

/// The number of a byte of two decimal digits.
fn bcd(byte: u8) -> Option<u8> {
    let (tens, ones) = (byte >> 4, byte & 0x0f);
    (tens <= 9 && ones <= 9).then_some(tens * 10 + ones)
}

/// Two decimal digits of a number from 0 to 99.
fn to_bcd(number: i64) -> u8 {
    let number = u8::try_from(number).expect("parts of a date between 2000 and 2099 have two digits");
    ((number / 10) << 4) | (number % 10)
}

/// Every fourth year is a leap year between 2000 and 2099.
fn days_in_month(year: i64, month: i64) -> u8 {
    match month {
        2 if year % 4 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date between 2000 and 2099.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let years = year - 2000;
    let before_year = FIRST_SECOND / DAY_SECONDS + years * 365 + (years + 3) / 4;
    let before_month: i64 = (1..month).map(|month| i64::from(days_in_month(year, month))).sum();
    before_year + before_month + day - 1
}

/// Year, month and day of a day number between 2000 and 2099.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_2000 = days - FIRST_SECOND / DAY_SECONDS;
    // Four years are 1461 days, the leap year first.
    let year = 2000 + since_2000 / 1461 * 4 + ((since_2000 % 1461 - 1).max(0) / 365);
    let mut rest = days - days_since_1970(year, 1, 1);
    let mut month = 1;
    while rest >= i64::from(days_in_month(year, month)) {
        rest -= i64::from(days_in_month(year, month));
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests;
