use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

use super::*;

/// 2026-11-23T16:20:45Z, a Monday: seconds since 1970 from `date -u -d 2026-11-23T16:20:45Z +%s`.
const MONDAY: Wall = Wall(1_795_450_845_000_000);
const MONDAY_REGISTERS: [u8; 7] = [0x45, 0x20, 0x16, 0x01, 0x23, 0x11, 0x26];

fn chip(date: [u8; 7], status: u8) -> Vec<u8> {
    let mut registers = vec![0; 16];
    registers[..7].copy_from_slice(&date);
    registers[14] = 0x1c; // the control register's value at first power (data sheet, "Control Register")
    registers[15] = status;
    registers
}

fn read(date: [u8; 7], status: u8) -> Result<RtcReading, Ds3231Error> {
    let mut mock = Mock::new(&[Transaction::write_read(0x68, vec![0x00], chip(date, status))]);
    let reading = Ds3231::new(&mut mock).read();
    mock.done();
    reading
}

#[test]
fn a_running_chip_gives_a_free_running_time() {
    assert_eq!(read(MONDAY_REGISTERS, 0x08), Ok(RtcReading { wall: MONDAY, trust: Trust::FreeRunning }));
}

#[test]
fn a_stopped_oscillator_makes_the_time_unset() {
    assert_eq!(read(MONDAY_REGISTERS, 0x88), Ok(RtcReading { wall: MONDAY, trust: Trust::Unset }));
}

#[test]
fn a_chip_that_was_never_set_is_unset_whatever_it_holds() {
    let reading = read([0xff; 7], 0x80).unwrap();
    assert_eq!(reading.trust, Trust::Unset);
}

#[test]
fn twelve_hour_form_is_understood() {
    let at = |hour: u8| {
        let mut date = MONDAY_REGISTERS;
        date[2] = hour;
        read(date, 0).unwrap().wall.0 - MONDAY.0
    };
    let hour = 3_600_000_000;
    assert_eq!(at(0x64), 0, "4 p.m.");
    assert_eq!(at(0x44), -12 * hour, "4 a.m.");
    assert_eq!(at(0x52), -16 * hour, "12 a.m. is midnight");
    assert_eq!(at(0x72), -4 * hour, "12 p.m. is noon");
}

#[test]
fn the_century_bit_changes_nothing() {
    let mut date = MONDAY_REGISTERS;
    date[5] |= 0x80;
    assert_eq!(read(date, 0).unwrap().wall, MONDAY);
}

#[test]
fn registers_that_are_no_date_are_named() {
    for (register, value) in
        [(0, 0x6a), (0, 0x60), (1, 0x7f), (2, 0x24), (2, 0x40), (4, 0x31), (4, 0x00), (5, 0x13), (6, 0xa0)]
    {
        let mut date = MONDAY_REGISTERS;
        date[usize::from(register)] = value;
        assert_eq!(read(date, 0), Err(Ds3231Error::NotADate { register, value }));
    }
}

#[test]
fn setting_writes_the_date_then_clears_the_stop_flag_and_keeps_the_other_flags() {
    let mut mock = Mock::new(&[
        Transaction::write(0x68, [&[0x00][..], &MONDAY_REGISTERS].concat()),
        Transaction::write_read(0x68, vec![0x0e], vec![0x9c, 0x8b]),
        Transaction::write(0x68, vec![0x0e, 0x1c, 0x0b]),
    ]);
    assert_eq!(Ds3231::new(&mut mock).set(Wall(MONDAY.0 + 499_999)), Ok(()));
    mock.done();
}

#[test]
fn a_bus_that_fails_half_way_leaves_the_stop_flag_set() {
    let refused = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Data);
    let mut mock =
        Mock::new(&[Transaction::write(0x68, [&[0x00][..], &MONDAY_REGISTERS].concat()).with_error(refused)]);
    assert_eq!(Ds3231::new(&mut mock).set(MONDAY), Err(Ds3231Error::Bus(refused)));
    mock.done();
}

#[test]
fn a_missing_chip_is_told_from_a_failing_bus() {
    let read = |kind| {
        let mut mock = Mock::new(&[Transaction::write_read(0x68, vec![0x00], vec![0; 16]).with_error(kind)]);
        let error = Ds3231::new(&mut mock).read();
        mock.done();
        error
    };
    assert_eq!(read(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)), Err(Ds3231Error::Missing));
    assert_eq!(read(ErrorKind::ArbitrationLoss), Err(Ds3231Error::Bus(ErrorKind::ArbitrationLoss)));
    assert_eq!(
        Ds3231Error::Missing.to_string(),
        "no clock chip answers at I2C address 0x68: is a DS3231 fitted, and is this its bus?"
    );
}

#[test]
fn times_that_the_chip_cannot_hold_are_refused_before_anything_is_sent() {
    for seconds in [FIRST_SECOND - 1, END_SECOND] {
        let mut mock = Mock::new(&[]);
        let wall = Wall(seconds * 1_000_000);
        assert_eq!(Ds3231::new(&mut mock).set(wall), Err(Ds3231Error::OutOfRange(wall)));
        mock.done();
    }
}

#[test]
fn every_day_of_the_century_survives_the_chip() {
    for day in FIRST_SECOND / DAY_SECONDS..END_SECOND / DAY_SECONDS {
        let wall = Wall((day * DAY_SECONDS + day * 7919 % DAY_SECONDS) * 1_000_000);
        let mut registers = [0; 16];
        registers[..7].copy_from_slice(&encode(wall).unwrap());
        assert_eq!(decode(&registers), Ok(wall));
    }
}

#[test]
fn dates_around_leap_days_are_those_of_the_calendar() {
    // Seconds from `date -u -d DATE +%s`; the registers are the digits of the date.
    for (seconds, date, month, year) in [
        (951_782_400, 0x29, 0x02, 0x00),   // 2000-02-29
        (951_868_800, 0x01, 0x03, 0x00),   // 2000-03-01
        (978_220_800, 0x31, 0x12, 0x00),   // 2000-12-31
        (978_307_200, 0x01, 0x01, 0x01),   // 2001-01-01
        (1_077_926_400, 0x28, 0x02, 0x04), // 2004-02-28
        (4_102_358_400, 0x31, 0x12, 0x99), // 2099-12-31
    ] {
        let registers = encode(Wall(seconds * 1_000_000)).unwrap();
        assert_eq!((registers[4], registers[5], registers[6]), (date, month, year));
    }
}
