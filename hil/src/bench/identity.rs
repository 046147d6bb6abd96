//! The judge of the bench: every value must say that it comes from the device and point it is delivered under.

use std::sync::{Arc, Mutex, PoisonError};

use crate::receive::{Context, Delivered, Judge, Record, Verdict};
use crate::sim_clock::wall_us;
use crate::slave::identity::{AnswerTimes, Origin};

/// Arrivals that are kept; more only count.
const KEPT: usize = 1 << 20;

/// The id of device number `number` in site files.
pub(super) fn device_id(number: u32) -> String {
    format!("d{number:02}")
}

/// The name of point number `number` in site files.
pub(super) fn point_name(number: u32) -> String {
    format!("p{number:02}")
}

fn number_of(name: &str, mark: char) -> Option<u32> {
    name.strip_prefix(mark)?.parse().ok()
}

/// One record, as it came for the first time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// The device's number.
    pub(super) device: u32,
    /// The record's wall time, microseconds.
    pub(super) at_us: i64,
    /// When it came, nanoseconds of the simulation's clock.
    pub(super) now_ns: u64,
    /// From the slave's answer to here, where that is known.
    pub(super) latency_ns: Option<u64>,
}

/// The records that have come.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Arrival>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what has come since the last time.
    pub(super) fn take(&self) -> Vec<Arrival> {
        self.with(std::mem::take)
    }
}

/// Judges [`Origin`]s and notes arrivals.
pub(super) struct IdentityJudge {
    /// When the answers of each device left, by the device's number.
    pub(super) times: Vec<Arc<AnswerTimes>>,
    /// Where arrivals are noted.
    pub(super) arrivals: Arrivals,
}

impl Judge for IdentityJudge {
    fn value(&mut self, context: Context<'_>, point: &str, value: &Delivered<'_>) -> Verdict {
        let Some(named) = number_of(context.device, 'd').zip(number_of(point, 'p')) else { return Verdict::Unknown };
        let Delivered::Number(number) = value else { return Verdict::Wrong };
        match Origin::from_f64(*number) {
            Some(origin) if (origin.device, origin.point) == named => Verdict::Right,
            _ => Verdict::Wrong,
        }
    }

    fn record(&mut self, context: Context<'_>, record: &Record<'_>) {
        let Some(device) = number_of(context.device, 'd') else { return };
        let origin = match record.values.0.last() {
            Some((_, Delivered::Number(number))) => Origin::from_f64(*number),
            _ => None,
        };
        let times = self.times.get(device as usize);
        let left = origin.zip(times).map(|(origin, times)| times.at(origin.generation)).filter(|&left| left > 0);
        let latency_ns = left.filter(|_| !context.backfill).map(|left| context.now_ns.saturating_sub(left));
        let arrival = Arrival { device, at_us: context.at_us, now_ns: context.now_ns, latency_ns };
        self.arrivals.with(|arrivals| {
            if arrivals.len() < KEPT {
                arrivals.push(arrival);
            }
        });
    }
}

/// The wall time, in microseconds, at an instant of the simulation's clock.
pub(super) fn wall_at(ns: u64) -> i64 {
    let ago = i64::try_from(crate::sim_clock::now_ns().saturating_sub(ns)).unwrap_or(i64::MAX);
    wall_us() - ago / 1000
}

/// The value below which `share` (0 to 1) of the sorted values lie; `None` of nothing.
pub(super) fn quantile(sorted: &[u64], share: f64) -> Option<u64> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_under_another_point_or_device_is_wrong() {
        let mut judge = IdentityJudge { times: Vec::new(), arrivals: Arrivals::default() };
        let value = Delivered::Number(f64::from(Origin { device: 3, point: 9, generation: 77 }.to_f32()));
        let mut at =
            |device, point| judge.value(Context { device, at_us: 0, now_ns: 0, backfill: false }, point, &value);
        assert_eq!(at("d03", "p09"), Verdict::Right);
        assert_eq!(at("d03", "p10"), Verdict::Wrong);
        assert_eq!(at("d04", "p09"), Verdict::Wrong);
        assert_eq!(at("x", "p09"), Verdict::Unknown);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (Some(50), Some(99)));
        assert_eq!((quantile(&values, 1.0), quantile(&[], 0.5)), (Some(100), None));
    }
}
