//! What is on the site: a boom that takes its time, a door, a car, meters and contacts.

use std::time::Duration;

use gatehouse_core::driver::Action;
use gatehouse_core::{Decimal, DeviceIx, Mono, PointIx, PointReading, Value};

use super::site::{BOARD, CLOSE_LIMIT, DOOR, FIRE, IO, LAMP, LIMIT, LOCK, LOOP, MAINS, OPEN_LIMIT, VOLTAGE};

const TRAVEL: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boom {
    Closed,
    Open,
    Between,
    Opening(Mono),
    Closing(Mono),
}

#[derive(Debug, Clone)]
pub(super) struct Plant {
    pub(super) boom: Boom,
    pub(super) car: bool,
    pub(super) door: bool,
    pub(super) locked: bool,
    pub(super) lamp: bool,
    pub(super) fire: bool,
    pub(super) mains: bool,
    pub(super) volts: [i128; 3],
}

impl Plant {
    pub(super) fn new() -> Self {
        Plant {
            boom: Boom::Closed,
            car: false,
            door: false,
            locked: true,
            lamp: false,
            fire: false,
            mains: true,
            volts: [230; 3],
        }
    }

    /// A device does what it is told.
    pub(super) fn act(&mut self, now: Mono, device: DeviceIx, action: &Action) {
        self.settle(now);
        match action {
            Action::Call { command, .. } => match command.as_str() {
                "open" => self.boom = if self.boom == Boom::Open { Boom::Open } else { Boom::Opening(now + TRAVEL) },
                "close" => {
                    self.boom = if self.boom == Boom::Closed { Boom::Closed } else { Boom::Closing(now + TRAVEL) };
                }
                "stop" if matches!(self.boom, Boom::Opening(_) | Boom::Closing(_)) => self.boom = Boom::Between,
                _ => {}
            },
            Action::Write(LOCK, Value::Bool(on)) if device == BOARD => self.locked = *on,
            Action::Write(LAMP, Value::Bool(on)) if device == BOARD => self.lamp = *on,
            Action::Write(..)
            | Action::Read(_)
            | Action::Recall { .. }
            | Action::Identify
            | Action::LoadRecords { .. }
            | Action::Registers(_)
            | Action::Controller(_) => {}
        }
    }

    /// The boom moves on. After the box was off, its time may lie anywhere.
    fn settle(&mut self, now: Mono) {
        self.boom = match self.boom {
            Boom::Opening(at) if at <= now => Boom::Open,
            Boom::Closing(at) if at <= now => Boom::Closed,
            other => other,
        };
    }

    /// The box was without power: whatever moved has come to its end.
    pub(super) fn rest(&mut self) {
        self.settle(Mono(u64::MAX));
    }

    /// What a poll of a device reads.
    pub(super) fn read(&mut self, now: Mono, device: DeviceIx) -> Vec<PointReading> {
        self.settle(now);
        let flag = |point: PointIx, on: bool| PointReading::new(point, Ok(Value::Bool(on)));
        let number = |point: PointIx, value: i128| PointReading::new(point, Ok(Value::Decimal(Decimal::whole(value))));
        match device {
            BOARD => vec![
                flag(OPEN_LIMIT, self.boom == Boom::Open),
                flag(CLOSE_LIMIT, self.boom == Boom::Closed),
                flag(LOOP, self.car),
                flag(DOOR, self.door),
                flag(LOCK, self.locked),
                flag(LAMP, self.lamp),
            ],
            IO => vec![flag(FIRE, self.fire), flag(MAINS, self.mains)],
            DeviceIx(meter) => {
                let volts = usize::try_from(meter).ok().and_then(|at| self.volts.get(at)).copied().unwrap();
                vec![number(VOLTAGE, volts), number(LIMIT, 100)]
            }
        }
    }
}
