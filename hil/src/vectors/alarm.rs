//! `alarm-states/1` and the `alarm` list of `alarm-scenarios/1`: the state diagram of an alarm's life.

use gatehouse_rules::alarm::state::{AlarmEvent, Flags, Life, Mask, Standing, step};
use gatehouse_rules::words::AlarmState;
use serde_json::Value;

use super::{Bench, Outcome, flag, list, text};

/// One row of the transition table. What a guard demands is read from its words, and holds for this row alone.
pub(super) fn run_transition(_: &Bench, row: &Value) -> Outcome {
    let (from, named) = (text(row, "from")?, text(row, "event")?);
    let guard = if row["guard"].is_null() { "" } else { text(row, "guard")? };
    let right = state(text(row, "to")?)?;
    let guards = |words: &str| guard.contains(words);
    let flags = Flags {
        latch: guards("latching") && !guards("not latching"),
        auto_acknowledge: guards("auto-acknowledge") && !guards("not auto-acknowledge"),
    };
    let got = step(standing(from, !guards("condition not active"))?, event(named)?, flags).state();
    if got == right {
        return Ok(());
    }
    let guard = if guard.is_empty() { String::new() } else { format!(" ({guard})") };
    Err(format!("{from} after {named}{guard} is {} where {} is right", letters(got), letters(right)))
}

/// One scenario: events in order, and the state after each.
pub(super) fn run_life(_: &Bench, case: &Value) -> Outcome {
    let flags = Flags { latch: flag(case, "latching")?, auto_acknowledge: flag(case, "auto")? };
    let (events, states) = (list(case, "events")?, list(case, "states")?);
    if events.len() != states.len() {
        return Err(format!("it has {} events and {} states: one state after each event", events.len(), states.len()));
    }
    let mut at = Standing::NORMAL;
    for (number, (named, right)) in (1..).zip(events.iter().zip(states)) {
        let named = named.as_str().ok_or_else(|| format!("event {number} is {named}, not a text"))?;
        let right = right.as_str().ok_or_else(|| format!("state {number} is {right}, not a text"))?;
        let right = state(right)?;
        at = step(at, event(named)?, flags);
        if at.state() != right {
            let (got, right) = (letters(at.state()), letters(right));
            return Err(format!("after event {number} ({named}) it is {got} where {right} is right"));
        }
    }
    Ok(())
}

/// The nine states, by the letters that files write.
const STATES: [(&str, AlarmState); 9] = [
    ("NORM", AlarmState::Normal),
    ("UNACK", AlarmState::Unacknowledged),
    ("ACKED", AlarmState::Acknowledged),
    ("RTNUN", AlarmState::ReturnedUnacknowledged),
    ("LATUN", AlarmState::LatchedUnacknowledged),
    ("LATAK", AlarmState::LatchedAcknowledged),
    ("SHLVD", AlarmState::Shelved),
    ("DSUPR", AlarmState::Suppressed),
    ("OOSRV", AlarmState::OutOfService),
];

fn state(name: &str) -> Result<AlarmState, String> {
    let found = STATES.iter().find(|(known, _)| *known == name);
    found.map(|(_, state)| *state).ok_or_else(|| format!("{name:?} is no state: {}", names(&STATES)))
}

fn letters(state: AlarmState) -> &'static str {
    STATES.iter().find(|(_, known)| *known == state).map_or("?", |(name, _)| *name)
}

/// The events, by the words of the table and the short ones of the scenarios.
const EVENTS: [(&str, AlarmEvent); 19] = [
    ("condition_on", AlarmEvent::ConditionOn),
    ("on", AlarmEvent::ConditionOn),
    ("condition_off", AlarmEvent::ConditionOff),
    ("off", AlarmEvent::ConditionOff),
    ("ack", AlarmEvent::Acknowledge),
    ("acknowledge", AlarmEvent::Acknowledge),
    ("reset", AlarmEvent::Reset),
    ("re_alarm", AlarmEvent::ReAlarm),
    ("shelve", AlarmEvent::Shelve),
    ("unshelve_or_expire", AlarmEvent::Unshelve),
    ("unshelve", AlarmEvent::Unshelve),
    ("expire", AlarmEvent::Unshelve),
    ("suppress", AlarmEvent::Suppress),
    ("unsuppress", AlarmEvent::Unsuppress),
    ("remove_from_service", AlarmEvent::RemoveFromService),
    ("oos", AlarmEvent::RemoveFromService),
    ("return_to_service", AlarmEvent::ReturnToService),
    ("return", AlarmEvent::ReturnToService),
    ("realarm", AlarmEvent::ReAlarm),
];

fn event(name: &str) -> Result<AlarmEvent, String> {
    let found = EVENTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, event)| *event).ok_or_else(|| format!("{name:?} is no event: {}", names(&EVENTS)))
}

fn names<T>(of: &[(&str, T)]) -> String {
    let names: Vec<_> = of.iter().map(|(name, _)| *name).collect();
    format!("there are {}", names.join(", "))
}

/// An alarm that stands in this state. The three that hide an alarm say nothing of its condition.
fn standing(name: &str, active: bool) -> Result<Standing, String> {
    let masked = |mask| Standing::Masked { mask, active };
    Ok(match state(name)? {
        AlarmState::Normal => Standing::Shown(Life::Normal),
        AlarmState::Unacknowledged => Standing::Shown(Life::Unacknowledged),
        AlarmState::Acknowledged => Standing::Shown(Life::Acknowledged),
        AlarmState::ReturnedUnacknowledged => Standing::Shown(Life::ReturnedUnacknowledged),
        AlarmState::LatchedUnacknowledged => Standing::Shown(Life::LatchedUnacknowledged),
        AlarmState::LatchedAcknowledged => Standing::Shown(Life::LatchedAcknowledged),
        AlarmState::Shelved => masked(Mask { shelved: true, ..Mask::default() }),
        AlarmState::Suppressed => masked(Mask { suppressed: true, ..Mask::default() }),
        AlarmState::OutOfService => masked(Mask { out_of_service: true, ..Mask::default() }),
    })
}
