//! The order of what is tried.

use crate::dlt645::Edition;
use crate::line::settings::Parity;
use crate::point::Protocol;
use crate::scan::patience::{Pace, Patience};
use crate::scan::plan::{Attempt, Round};
use crate::scan::usual::characters;
use crate::scan::{Channel, Options, Plan};

fn order(options: &Options) -> Vec<Attempt> {
    let mut plan = Plan::new(Channel::Serial, options);
    let patience = Patience::default();
    let mut port = None;
    std::iter::from_fn(|| {
        let next = plan.next(port, &patience)?;
        port = next.characters;
        Some(next)
    })
    .collect()
}

#[test]
fn the_factory_settings_of_each_protocol_come_first_and_each_question_once() {
    let all = order(&Options::default());
    let first: Vec<(Protocol, Option<u32>)> =
        all.iter().take(4).map(|one| (one.round.protocol(), one.characters.map(|line| line.baud))).collect();
    assert!(first.contains(&(Protocol::Modbus, Some(9600))), "{first:?}");
    assert!(first.contains(&(Protocol::Dlt645(Edition::V2007), Some(2400))), "{first:?}");
    let at_9600 = Some(characters(9600, Parity::None));
    for unit in 1..=247u8 {
        for pace in [Pace::Fast, Pace::Slow] {
            let asks = |one: &&Attempt| {
                one.characters == at_9600
                    && one.pace == pace
                    && matches!(&one.round, Round::Modbus(units) if units.contains(&unit))
            };
            assert_eq!(all.iter().filter(asks).count(), 1, "unit {unit}, {pace:?}");
        }
    }
}

#[test]
fn what_the_caller_knows_is_all_that_is_tried() {
    let options = Options { protocols: vec![Protocol::Modbus], bauds: vec![19200], addresses: Some((5, 12)) };
    for attempt in order(&options) {
        let Round::Modbus(units) = &attempt.round else { panic!("{attempt:?}") };
        assert!(units.iter().all(|unit| (5..=12).contains(unit)), "{attempt:?}");
        assert_eq!(attempt.characters.map(|line| line.baud), Some(19200));
    }
}

#[test]
fn the_highest_speed_of_readers_is_tried_when_it_is_asked_for() {
    let bauds = |options: &Options| -> Vec<u32> {
        order(options).iter().filter_map(|one| one.characters.map(|line| line.baud)).collect()
    };
    let readers = Options { protocols: vec![Protocol::Osdp], ..Options::default() };
    assert!(bauds(&readers).contains(&230_400));
    assert!(bauds(&Options { bauds: vec![230_400], ..Options::default() }).contains(&230_400));
    assert!(!bauds(&Options::default()).contains(&230_400));
}

#[test]
fn low_units_at_usual_settings_are_waited_for_longest_once_the_rest_of_them_was_asked() {
    let all = order(&Options::default());
    let at = |line, pace| {
        let asks = move |one: &Attempt| {
            one.characters == Some(line)
                && one.pace == pace
                && matches!(&one.round, Round::Modbus(units) if units.contains(&32))
        };
        all.iter().position(asks)
    };
    for line in [characters(9600, Parity::None), characters(19200, Parity::Even)] {
        let patient = at(line, Pace::Patient);
        assert!(patient.is_some() && patient > at(line, Pace::Slow), "{line}");
    }
    assert_eq!(at(characters(1200, Parity::None), Pace::Patient), None);
}

#[test]
fn each_speed_is_listened_at_once_and_the_likeliest_first() {
    let listened = Plan::new(Channel::Serial, &Options::default()).listened();
    assert_eq!(listened.first().copied().flatten().map(|line| line.baud), Some(2400));
    let mut bauds: Vec<u32> = listened.iter().flatten().map(|line| line.baud).collect();
    bauds.sort_unstable();
    assert_eq!(bauds, [1200, 2400, 4800, 9600, 19200, 38400, 57600, 115_200]);
}
