//! Report by exception: a reading is recorded when it moved far enough, or when its heartbeat is due.

use std::time::Duration;

use gatehouse_core::{Mono, NoData, PointReading, Value};

/// When a point's readings are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// Every reading.
    Always,
    /// A reading that differs from the last recorded one, and one per heartbeat.
    OnChange {
        /// Longest time without a record; zero: none is forced.
        heartbeat: Duration,
    },
    /// A reading that lies at least `band` away from the last recorded one, and one per heartbeat.
    DeadBand {
        /// Distance in the point's unit; compared as floating point, for it decides only whether to record.
        band: f64,
        /// Longest time without a record; zero: none is forced.
        heartbeat: Duration,
    },
}

/// What was recorded last of one point.
#[derive(Debug, Clone, PartialEq)]
struct Recorded {
    at: Mono,
    value: Result<Value, NoData>,
}

/// Decides for one device which of its readings become records.
///
/// Call [`Reporter::admit`] once per reading, in the order of time. A change between value and no value, or between
/// two reasons for none, is always recorded.
#[derive(Debug)]
pub struct Reporter {
    policies: Vec<Policy>,
    last: Vec<Option<Recorded>>,
}

impl Reporter {
    /// A reporter for a device whose points have these policies, in the order of the points.
    pub fn new(policies: Vec<Policy>) -> Self {
        let last = policies.iter().map(|_| None).collect();
        Reporter { policies, last }
    }

    /// True if the reading is to be recorded; it is then the one that later readings are compared with.
    ///
    /// A point beyond the policies is always recorded.
    pub fn admit(&mut self, at: Mono, reading: &PointReading) -> bool {
        let ix = usize::from(reading.point.0);
        let (Some(policy), Some(last)) = (self.policies.get(ix), self.last.get_mut(ix)) else { return true };
        let (band, heartbeat) = match *policy {
            Policy::Always => return true,
            Policy::OnChange { heartbeat } => (None, heartbeat),
            Policy::DeadBand { band, heartbeat } => (Some(band), heartbeat),
        };
        let moved = last.as_ref().is_none_or(|last| {
            let due = !heartbeat.is_zero() && at.since(last.at) >= heartbeat;
            due || differs(&last.value, &reading.value, band)
        });
        if moved {
            *last = Some(Recorded { at, value: reading.value.clone() });
        }
        moved
    }
}

fn differs(old: &Result<Value, NoData>, new: &Result<Value, NoData>, band: Option<f64>) -> bool {
    match (old, new, band) {
        (Ok(old), Ok(new), Some(band)) => match (number(old), number(new)) {
            (Some(old), Some(new)) => (old - new).abs() >= band && old.to_bits() != new.to_bits(),
            _ => old != new,
        },
        _ => old != new,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Decimal(d) => Some(d.to_f64()),
        Value::F32(x) => Some(f64::from(*x)),
        Value::F64(x) => Some(*x),
        Value::Bool(_) | Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::{Decimal, PointIx};

    const MINUTE: Duration = Duration::from_secs(60);

    fn reading(value: Result<Value, NoData>) -> PointReading {
        PointReading::new(PointIx(0), value)
    }

    fn admitted(policy: Policy, story: &[(u64, Result<Value, NoData>)]) -> Vec<u64> {
        let mut reporter = Reporter::new(vec![policy]);
        let mut at = Vec::new();
        for (second, value) in story {
            if reporter.admit(Mono::from_millis(second * 1000), &reading(value.clone())) {
                at.push(*second);
            }
        }
        at
    }

    #[test]
    fn a_slow_drift_is_recorded_once_it_leaves_the_band_of_the_last_record() {
        let story: Vec<_> = (0..10u8).map(|i| (u64::from(i), Ok(Value::F32(230.0 + 0.25 * f32::from(i))))).collect();
        assert_eq!(admitted(Policy::DeadBand { band: 1.0, heartbeat: Duration::ZERO }, &story), [0, 4, 8]);
    }

    #[test]
    fn an_unchanged_value_is_recorded_once_per_heartbeat() {
        let story: Vec<_> = (0..=150).map(|s| (s, Ok(Value::Decimal(Decimal::whole(7))))).collect();
        assert_eq!(admitted(Policy::OnChange { heartbeat: MINUTE }, &story), [0, 60, 120]);
        assert_eq!(admitted(Policy::DeadBand { band: 0.0, heartbeat: Duration::ZERO }, &story), [0]);
    }

    #[test]
    fn losing_and_regaining_a_value_is_always_recorded() {
        let policy = Policy::DeadBand { band: 5.0, heartbeat: Duration::ZERO };
        let story = [
            (0, Ok(Value::F32(1.0))),
            (1, Err(NoData::Timeout)),
            (2, Err(NoData::Timeout)),
            (3, Err(NoData::DeviceOffline)),
            (4, Ok(Value::F32(1.0))),
        ];
        assert_eq!(admitted(policy, &story), [0, 1, 3, 4]);
    }

    #[test]
    fn a_point_without_a_policy_is_always_recorded() {
        let mut reporter = Reporter::new(Vec::new());
        assert!(reporter.admit(Mono(0), &reading(Ok(Value::Bool(true)))));
        assert!(reporter.admit(Mono(0), &reading(Ok(Value::Bool(true)))));
    }
}
