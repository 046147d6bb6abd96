//! Stories of registers: what is flagged, what stays flagged, and what a restart forgets.

use super::*;

fn rig() -> Rig {
    Rig::new(vec![meter(0)], Vec::new())
}

fn serial(text: &str) -> PointReading {
    PointReading::new(SERIAL, Ok(Value::Text(text.into())))
}

fn energy(value: &str) -> PointReading {
    PointReading::new(ENERGY, Ok(Value::Decimal(dec(value))))
}

#[test]
fn a_step_back_is_flagged_for_as_long_as_it_lasts_and_ends_by_itself() {
    let mut rig = rig();
    assert_eq!(rig.poll(0, "100.00"), []);
    rig.minutes(1);
    assert_eq!(rig.poll(0, "99.50"), [Flag::Regression]);
    assert_eq!(rig.poll(0, "99.60"), [Flag::Regression], "compared with the last one that counted");
    assert!(rig.raised("meter_regression/meter-0"));
    assert!(!rig.raised("meter_swapped/meter-0"));
    assert_eq!(rig.poll(0, "100.10"), []);
    // The other register was not read yet, so that nobody can say that nothing is wrong.
    let other = PointReading::new(PointIx(1), Ok(Value::Decimal(dec("5.00"))));
    assert!(rig.raised("meter_regression/meter-0"));
    rig.poll_with(0, vec![energy("100.20"), other]);
    assert!(!rig.raised("meter_regression/meter-0"));
}

#[test]
fn a_rollover_goes_on_and_is_carried() {
    let mut rig = rig();
    rig.poll(0, "999999.50");
    assert_eq!(rig.poll(0, "0.25"), [Flag::Rollover]);
    assert_eq!(rig.poll(0, "0.75"), []);
    let standing = rig.billing.standing(DeviceIx(0));
    let taken = standing[0].1.clone().unwrap();
    assert_eq!((taken.value, taken.carried), (dec("0.75"), dec("1000000")));
}

#[test]
fn a_value_that_breaks_after_silence_is_another_meter_s() {
    let mut rig = rig();
    rig.poll(0, "5000.00");
    rig.poll_with(0, vec![PointReading::new(ENERGY, Err(NoData::Timeout))]);
    assert_eq!(rig.poll(0, "12.00"), [Flag::Reset, Flag::Swapped]);
    assert!(rig.raised("meter_swapped/meter-0") && rig.raised("meter_reset/meter-0"));
    rig.billing.handle_device_state(DeviceIx(0), false);
    assert_eq!(rig.poll(0, "5000.10"), [], "the old one again");
}

#[test]
fn another_serial_number_flags_every_reading_whatever_it_says() {
    let mut rig = rig();
    assert_eq!(rig.poll_with(0, vec![energy("100.00"), serial("001001")]), [], "zeros before it are none");
    assert_eq!(rig.poll_with(0, vec![energy("100.10"), serial("2002")]), [Flag::Swapped]);
    assert_eq!(rig.poll(0, "100.20"), [Flag::Swapped], "until the serial point says otherwise");
    let missing = PointReading::new(SERIAL, Err(NoData::Timeout));
    assert_eq!(rig.poll_with(0, vec![energy("100.20"), missing]), [Flag::Swapped], "missing data clears nothing");
    assert_eq!(rig.poll_with(0, vec![energy("100.30"), serial("1001")]), []);
}

#[test]
fn a_restart_remembers_where_registers_stood() {
    let mut rig = rig();
    rig.poll(0, "100.00");
    rig.minutes(6);
    let later = Wall(rig.now.wall.0 + 3_600_000_000);
    rig.restart(later, Trust::Unset);
    assert_eq!(rig.poll(0, "90.00"), [Flag::Regression, Flag::Swapped], "nobody saw what happened meanwhile");
    assert!(rig.raised("meter_regression/meter-0"));
    // A flag is kept at once: a rollover just before a kill is not carried twice.
    let mut rig = self::rig();
    rig.poll(0, "999999.50");
    rig.poll(0, "0.25");
    rig.restart(rig.now.wall, Trust::Synchronised);
    assert_eq!(rig.poll(0, "0.30"), []);
    assert_eq!(rig.billing.standing(DeviceIx(0))[0].1.clone().unwrap().carried, dec("1000000"));
}

#[test]
fn registers_are_kept_together_and_seldom() {
    let mut rig = rig();
    let mut writes = 0;
    for step in 0..60 {
        let before = rig.journal.get("billing/state/meter-0").cloned();
        rig.poll(0, &format!("{}.00", 100 + step));
        rig.minutes(1);
        writes += u32::from(rig.journal.get("billing/state/meter-0") != before.as_ref());
    }
    assert!((10..=12).contains(&writes), "{writes} in an hour");
}
