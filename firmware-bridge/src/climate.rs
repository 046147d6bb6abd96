//! The course of a temperature and humidity sensor's measurements: when to begin one, when to fetch it.
//!
//! Pure but for the bus: time goes in, measurements come out, and no call takes longer than one transfer.

use std::time::Duration;

use embedded_hal::i2c::I2c;
use gatehouse_core::{Mono, NoData};

use crate::sht3x::{BETWEEN_COMMANDS, MEASURING, Measurement, Sht3x, Sht3xError};

/// The shortest interval: a chip that measures without a pause warms itself (data sheet SHT3x-DIS, table 10).
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A sensor that is asked at an interval. Each interval gives one measurement, or the reason for none.
pub struct Climate<I> {
    chip: Sht3x<I>,
    interval: Duration,
    step: Step,
    /// When the step is due.
    due: Mono,
    /// The slot of the present turn.
    turn: Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The chip may be fresh or another one: see that its heater is off.
    Prepare,
    Start,
    Collect,
    /// It was not complete the first time.
    CollectAgain,
}

impl<I: I2c> Climate<I> {
    /// Measures from `now` on, each `interval`, of at least [`MIN_INTERVAL`].
    pub fn new(chip: Sht3x<I>, interval: Duration, now: Mono) -> Self {
        Climate { chip, interval: interval.max(MIN_INTERVAL), step: Step::Prepare, due: now, turn: now }
    }

    /// When to come next.
    pub fn poll_timeout(&self) -> Mono {
        self.due
    }

    /// Time has come to `now`: goes one step, and gives what came of the turn at its end.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<Result<Measurement, Sht3xError>> {
        if now < self.due {
            return None;
        }
        match self.step {
            Step::Prepare => {
                let done = self.chip.heater_off();
                self.go(now, done, (Step::Start, BETWEEN_COMMANDS))
            }
            Step::Start => {
                let done = self.chip.start();
                self.go(now, done, (Step::Collect, MEASURING))
            }
            Step::Collect => match self.chip.collect() {
                Err(Sht3xError::NoAnswer(_)) => self.go(now, Ok(()), (Step::CollectAgain, MEASURING)),
                result => self.end(now, result),
            },
            Step::CollectAgain => {
                let result = self.chip.collect();
                self.end(now, result)
            }
        }
    }

    /// Goes on to `next` after a pause, or ends the turn.
    fn go(
        &mut self,
        now: Mono,
        done: Result<(), Sht3xError>,
        next: (Step, Duration),
    ) -> Option<Result<Measurement, Sht3xError>> {
        match done {
            Ok(()) => {
                (self.step, self.due) = (next.0, now + next.1);
                None
            }
            Err(error) => self.end(now, Err(error)),
        }
    }

    /// Ends the turn. Slots that have passed by then are left out.
    fn end(&mut self, now: Mono, result: Result<Measurement, Sht3xError>) -> Option<Result<Measurement, Sht3xError>> {
        self.step = if result.is_ok() { Step::Start } else { Step::Prepare };
        let turns = now.since(self.turn).as_nanos() / self.interval.as_nanos() + 1;
        self.turn = self.turn + self.interval.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX));
        self.due = self.turn;
        Some(result)
    }
}

/// Why the sensor's points have no value.
impl From<Sht3xError> for NoData {
    fn from(error: Sht3xError) -> NoData {
        match error {
            Sht3xError::NoAnswer(_) => NoData::Timeout,
            Sht3xError::Bus(_) => NoData::BusDown,
            Sht3xError::Checksum { .. } => NoData::BadReply,
        }
    }
}

#[cfg(test)]
mod tests {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

    use super::*;

    const GOOD: [u8; 6] = [0xbe, 0xef, 0x92, 0xbe, 0xef, 0x92];
    const NAK: ErrorKind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);

    fn heater() -> Transaction {
        Transaction::write(0x44, vec![0x30, 0x66])
    }

    fn start() -> Transaction {
        Transaction::write(0x44, vec![0x24, 0x00])
    }

    fn collect() -> Transaction {
        Transaction::read(0x44, GOOD.to_vec())
    }

    /// Steps from wake to wake until `turns` turns have ended; gives when each ended and with what.
    fn run(expected: &[Transaction], turns: usize) -> Vec<(u64, Result<String, NoData>)> {
        let mut bus = Mock::new(expected);
        let mut climate = Climate::new(Sht3x::new(&mut bus, 0x44), Duration::from_secs(10), Mono::from_millis(500));
        let mut ended = Vec::new();
        for _ in 0..20 * turns {
            if ended.len() == turns {
                break;
            }
            let now = climate.poll_timeout();
            if let Some(result) = climate.handle_timeout(now) {
                let text = result.map(|measured| measured.temperature.to_string()).map_err(NoData::from);
                ended.push((now.0 / 1_000_000, text));
            }
        }
        bus.done();
        ended
    }

    #[test]
    fn measures_at_its_interval_and_waits_for_nothing() {
        let ended = run(&[heater(), start(), collect(), start(), collect()], 2);
        assert_eq!(ended, [(518, Ok("85.52".to_owned())), (10_516, Ok("85.52".to_owned()))]);
    }

    #[test]
    fn a_measurement_that_is_not_complete_is_fetched_once_more() {
        let ended = run(&[heater(), start(), collect().with_error(NAK), collect()], 1);
        assert_eq!(ended, [(534, Ok("85.52".to_owned()))]);
        let late = collect().with_error(NAK);
        let ended = run(&[heater(), start(), late.clone(), late], 1);
        assert_eq!(ended, [(534, Err(NoData::Timeout))]);
    }

    #[test]
    fn a_chip_that_comes_back_is_prepared_anew() {
        let ended = run(&[heater().with_error(NAK), heater(), start(), collect()], 2);
        assert_eq!(ended.iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(ended[0].1, Err(NoData::Timeout));
        assert_eq!(ended[1].0, 10_518);
    }

    #[test]
    fn slots_that_pass_while_nobody_comes_are_left_out() {
        let mut bus = Mock::new(&[heater(), start(), collect()]);
        let mut climate = Climate::new(Sht3x::new(&mut bus, 0x44), Duration::from_secs(10), Mono(0));
        assert!(climate.handle_timeout(Mono(0)).is_none());
        assert!(climate.handle_timeout(Mono::from_millis(2)).is_none());
        assert!(climate.handle_timeout(Mono::from_millis(34_000)).is_some());
        assert_eq!(climate.poll_timeout(), Mono::from_millis(40_000));
        bus.done();
    }
}
