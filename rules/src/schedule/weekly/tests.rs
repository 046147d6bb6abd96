use super::super::calendar::{CalendarSpec, DayKind, Holiday};
use super::super::zone::wall;
use super::*;
use jiff::civil::date;
use proptest::prelude::*;

/// January 2027: a holiday from Friday 1 to Sunday 3, worked on Sunday 10, a holiday on Wednesday 13.
fn calendar() -> Calendar {
    let holiday = |first, last| Holiday { name: "x".into(), first, last };
    Calendar::new(CalendarSpec {
        name: "test".into(),
        version: "1".into(),
        first: date(2027, 1, 1),
        last: date(2027, 12, 31),
        holidays: vec![holiday(date(2027, 1, 1), date(2027, 1, 3)), holiday(date(2027, 1, 13), date(2027, 1, 13))],
        workdays: vec![date(2027, 1, 10)],
    })
    .unwrap()
}

fn weekly(text: &str) -> Weekly {
    text.parse().unwrap()
}

fn holds(text: &str, day: i8, hour: i8, minute: i8) -> bool {
    weekly(text).contains(date(2027, 1, day).at(hour, minute, 59, 0), &calendar())
}

#[test]
fn a_span_begins_with_its_first_minute_and_ends_before_its_last() {
    let open = "mon-fri 08:00-18:00";
    assert_eq!([(7, 59), (8, 0), (17, 59), (18, 0)].map(|(h, m)| holds(open, 4, h, m)), [false, true, true, false]);
    assert!(holds("daily 00:00-24:00", 4, 23, 59) && holds("daily 00:00-24:00", 5, 0, 0));
}

#[test]
fn a_span_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let night = "thu 22:00-06:00; holiday 12:00-13:00";
    assert!(!holds(night, 7, 5, 0), "the night of Wednesday");
    assert!(holds(night, 7, 23, 0) && holds(night, 8, 5, 59) && !holds(night, 8, 6, 0));
    let eve = "tue 22:00-06:00; holiday 12:00-13:00";
    assert!(holds(eve, 13, 5, 0), "it goes on into the holiday");
}

#[test]
fn weekday_names_follow_the_weekday_and_classes_follow_the_calendar() {
    // Sunday 10 is worked, Saturday 9 is not.
    assert!(!holds("mon-fri 08:00-18:00", 10, 9, 0), "a Sunday that is worked is still a Sunday");
    assert!(holds("sun 08:00-18:00", 10, 9, 0));
    assert!(holds("workday 08:00-18:00", 10, 9, 0) && !holds("restday 08:00-18:00", 10, 9, 0));
    assert!(!holds("workday 08:00-18:00", 9, 9, 0) && holds("restday 08:00-18:00", 9, 9, 0));
}

#[test]
fn a_holiday_has_times_of_its_own_only_where_the_schedule_names_it() {
    // Wednesday 13 is a holiday.
    assert!(holds("mon-fri 08:00-18:00", 13, 9, 0), "without a word on holidays it is a Wednesday");
    assert!(!holds("mon-fri 08:00-18:00; holiday 10:00-12:00", 13, 9, 0));
    assert!(holds("mon-fri 08:00-18:00; holiday 10:00-12:00", 13, 10, 0));
    assert!(!holds("workday 08:00-18:00", 13, 9, 0) && holds("restday 08:00-18:00", 13, 9, 0));
    assert!(!holds("restday 08:00-18:00; holiday 10:00-12:00", 13, 9, 0));
    assert!(holds("mon-fri,holiday 08:00-18:00", 13, 9, 0));
}

#[test]
fn the_next_change_is_found_across_days_and_holidays() {
    let next = |text: &str, day, hour| {
        weekly(text).next_change(date(2027, 1, day).at(hour, 0, 30, 0), &calendar()).map(|at| at.to_string())
    };
    assert_eq!(next("mon-fri 08:00-18:00", 8, 9).unwrap(), "2027-01-08T18:00:00");
    assert_eq!(next("mon-fri 08:00-18:00", 8, 18).unwrap(), "2027-01-11T08:00:00");
    assert_eq!(next("daily 00:00-24:00; holiday 10:00-12:00", 11, 9).unwrap(), "2027-01-13T00:00:00");
    assert_eq!(next("holiday 00:00-24:00", 4, 0).unwrap(), "2027-01-13T00:00:00");
    assert_eq!(next("daily 00:00-24:00", 4, 0), None);
    assert_eq!(next("daily 20:00-08:00; daily 08:00-20:00", 4, 0), None, "spans that join are one");
}

#[test]
fn the_hour_that_comes_twice_is_judged_alike_both_times_and_nobody_oversleeps_it() {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let (schedule, calendar) = (weekly("daily 02:20-02:40"), Calendar::weekdays_only());
    let start = wall(date(2027, 10, 31).at(0, 0, 0, 0), &zone).unwrap();
    let (mut at, mut seen) = (start, Vec::new());
    while seen.len() < 6 {
        seen.push(((at.0 - start.0) / 60_000_000, schedule.contains(local(at, &zone), &calendar)));
        at = schedule.steady_until(at, &zone, &calendar).unwrap();
    }
    let second = 60 + 140;
    let expected = [(0, false), (140, true), (160, false), (180, false), (second, true), (second + 20, false)];
    assert_eq!(seen, expected, "minutes since midnight");
}

