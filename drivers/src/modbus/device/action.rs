//! What a device is asked beside its polls.

use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{Decimal, PointIx, PointReading, StepId, Value};

use super::{ModbusDevice, RegistersStep, Step, id_of};
use crate::modbus::encode::write_request;
use crate::modbus::pdu::identification_objects;
use crate::modbus::planner;
use crate::profile::{Call, Payload};

/// The first step of an action; steps of the plan lie below.
pub(super) const FIRST: u32 = 1 << 31;
/// The read code of basic identification: objects 0 to 2, which each device with function 43/14 has.
pub(super) const READ_BASIC: u8 = 1;
/// Most requests of one identification.
const MAX_IDENTITY_STEPS: usize = 16;

impl ModbusDevice {
    pub(super) fn begin_action(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        let first = self.actions.len();
        match action {
            Action::Read(points) if points.is_empty() => {
                let all = (0..self.points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx));
                let readable: Vec<PointIx> = all.filter(|point| self.rules().can_read(&self.points, *point)).collect();
                self.begin_reads(&readable)?;
            }
            Action::Read(points) | Action::Recall { points, back: 0 } => self.begin_reads(points)?,
            Action::Recall { .. } | Action::LoadRecords { .. } => return Err(ActionError::Unsupported),
            Action::Write(point, value) => {
                let spec = self.points.get(usize::from(point.0)).ok_or(ActionError::Unsupported)?;
                let mut pdu = Vec::new();
                write_request(spec, value)?.encode(&mut pdu);
                self.actions.push(Step::Write(pdu.into()));
                if !self.is_broadcast() && self.rules().can_read(&self.points, *point) {
                    self.begin_reads(&[*point])?;
                }
            }
            Action::Call { command: name, channel, argument } => {
                let command = self.commands.iter().find(|command| command.name == *name);
                let command = command.ok_or_else(|| ActionError::NoSuchCommand(name.clone()))?;
                let refuse = |why: String| ActionError::BadCall { command: name.clone(), why };
                // Sent to every device of the line, or a read: neither is an act of this device.
                if command.broadcast || matches!(command.payload, Payload::Read { .. }) {
                    return Err(refuse("only commands that one device carries out can be".to_owned()));
                }
                let mut pdu = Vec::new();
                let call = Call { channel: *channel, argument: *argument };
                command.encode(call, &mut pdu).map_err(|why| refuse(why.to_string()))?;
                self.actions.push(Step::Write(pdu.into()));
            }
            Action::Controller(_) => return Err(ActionError::Unsupported),
            Action::Registers(_) if self.is_broadcast() => return Err(ActionError::Unsupported),
            Action::Registers(row) => {
                let within = self.rules().row(row.table().into(), row.first(), row.count());
                let (address, quantity) = within.ok_or(ActionError::BeyondLimits(*row))?;
                self.actions.push(Step::Registers(RegistersStep { row: *row, address, quantity }));
            }
            Action::Identify if self.is_broadcast() => return Err(ActionError::Unsupported),
            Action::Identify => self.actions.push(Step::Identify { object: 0 }),
        }
        steps.extend((first..self.actions.len()).map(action_id));
        Ok(())
    }

    fn begin_reads(&mut self, points: &[PointIx]) -> Result<(), ActionError> {
        if self.is_broadcast() {
            return Err(ActionError::Unsupported);
        }
        let reads = planner::plan_with(&self.points, points, &self.rules()).map_err(|_| ActionError::Unsupported)?;
        for read in reads {
            let step = self.read_step(read, u32::MAX);
            self.actions.push(Step::Read(step));
        }
        Ok(())
    }

    /// Appends the objects of an identification, each under its number in place of a point.
    pub(super) fn read_identity(&self, pdu: &[u8], readings: &mut Vec<PointReading>) {
        let more = pdu[4] == 0xFF;
        self.next_object.set(more.then_some(pdu[5]));
        readings.extend(identification_objects(pdu).map(|(number, text)| {
            PointReading::new(
                PointIx(u16::from(number)),
                Ok(Value::Text(String::from_utf8_lossy(text).trim_end_matches(['\0', ' ']).into())),
            )
        }));
    }

    /// Appends the request for the objects that did not fit; objects only go up, so that it ends.
    pub(super) fn continue_identity(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let Some(next) = self.next_object.take() else { return };
        let asked = step.0.checked_sub(FIRST).and_then(|at| self.actions.get(at as usize));
        let goes_up = matches!(asked, Some(Step::Identify { object }) if next > *object);
        if goes_up && self.actions.len() < MAX_IDENTITY_STEPS {
            steps.push(action_id(self.actions.len()));
            self.actions.push(Step::Identify { object: next });
        }
    }
}

/// Appends the registers of a row, each under its place in it.
pub(super) fn read_registers(step: RegistersStep, data: &[u8], readings: &mut Vec<PointReading>) {
    let skipped = usize::from(step.row.first().saturating_sub(step.address));
    let words = data.chunks_exact(2).skip(skipped).take(step.row.count().into());
    readings.extend((0u16..).zip(words).map(|(place, word)| {
        let word = u16::from_be_bytes([word[0], word[1]]);
        PointReading::new(PointIx(place), Ok(Value::Decimal(Decimal::whole(word.into()))))
    }));
}

pub(super) fn action_id(at: usize) -> StepId {
    StepId(FIRST + id_of(at))
}
