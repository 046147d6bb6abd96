//! The SHT3x temperature and humidity sensor (SHT30, SHT31, SHT35), read in two steps so that nobody waits for it.
//!
//! Facts from Sensirion's data sheet SHT3x-DIS, version 5 (May 2018): durations (table 4), commands (tables 9 and 16),
//! the checksum (table 20) and the conversion (4.13).

use std::time::Duration;

use embedded_hal::i2c::{ErrorKind, I2c, NoAcknowledgeSource};
use gatehouse_core::Decimal;

/// The chip's address with its ADDR pin low, and with it high (data sheet, table 8).
pub const ADDRESSES: [u8; 2] = [0x44, 0x45];
/// A measurement of high repeatability takes at most 15.5 ms, at the lowest supply (data sheet, table 4).
pub const MEASURING: Duration = Duration::from_millis(16);
/// The least time between two commands is 1 ms (data sheet, 4.3).
pub const BETWEEN_COMMANDS: Duration = Duration::from_millis(2);

/// Single shot, high repeatability, no clock stretching: the bus stays free while the chip measures.
const MEASURE: [u8; 2] = [0x24, 0x00];
const HEATER_OFF: [u8; 2] = [0x30, 0x66];

/// What the chip measured, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measurement {
    /// Degrees Celsius, −45.00 to 130.00: the range of the formula, which is wider than what the chip can stand.
    pub temperature: Decimal,
    /// Percent relative humidity, 0.00 to 100.00.
    pub humidity: Decimal,
}

/// Why there is no measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Sht3xError {
    /// Nothing acknowledges the address, or the measurement is not complete.
    #[error("no SHT3x answers at I2C address 0x{0:02x}: is it fitted, and is this its bus?")]
    NoAnswer(u8),
    /// The bus failed in another way.
    #[error("the I2C bus failed while talking to the SHT3x: {0:?}")]
    Bus(ErrorKind),
    /// A value came with a wrong checksum.
    #[error("the SHT3x sent checksum 0x{got:02x} where 0x{expected:02x} belongs: keep its wires short and apart")]
    Checksum {
        /// The checksum of the value.
        expected: u8,
        /// What came.
        got: u8,
    },
}

/// An SHT3x on an I2C bus. Its alert pin is not used.
pub struct Sht3x<I> {
    i2c: I,
    address: u8,
}

impl<I: I2c> Sht3x<I> {
    /// Takes the bus (or a share of it) and one of [`ADDRESSES`]. Nothing is sent yet.
    pub fn new(i2c: I, address: u8) -> Self {
        Sht3x { i2c, address }
    }

    /// Gives the bus back.
    pub fn release(self) -> I {
        self.i2c
    }

    /// Switches the heater off, which an earlier program may have left on. The next command may follow
    /// [`BETWEEN_COMMANDS`] later.
    ///
    /// # Errors
    /// When the chip does not answer or the bus fails.
    pub fn heater_off(&mut self) -> Result<(), Sht3xError> {
        self.i2c.write(self.address, &HEATER_OFF).map_err(|error| failed(self.address, &error))
    }

    /// Begins a measurement; [`Sht3x::collect`] gives it [`MEASURING`] later.
    ///
    /// # Errors
    /// When the chip does not answer or the bus fails.
    pub fn start(&mut self) -> Result<(), Sht3xError> {
        self.i2c.write(self.address, &MEASURE).map_err(|error| failed(self.address, &error))
    }

    /// Fetches the measurement that was begun.
    ///
    /// # Errors
    /// [`Sht3xError::NoAnswer`] also when the measurement is not complete or was never begun; [`Sht3xError::Checksum`]
    /// when either value is damaged: then neither is believed.
    pub fn collect(&mut self) -> Result<Measurement, Sht3xError> {
        let mut bytes = [0; 6];
        self.i2c.read(self.address, &mut bytes).map_err(|error| failed(self.address, &error))?;
        let [t1, t2, t_crc, h1, h2, h_crc] = bytes;
        let temperature = checked([t1, t2], t_crc)?;
        let humidity = checked([h1, h2], h_crc)?;
        Ok(Measurement {
            temperature: hundredths(-4500 + scaled(temperature, 17_500)),
            humidity: hundredths(scaled(humidity, 10_000)),
        })
    }
}

fn failed<E: embedded_hal::i2c::Error>(address: u8, error: &E) -> Sht3xError {
    match error.kind() {
        ErrorKind::NoAcknowledge(
            NoAcknowledgeSource::Address | NoAcknowledgeSource::Data | NoAcknowledgeSource::Unknown,
        ) => Sht3xError::NoAnswer(address),
        kind => Sht3xError::Bus(kind),
    }
}

fn checked(value: [u8; 2], got: u8) -> Result<u16, Sht3xError> {
    let expected = crc(value);
    if got == expected { Ok(u16::from_be_bytes(value)) } else { Err(Sht3xError::Checksum { expected, got }) }
}

