//! Slaves whose values say where and when they come from: device, point and generation in one float.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::answer::{Exception, ILLEGAL_ADDRESS, Memory, Words};
use crate::sim_clock::now_ns;

/// Generations that are told apart; a power of two.
pub const GENERATIONS: u32 = 4096;
/// Points of one device that are told apart.
pub const POINTS: u32 = 64;
/// Devices that are told apart.
pub const DEVICES: u32 = 64;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The device, below [`DEVICES`].
    pub device: u32,
    /// The point, below [`POINTS`]: its float lies at twice that address.
    pub point: u32,
    /// The request that it answers, modulo [`GENERATIONS`].
    pub generation: u32,
}

impl Origin {
    /// The origin as a whole number below 2^24, which a single-precision float holds exactly.
    pub fn to_f32(self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit a single-precision float")]
        let value = ((self.device * POINTS + self.point) * GENERATIONS + self.generation) as f32;
        value
    }

    /// The origin that a delivered number carries; `None` for a number that no slave sent.
    pub fn from_f64(value: f64) -> Option<Origin> {
        let limit = f64::from(DEVICES * POINTS * GENERATIONS);
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        let whole = (0.0..limit).contains(&value).then_some(value as u32).filter(|w| f64::from(*w) == value)?;
        let (place, generation) = (whole / GENERATIONS, whole % GENERATIONS);
        Some(Origin { device: place / POINTS, point: place % POINTS, generation })
    }
}

/// When each answer of a device left, by generation; shared with who receives the values.
#[derive(Debug)]
pub struct AnswerTimes {
    times: Vec<AtomicU64>,
    answered: AtomicU64,
}

impl Default for AnswerTimes {
    fn default() -> Self {
        let times = std::iter::repeat_with(AtomicU64::default).take(GENERATIONS as usize).collect();
        AnswerTimes { times, answered: AtomicU64::new(0) }
    }
}

impl AnswerTimes {
    /// When the answer of a generation left, in nanoseconds of the simulation's clock; 0 for never.
    pub fn at(&self, generation: u32) -> u64 {
        self.times[(generation % GENERATIONS) as usize].load(Relaxed)
    }

    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }
}

/// Addresses from the beginning of one cluster to the next: too far to be read across.
pub const CLUSTER_STEP: u16 = 1000;

/// A slave of float32 holding registers, each value an [`Origin`]; every request begins a generation.
///
/// Points lie in clusters, the first at address 0, each [`CLUSTER_STEP`] after the one before.
pub struct Identity {
    device: u32,
    clusters: u16,
    points: u16,
    generation: u32,
    times: Arc<AnswerTimes>,
}

impl Identity {
    /// Device number `device` with `clusters` clusters of `points` floats.
    pub fn new(device: u32, clusters: u16, points: u16, times: Arc<AnswerTimes>) -> Self {
        Identity { device, clusters, points, generation: 0, times }
    }
}

impl Memory for Identity {
    fn begin(&mut self) {
        self.generation = (self.generation + 1) % GENERATIONS;
    }

    fn answered(&mut self) {
        self.times.times[self.generation as usize].store(now_ns(), Relaxed);
        self.times.answered.fetch_add(1, Relaxed);
    }

    fn word(&mut self, table: Words, address: u16) -> Result<u16, Exception> {
        let (cluster, point) = (address / CLUSTER_STEP, address % CLUSTER_STEP / 2);
        if table != Words::Holding || cluster >= self.clusters || point >= self.points {
            return Err(ILLEGAL_ADDRESS);
        }
        let point = u32::from(cluster * self.points + point);
        let origin = Origin { device: self.device, point, generation: self.generation };
        let [a, b, c, d] = origin.to_f32().to_be_bytes();
        Ok(if address.is_multiple_of(2) { u16::from_be_bytes([a, b]) } else { u16::from_be_bytes([c, d]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_carries_its_origin_and_back() {
        for origin in [
            Origin { device: 0, point: 0, generation: 0 },
            Origin { device: 63, point: 63, generation: 4095 },
            Origin { device: 17, point: 4, generation: 99 },
        ] {
            assert_eq!(Origin::from_f64(f64::from(origin.to_f32())), Some(origin));
        }
        assert_eq!(Origin::from_f64(0.5), None);
        assert_eq!(Origin::from_f64(-1.0), None);
        assert_eq!(Origin::from_f64(1e9), None);
    }
}
