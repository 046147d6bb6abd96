//! Ages and qualities, and when they change by themselves.

use gatehouse_core::{Mono, NoData, Value};
use proptest::prelude::*;

use super::{Site, compiled, decimal};
use crate::expr::Outcome::{False, Missing, True};

#[test]
fn an_age_counts_from_the_last_reading_that_had_a_value() {
    let site = Site::new().with("voltage_l1", decimal("230.0")).after(20_000).without("voltage_l1", NoData::Timeout);
    assert_eq!(site.says("age(\"voltage_l1\") > 19.5 && age(\"voltage_l1\") <= 20"), True);
    assert_eq!(site.says("age(\"meter-101\", \"voltage_l1\") == 20"), True);
    assert_eq!(site.says("20 >= age(\"voltage_l1\") && 20 <= age(\"voltage_l1\") && 20 == age(\"voltage_l1\")"), True);
    assert_eq!(site.says("20 > age(\"voltage_l1\") || 20 < age(\"voltage_l1\") || 20 != age(\"voltage_l1\")"), False);
    assert_eq!(site.says("30 < age(\"voltage_l1\") + 15"), True);
    assert_eq!(site.says("age(\"voltage_l1\") < -1"), False);
}

#[test]
fn a_point_that_never_had_a_value_is_at_least_as_old_as_the_watch() {
    let missing = Missing("meter-101 relay: never had a value".to_owned());
    let site = Site::new().without("relay", NoData::Timeout);
    assert_eq!(site.says("age(\"relay\") > 59.9"), True);
    assert_eq!(site.says("age(\"relay\") >= 60"), True);
    assert_eq!(site.says("age(\"relay\") > 60"), missing);
    assert_eq!(site.says("age(\"relay\") < 60"), False);
    assert_eq!(site.says("age(\"relay\") < 61"), missing, "no data is not fresh data");
    assert_eq!(site.says("age(\"relay\") == 61"), missing);
    assert_eq!(site.says("age(\"relay\") != 59"), True);
}

#[test]
fn a_quality_is_stale_after_three_intervals_and_at_least_ten_seconds() {
    let fast = "quality(\"voltage_l1\")";
    let slow = "quality(\"meter-101\", \"current_l1\")";
    let is = |site: &Site, quality: &str, word: &str| site.says(&format!("{quality} == \"{word}\"")) == True;
    let site = Site::new();
    assert!(is(&site, fast, "bad"), "never read");
    let site = site.with("voltage_l1", decimal("230.0")).with("current_l1", Value::F32(1.0));
    assert!(is(&site, fast, "good") && is(&site, slow, "good"));
    let site = site.after(10_000);
    assert!(is(&site, fast, "good") && is(&site, slow, "good"));
    let site = site.after(1);
    assert!(is(&site, fast, "stale") && is(&site, slow, "good"));
    let site = site.after(170_000);
    assert!(is(&site, slow, "stale"));
    assert!(is(&site.without("current_l1", NoData::BusDown), slow, "bad"));
}

#[test]
fn a_condition_is_woken_at_its_thresholds() {
    let site = Site::new().with("voltage_l1", decimal("230.0")).after(4_000);
    let after = |ns: u64| Some(Mono(site.now.0 + ns));
    let wake = |source: &str| compiled(source).changes_at(&site);
    assert_eq!(wake("voltage_l1 > 250"), None);
    assert_eq!(wake("age(\"voltage_l1\") >= 10"), after(6_000_000_000));
    assert_eq!(wake("age(\"voltage_l1\") < 3"), None, "it has passed");
    assert_eq!(wake("age(\"voltage_l1\") > 4"), after(1));
    assert_eq!(wake("age(\"voltage_l1\") > 100 || quality(\"voltage_l1\") != \"good\""), after(6_000_000_001));
    assert_eq!(wake("quality(\"relay\") == \"bad\""), None);
    assert_eq!(wake("age(\"voltage_l1\") - 2 > 100"), after(1_000_000_000));
    assert_eq!(wake("age(\"relay\") - 2 > 100"), None);
    assert_eq!(wake("age(\"relay\") > 100"), after(36_000_000_000), "it was watched for 64 s");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_changes_before_the_instant_that_was_told(
        parts in prop::collection::vec((prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]), prop::sample::select(vec!["voltage_l1", "relay"]), 0u32..40), 1..4),
        quality in prop::option::of(prop::sample::select(vec!["good", "stale", "bad"])),
        age_ms in prop::option::of(0u64..40_000),
        without_value: bool,
    ) {
        let mut source: Vec<String> = parts
            .iter()
            .map(|(sign, point, limit)| format!("(age(\"{point}\") {sign} {limit})"))
            .collect();
        source.extend(quality.map(|word| format!("(quality(\"voltage_l1\") == \"{word}\")")));
        let expr = compiled(&source.join(" != "));
        let mut site = Site::new();
        if let Some(ms) = age_ms {
            site = site.with("voltage_l1", decimal("230.0")).after(ms);
        }
        if without_value {
            site = site.without("voltage_l1", NoData::Timeout);
        }
        // Step from change to change; between two of them the outcome must stay.
        for _ in 0..20 {
            let outcome = expr.evaluate(&site);
            let Some(next) = expr.changes_at(&site) else {
                let later = site.clone().after(3_600_000);
                prop_assert_eq!(expr.evaluate(&later), outcome);
                return Ok(());
            };
            prop_assert!(next > site.now);
            for share in [1, 2, 3, 4] {
                let between = Mono(site.now.0 + (next.0 - 1 - site.now.0) / 4 * share);
                prop_assert_eq!(&expr.evaluate(&Site { now: between, ..site.clone() }), &outcome);
            }
            prop_assert_eq!(&expr.evaluate(&Site { now: Mono(next.0 - 1), ..site.clone() }), &outcome);
            site.now = next;
        }
        prop_assert!(false, "it never comes to rest: {:?}", source);
    }
}

#[test]
fn an_age_beyond_all_time_is_only_never_reached() {
    let site = Site::new().with("relay", Value::Bool(true)).after(1_000);
    assert_eq!(site.says("age(\"relay\") > 1e300"), False);
    assert_eq!(
        compiled("age(\"relay\") > 1e300").changes_at(&site),
        Some(Mono(site.now.0 - 1_000_000_000 + (1 << 63) - 1))
    );
}