#[test]
fn a_mistake_in_a_schedule_is_told_with_the_span_that_has_it() {
    let error = |text: &str| text.parse::<Weekly>().unwrap_err().to_string();
    let shape = "a span is written DAYS FROM-TO, for example mon-fri 08:00-18:00";
    assert_eq!(error("mon-fri"), format!("\"mon-fri\": {shape}"));
    assert_eq!(error("daily 1:00-2:00; x"), error("daily 1:00-2:00"), "the first one is told");
    let times = "write 00:00 to 23:59, or 24:00 as an end";
    assert_eq!(error("sat 8:00-10:00"), format!("\"sat 8:00-10:00\": \"8:00\" is no time of day: {times}"));
    assert_eq!(error("sat 08:00-24:01"), format!("\"sat 08:00-24:01\": \"24:01\" is no time of day: {times}"));
    assert_eq!(error("sat 24:00-10:00"), format!("\"sat 24:00-10:00\": \"24:00\" is no time of day: {times}"));
    let whole = "it ends when it begins: write 00:00-24:00 for the whole day";
    assert_eq!(error("sat 00:00-00:00"), format!("\"sat 00:00-00:00\": {whole}"));
    assert!(error("mon-fri 08:00-18:00; satt 10:00-14:00").contains("did you mean \"sat\""));
    assert_eq!(error(" ; "), "a schedule has at least one span, for example daily 00:00-24:00");
    let many = vec!["daily 01:00-02:00"; 65].join(";");
    assert_eq!(error(&many), "65 spans are more than the 64 that a schedule may have");
}

#[test]
fn a_schedule_as_a_document_is_its_text() {
    let schedule = weekly("mon,tue,wed 08:00-18:00;daily 22:00-00:00");
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(json, "\"mon-wed 08:00-18:00; daily 22:00-24:00\"");
    assert_eq!(serde_json::from_str::<Weekly>(&json).unwrap(), schedule);
    assert!(serde_json::from_str::<Weekly>("\"\"").is_err());
}

/// One span as the model knows it: which of the ten names, from, to.
type ModelSpan = ([bool; 10], u16, u16);

fn spans() -> impl Strategy<Value = Vec<ModelSpan>> {
    let minute = prop_oneof![Just(0u16), 0u16..1440, (0u16..24).prop_map(|hour| hour * 60)];
    let one = (any::<[bool; 10]>(), minute.clone(), prop_oneof![minute, Just(1440)]);
    let sound = one.prop_filter("a span", |(days, from, to)| days.contains(&true) && from != to);
    prop::collection::vec(sound, 1..6)
}

/// Marks every minute of the 16 days from 31 December 2026, one after the other.
fn model(spans: &[ModelSpan], calendar: &Calendar) -> Vec<bool> {
    let own_times = spans.iter().any(|(days, _, _)| days[9]);
    let mut minutes = vec![false; 18 * 1440];
    for day in 0..16usize {
        let date = date(2026, 12, 31).checked_add(jiff::Span::new().days(i64::try_from(day).unwrap())).unwrap();
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap();
        for (days, from, to) in spans {
            let applies = match calendar.kind_of(date) {
                DayKind::Holiday if own_times => days[9],
                DayKind::Work => days[weekday] || days[7],
                DayKind::Rest | DayKind::Holiday => days[weekday] || days[8],
            };
            if applies {
                let mut minute = usize::from(*from);
                loop {
                    minutes[day * 1440 + minute] = true;
                    minute += 1;
                    if minute % 1440 == usize::from(*to) % 1440 {
                        break;
                    }
                }
            }
        }
    }
    minutes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_minute_is_as_a_plain_model_says(spans in spans()) {
        let calendar = calendar();
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "workday", "restday", "holiday"];
        let texts = spans.iter().map(|(days, from, to)| {
            let named: Vec<_> = names.iter().zip(days).filter(|(_, on)| **on).map(|(name, _)| *name).collect();
            format!("{} {}-{}", named.join(","), clock(*from), clock(*to))
        });
        let schedule = weekly(&texts.collect::<Vec<_>>().join("; "));
        prop_assert_eq!(&weekly(&schedule.to_string()), &schedule);

        let expected = model(&spans, &calendar);
        let start = date(2026, 12, 31).at(0, 0, 0, 0);
        let at = |minute: usize| start + jiff::Span::new().minutes(i64::try_from(minute).unwrap());
        let watched = 1440..16 * 1440;
        let mut changes = Vec::new();
        for minute in watched.clone() {
            prop_assert_eq!(schedule.contains(at(minute), &calendar), expected[minute], "{} at {}", schedule, at(minute));
            if minute > watched.start && expected[minute] != expected[minute - 1] {
                changes.push(at(minute));
            }
        }
        let mut found = Vec::new();
        let mut next = schedule.next_change(at(watched.start), &calendar);
        while let Some(change) = next.filter(|change| *change < at(watched.end)) {
            found.push(change);
            next = schedule.next_change(change, &calendar);
        }
        prop_assert_eq!(found, changes);
    }
}
