//! A month of a random life beside a small model: whatever is swapped, rolls over or is cut off, the account says what was
//! used, or says that it cannot tell.

use super::*;

/// The meter rolls over at 1000.00.
const END: i128 = 100_000;

struct Model {
    /// Hundredths that the meter shows.
    shows: i128,
    ratio: i128,
    serial: u32,
    /// Hundredths that were used since the month began, times the ratio of their time.
    used: i128,
}

fn text(hundredths: i128) -> String {
    Decimal { mantissa: hundredths, exponent: -2 }.to_string()
}

fn given(hundredths: i128) -> BTreeMap<String, Given> {
    let value = Decimal { mantissa: hundredths, exponent: -2 };
    BTreeMap::from([("energy".to_owned(), Given { value, live: true })])
}

fn swap(rig: &mut Rig, model: &mut Model, rng: &mut fastrand::Rng) {
    let read = rng.bool();
    let mut order = Swap {
        who: "Wang".to_owned(),
        reason: "model".to_owned(),
        serial: model.serial.to_string(),
        multiplier: None,
        closing: if read { given(model.shows) } else { BTreeMap::new() },
        opening: BTreeMap::new(),
    };
    if rng.u8(..3) == 0 {
        // Another ratio of the same meter.
        let next = model.ratio % 50 + 1;
        (model.ratio, order.multiplier) = (next, Some(next.to_string()));
    } else {
        model.serial += 1;
        model.shows = rng.i128(0..END);
        order.serial = model.serial.to_string();
        order.opening = if read { given(model.shows) } else { BTreeMap::new() };
    }
    rig.billing.swap(rig.now, "meter-0", &order, "uid:0").unwrap();
    rig.follow();
    rig.show(0, &text(model.shows));
    assert_eq!(rig.poll(0, &text(model.shows)), []);
}

#[test]
fn the_segments_of_a_month_add_up_to_what_was_used() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed + 230);
        let mut spec = meter(0);
        (spec.serial, spec.multiplier) = (Some("1".to_owned()), Some(dec("30")));
        (spec.registers[0].rollover, spec.registers[0].max_per_hour) = (Some(dec("1000")), Some(dec("40")));
        let mut rig = Rig::new(vec![spec], vec![daily(1)]);
        let mut model = Model { shows: rng.i128(0..END), ratio: 30, serial: 1, used: 0 };
        let (mut swaps, mut rolled) = (0, false);
        for hour in 0..43 * 24 {
            let time = Wall(at("2026-11-20T12:30:00").0 + hour * 3_600_000_000);
            rig.run_until(time);
            let step = rng.i128(0..3000);
            rolled |= model.shows + step >= END;
            model.shows = (model.shows + step) % END;
            if (at("2026-12-01T00:00:00")..at("2027-01-01T00:00:00")).contains(&time) {
                model.used += step * model.ratio;
            }
            rig.show(0, &text(model.shows));
            // A poll may fail; for at most some hours, so that the meter cannot go round unseen.
            if rng.u8(..4) > 0 {
                let flags = rig.poll(0, &text(model.shows));
                assert!(flags.iter().all(|flag| *flag == Flag::Rollover), "seed {seed}: {flags:?}");
            }
            if rng.u16(..150) == 0 {
                rig.poll(0, &text(model.shows));
                swap(&mut rig, &mut model, &mut rng);
                swaps += 1;
            }
            if rng.u16(..60) == 0 {
                let later = Wall(rig.now.wall.0 + rng.i64(0..400_000_000));
                rig.restart(later, Trust::Synchronised);
            }
        }
        rig.run_until(at("2027-01-02T00:30:00"));
        let books = rig.books();
        let account = statement(&books, &shanghai(), "2026-12", None).unwrap();
        let line = &account.lines[0];
        let what = format!("seed {seed}, {swaps} swaps, rolled over: {rolled}: {:#?}", line.segments);
        let told = line.consumption.unwrap_or_else(|| panic!("{what}"));
        assert!(told.same_number(Decimal { mantissa: model.used, exponent: -2 }), "{told}, {}: {what}", model.used);
        assert_eq!(account.complete.0, 31);
    }
}