/// CRC-8 with polynomial 0x31 and initial value 0xFF (data sheet, table 20).
fn crc(bytes: [u8; 2]) -> u8 {
    bytes.iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x31 })
    })
}

/// `span × raw / 65535`, to the nearest. There are no ties to break: 65535 is odd.
fn scaled(raw: u16, span: i128) -> i128 {
    (2 * span * i128::from(raw) + 65_535) / (2 * 65_535)
}

fn hundredths(mantissa: i128) -> Decimal {
    Decimal { mantissa, exponent: -2 }
}

#[cfg(test)]
mod tests {
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    fn answer(temperature: u16, humidity: u16) -> Vec<u8> {
        let (t, h) = (temperature.to_be_bytes(), humidity.to_be_bytes());
        vec![t[0], t[1], crc(t), h[0], h[1], crc(h)]
    }

    fn collected(bytes: Vec<u8>) -> Result<Measurement, Sht3xError> {
        let mut bus = Mock::new(&[Transaction::read(0x44, bytes)]);
        let measurement = Sht3x::new(&mut bus, 0x44).collect();
        bus.done();
        measurement
    }

    fn texts(temperature: u16, humidity: u16) -> (String, String) {
        let measured = collected(answer(temperature, humidity)).unwrap();
        (measured.temperature.to_string(), measured.humidity.to_string())
    }

    #[test]
    fn the_checksum_is_that_of_the_data_sheet() {
        assert_eq!(crc([0xbe, 0xef]), 0x92, "table 20");
    }

    #[test]
    fn a_measurement_is_begun_and_fetched_with_the_bytes_of_the_data_sheet() {
        let mut bus = Mock::new(&[
            Transaction::write(0x45, vec![0x30, 0x66]),
            Transaction::write(0x45, vec![0x24, 0x00]),
            Transaction::read(0x45, vec![0xbe, 0xef, 0x92, 0xbe, 0xef, 0x92]),
        ]);
        let mut chip = Sht3x::new(&mut bus, 0x45);
        chip.heater_off().unwrap();
        chip.start().unwrap();
        // 0xBEEF is 48879: -45 + 175 * 48879 / 65535 = 85.5226, 100 * 48879 / 65535 = 74.5846.
        let measured = chip.collect().unwrap();
        assert_eq!(measured.temperature.to_string(), "85.52");
        assert_eq!(measured.humidity.to_string(), "74.58");
        bus.done();
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        assert_eq!(texts(0, 0), ("-45.00".to_owned(), "0.00".to_owned()));
        assert_eq!(texts(0xffff, 0xffff), ("130.00".to_owned(), "100.00".to_owned()));
        // 16852 and 16851 lie on the two sides of 0 degrees: 0.00053 and -0.00214.
        assert_eq!(texts(16_852, 0).0, "0.00");
        assert_eq!(texts(16_849, 0).0, "-0.01");
    }

    #[test]
    fn every_raw_value_is_within_half_a_hundredth_of_the_formula() {
        for raw in 0..=u16::MAX {
            // Twice the distance, times 65535: exact in whole numbers.
            let off = |span: i128| (2 * (scaled(raw, span) * 65_535 - span * i128::from(raw))).abs();
            assert!(off(17_500) < 65_535 && off(10_000) < 65_535, "{raw}");
        }
    }

    #[test]
    fn one_damaged_value_makes_both_unbelievable() {
        let mut bytes = answer(30_000, 40_000);
        bytes[5] ^= 0x01;
        let [h1, h2] = 40_000u16.to_be_bytes();
        let expected = crc([h1, h2]);
        assert_eq!(collected(bytes), Err(Sht3xError::Checksum { expected, got: expected ^ 0x01 }));
        // A bus that nobody drives reads as ones: 0xFF is not the checksum of 0xFFFF.
        assert_eq!(collected(vec![0xff; 6]), Err(Sht3xError::Checksum { expected: 0xac, got: 0xff }));
    }

    #[test]
    fn a_chip_that_does_not_acknowledge_is_told_from_a_bus_that_fails() {
        let begun = |kind| {
            let mut bus = Mock::new(&[Transaction::write(0x44, vec![0x24, 0x00]).with_error(kind)]);
            let result = Sht3x::new(&mut bus, 0x44).start();
            bus.done();
            result
        };
        assert_eq!(begun(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)), Err(Sht3xError::NoAnswer(0x44)));
        assert_eq!(begun(ErrorKind::ArbitrationLoss), Err(Sht3xError::Bus(ErrorKind::ArbitrationLoss)));
        assert_eq!(
            Sht3xError::NoAnswer(0x44).to_string(),
            "no SHT3x answers at I2C address 0x44: is it fitted, and is this its bus?"
        );
    }
}
