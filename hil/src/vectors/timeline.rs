//! The `prometheus` and `flood` lists of `alarm-scenarios/1`: alarms against a clock that steps.

use std::time::Duration;

use gatehouse_core::{Mono, Stamp};
use gatehouse_rules::alarm::{AlarmSource, AlarmSpec, Alarms, MAX_ALARMS, Truth};
use gatehouse_rules::words::{AlarmId, Priority};
use gatehouse_rules::{Catalog, Effect};
use serde_json::{Value, json};

use super::{Bench, Outcome, list};

/// The class of all alarms here.
const CLASS: &str = "scenario";
/// When a scenario's time 0 is: on the grid of floods, and longer after boot than any window reaches back.
const ZERO: Duration = Duration::from_secs(36_000);
/// How long after its last alarm a flood is watched: longer than its window.
const AFTERWARDS: Duration = Duration::from_secs(3600);
/// The latest second that a scenario may name: a year, so that no file keeps the runner busy for ever.
const LAST_S: f64 = 366.0 * 86_400.0;

/// One alert with its `for` and `keep_firing_for`, evaluated at the listed instants and at no other.
pub(super) fn run_delays(_: &Bench, case: &Value) -> Outcome {
    let mut spec = AlarmSpec::new(CLASS, Priority::P2);
    (spec.on_delay, spec.off_delay) = (optional(case, "for_s")?, optional(case, "keep_firing_for_s")?);
    let step = seconds(&case["step_s"]).ok_or("step_s is no number of seconds")?;
    let (conditions, states) = (list(case, "condition")?, list(case, "state_after_eval")?);
    if conditions.len() != states.len() {
        let (conditions, states) = (conditions.len(), states.len());
        return Err(format!("it has {conditions} conditions and {states} states: one state after each evaluation"));
    }
    let id = source(1);
    let mut alarms = alarms(spec, 1)?;
    let mut at = Duration::ZERO;
    for (number, (condition, right)) in (1..).zip(conditions.iter().zip(states)) {
        let truth = truth(condition).ok_or_else(|| format!("condition {number} is {condition}, not 0 or 1"))?;
        alarms.handle_truth(stamp(at), &id, truth, String::new);
        alarms.handle_timeout(stamp(at));
        let view = alarms.view(&id).ok_or("the machine does not know its alarm")?;
        let got = match (view.active, view.pending) {
            (true, _) => "firing",
            (false, true) => "pending",
            (false, false) => "inactive",
        };
        if *right != got {
            let at = at.as_secs_f64();
            return Err(format!("after evaluation {number} (at {at} s) it is {got} where {right} is right"));
        }
        at = at.saturating_add(step);
    }
    Ok(())
}

/// Alarms of different sources at the listed instants, and when a flood begins and ends.
pub(super) fn run_flood(_: &Bench, case: &Value) -> Outcome {
    let times = list(case, "alarm_times_s")?;
    let mut times: Vec<Duration> = times
        .iter()
        .map(|time| seconds(time).ok_or_else(|| format!("{time} in alarm_times_s is no number of seconds")))
        .collect::<Result<_, _>>()?;
    times.sort_unstable();
    let right = list(case, "flood_events")?;
    let mut alarms = alarms(AlarmSpec::new(CLASS, Priority::P2), times.len())?;
    let mut told = Vec::new();
    alarms.handle_timeout(stamp(Duration::ZERO));
    for (at, number) in times.iter().zip(1..) {
        // What is due at the same instant comes after: the window ends with it.
        pass(&mut alarms, stamp(*at).mono, false, &mut told);
        alarms.handle_truth(stamp(*at), &source(number), Truth::True, String::new);
        tell(&mut alarms, &mut told);
    }
    let end = times.last().copied().unwrap_or_default() + AFTERWARDS;
    pass(&mut alarms, stamp(end).mono, true, &mut told);
    if same_events(&told, right) {
        return Ok(());
    }
    Err(format!("flood_events are {} where {} is right", Value::from(told), Value::from(right.clone())))
}

/// Lets time pass until `end`, which itself is or is not passed, with every timer at its instant.
fn pass(alarms: &mut Alarms, end: Mono, through: bool, told: &mut Vec<Value>) {
    while let Some(due) = alarms.poll_timeout().filter(|due| *due < end || through && *due == end) {
        alarms.handle_timeout(Stamp { mono: due, ..Stamp::default() });
        tell(alarms, told);
    }
}

/// Takes the effects, and notes the floods among them as files write them.
fn tell(alarms: &mut Alarms, told: &mut Vec<Value>) {
    while let Some(effect) = alarms.poll_effect() {
        let Effect::Event { at, event, .. } = effect else { continue };
        if event.kind == "flood" {
            let document: Value = serde_json::from_str(&event.json).unwrap_or_default();
            let begins = if document["on"] == true { "start" } else { "end" };
            told.push(json!([begins, at.mono.since(Mono(0)).saturating_sub(ZERO).as_secs()]));
        }
    }
    while alarms.poll_change().is_some() {}
}

/// Whether both name the same happenings at the same seconds, 240 being 240.0.
fn same_events(got: &[Value], right: &[Value]) -> bool {
    let pair = |event: &Value| Some((event[0].as_str()?.to_owned(), event[1].as_f64()?, event.as_array()?.len()));
    got.len() == right.len() && got.iter().zip(right).all(|(got, right)| pair(got) == pair(right))
}

fn alarms(spec: AlarmSpec, sources: usize) -> Result<Alarms, String> {
    if sources > MAX_ALARMS {
        return Err(format!("it has {sources} alarms, at most {MAX_ALARMS} are possible"));
    }
    let listed =
        |number| AlarmSource { id: source(number), device: None, parents: Vec::new(), data_parents: Vec::new() };
    let sources: Vec<_> = (1..).map(listed).take(sources).collect();
    Alarms::new(vec![spec], &sources, &Catalog::default()).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })
}

fn source(number: usize) -> AlarmId {
    AlarmId { class: CLASS.to_owned(), source: number.to_string() }
}

fn stamp(at: Duration) -> Stamp {
    Stamp { mono: Mono(0) + (ZERO + at), ..Stamp::default() }
}

/// A condition; `null` is missing data, which rules of Prometheus take as false.
fn truth(condition: &Value) -> Option<Truth> {
    match condition {
        Value::Null => Some(Truth::False),
        Value::Bool(on) => Some(if *on { Truth::True } else { Truth::False }),
        Value::Number(number) if number.as_u64() == Some(1) => Some(Truth::True),
        Value::Number(number) if number.as_u64() == Some(0) => Some(Truth::False),
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A span from 0 s to [`LAST_S`].
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=LAST_S).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A span that is 0 when the case does not name it.
fn optional(case: &Value, field: &str) -> Result<Duration, String> {
    match &case[field] {
        Value::Null => Ok(Duration::ZERO),
        value => seconds(value).ok_or_else(|| format!("{field} is no number of seconds")),
    }
}
