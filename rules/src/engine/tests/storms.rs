//! Storms: random happenings all over the engine, and what the core must know once all is quiet again.
//!
//! A schedule follows from its seed alone. One that fails is cut down to the shortest one that still fails, and shown;
//! `STORM=17 cargo test -p gatehouse-rules storms` runs that of seed 17 and no other.

use std::fmt::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::happening::{Happening, schedule};
use super::site::setup;
use super::weather::Weather;
use crate::engine::Setup;

/// Seeds of one test; together the four have 10,000.
const SEEDS: u64 = 2_500;

#[test]
fn nothing_is_lost_or_done_twice_in_the_first_storms() {
    storms(0..SEEDS);
}

#[test]
fn nothing_is_lost_or_done_twice_in_the_second_storms() {
    storms(SEEDS..2 * SEEDS);
}

#[test]
fn nothing_is_lost_or_done_twice_in_the_third_storms() {
    storms(2 * SEEDS..3 * SEEDS);
}

#[test]
fn nothing_is_lost_or_done_twice_in_the_fourth_storms() {
    storms(3 * SEEDS..4 * SEEDS);
}

fn storms(seeds: Range<u64>) {
    let site = setup();
    let one: Option<u64> = std::env::var("STORM").ok().map(|seed| seed.parse().unwrap());
    for seed in seeds.filter(|seed| one.is_none_or(|one| one == *seed)) {
        let happenings = schedule(seed);
        if storm(&site, &happenings).is_err() {
            let shortest = shrink(&site, happenings);
            let why = storm(&site, &shortest).unwrap_err();
            panic!("storm {seed}: {why}\nafter {}", list(&shortest));
        }
    }
}

/// One storm and the calm after it; the words of what did not hold.
fn storm(site: &Setup, happenings: &[Happening]) -> Result<(), String> {
    let run = || {
        let mut weather = Weather::new(site);
        for happening in happenings {
            weather.happen(happening);
        }
        weather.calm();
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|why| {
        let text = why.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
    })
}

/// The shortest beginning that fails, without those happenings that do not matter.
fn shrink(site: &Setup, mut happenings: Vec<Happening>) -> Vec<Happening> {
    let fails = |happenings: &[Happening]| storm(site, happenings).is_err();
    if let Some(end) = (0..happenings.len()).find(|end| fails(&happenings[..*end])) {
        happenings.truncate(end);
    }
    for at in (0..happenings.len()).rev() {
        let mut fewer = happenings.clone();
        fewer.remove(at);
        if fails(&fewer) {
            happenings = fewer;
        }
    }
    happenings
}

fn list(happenings: &[Happening]) -> String {
    let mut text = format!("{} happenings:", happenings.len());
    for happening in happenings {
        write!(text, "\n  {happening:?}").unwrap();
    }
    text
}

#[test]
fn a_schedule_follows_from_its_seed_and_is_bounded() {
    for seed in 0..100 {
        let happenings = schedule(seed);
        assert_eq!(list(&happenings), list(&schedule(seed)));
        assert!((8..=24).contains(&happenings.len()));
    }
}
