//! The driver of one Modbus device.

mod action;
mod split;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::driver::{Action, ActionError, Denial};
use gatehouse_core::{Decoded, Driver, NoData, PointIx, PointReading, RegisterRow, Reject, StepId, StepShape};

use super::checksum::crc16;
use super::conceal::conceal;
use super::decode::PointCodec;
use super::frame::Framing;
use super::pdu::{self, function};
use super::planner::{self, Cost, Cut, PlanError, READ_REQUEST_PDU, Read, Rules};
use super::point::{ModbusPoint, Table};
use super::scan::{self, Expect, Found};
use crate::profile::{Command, Limits};
use crate::summary::{Asked, StepSummary};

/// Silence after a broadcast, so that each device has carried it out (Modbus over Serial Line 1.02, 2.4.1).
const BROADCAST_PAUSE: Duration = Duration::from_millis(100);

/// One Modbus device: its points, its plan of reads and the rules of its replies.
#[derive(Debug)]
pub struct ModbusDevice {
    framing: Framing,
    unit: u8,
    points: Arc<[ModbusPoint]>,
    codecs: Box<[PointCodec]>,
    limits: Limits,
    cost: Cost,
    /// Some of its registers show who was at a reader: no trace tells its values.
    is_personal: bool,
    /// What its profile can do beyond points.
    commands: Arc<[Command]>,
    /// The plan: the steps of each group, in the order to send them.
    groups: Vec<Vec<StepId>>,
    /// Every planned read there ever was, so that a [`StepId`] stays good while the plan changes under it.
    reads: Vec<ReadStep>,
    /// The steps of the action at hand.
    actions: Vec<Step>,
    /// Where merged reads were refused.
    cuts: Vec<Cut>,
    /// How often parts were joined again beside a refused point; bounds `reads`.
    joined: u8,
    /// The object that the last identification wants to continue with.
    next_object: Cell<Option<u8>>,
}

/// One request.
#[derive(Debug)]
enum Step {
    Read(ReadStep),
    Write(Box<[u8]>),
    Identify { object: u8 },
    Registers(RegistersStep),
}

/// A read of registers as they stand.
#[derive(Debug, Clone, Copy)]
struct RegistersStep {
    row: RegisterRow,
    /// What is read, which is more where the device wants even addresses.
    address: u16,
    quantity: u16,
}

/// One read of the plan.
#[derive(Debug)]
struct ReadStep {
    table: Table,
    address: u16,
    quantity: u16,
    /// Points ascending.
    slots: Box<[Slot]>,
    /// The read of the first plan that this one is a part of.
    origin: u32,
    /// The device refuses it, and it cannot be split further.
    is_refused: bool,
    /// It was put together from parts that the device answered.
    is_joined: bool,
    /// The device answered it last time.
    is_answered: Cell<bool>,
    /// Of a read of the first plan that was split: polls until it is tried whole again.
    until_retry: Cell<u16>,
}

/// Where a point lies in a read.
#[derive(Debug, Clone, Copy)]
struct Slot {
    point: PointIx,
    /// Bits or registers from the read's first.
    offset: u16,
}

/// The PDU of a step's request.
enum Pdu<'a> {
    Read([u8; READ_REQUEST_PDU]),
    Identify([u8; 4]),
    Write(&'a [u8]),
}

impl std::ops::Deref for Pdu<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Pdu::Read(pdu) => pdu,
            Pdu::Identify(pdu) => pdu,
            Pdu::Write(pdu) => pdu,
        }
    }
}

/// A step as the device holds it.
#[derive(Clone, Copy)]
enum StepRef<'a> {
    Read(&'a ReadStep),
    Write(&'a [u8]),
    Identify { object: u8 },
    Registers(RegistersStep),
}

impl<'a> StepRef<'a> {
    fn pdu(self) -> Pdu<'a> {
        match self {
            StepRef::Read(read) => Pdu::Read(read_pdu(read.table, read.address, read.quantity)),
            StepRef::Registers(RegistersStep { row, address, quantity }) => {
                Pdu::Read(read_pdu(row.table().into(), address, quantity))
            }
            StepRef::Write(pdu) => Pdu::Write(pdu),
            StepRef::Identify { object } => {
                Pdu::Identify([function::ENCAPSULATED, pdu::MEI_IDENTIFICATION, action::READ_BASIC, object])
            }
        }
    }
}

/// The request for so many coils, inputs or registers.
fn read_pdu(table: Table, address: u16, quantity: u16) -> [u8; READ_REQUEST_PDU] {
    let ([a1, a0], [q1, q0]) = (address.to_be_bytes(), quantity.to_be_bytes());
    [table.read_function(), a1, a0, q1, q0]
}

impl ModbusDevice {
    /// Plans the reads of a device at `unit`. `groups` lists the points that are polled together; a point may stand
    /// in none. Devices of one model may share `points`.
    ///
    /// # Errors
    /// [`PlanError`] names a point of a group that no read can give.
    pub fn new(
        framing: Framing,
        unit: u8,
        points: impl Into<Arc<[ModbusPoint]>>,
        groups: Vec<Vec<PointIx>>,
        limits: Limits,
        cost: Cost,
    ) -> Result<Self, PlanError> {
        let points = points.into();
        let mut device = ModbusDevice {
            framing,
            unit,
            codecs: points.iter().map(PointCodec::new).collect(),
            points,
            limits,
            cost,
            is_personal: false,
            commands: Arc::default(),
            groups: Vec::with_capacity(groups.len()),
            reads: Vec::new(),
            actions: Vec::new(),
            cuts: Vec::new(),
            joined: 0,
            next_object: Cell::new(None),
        };
        for group in groups {
            let mut steps = Vec::new();
            for read in planner::plan_with(&device.points, &group, &device.rules())? {
                let origin = id_of(device.reads.len());
                device.reads.push(device.read_step(read, origin));
                steps.push(StepId(origin));
            }
            device.groups.push(steps);
        }
        Ok(device)
    }

    /// The same device, with the commands of its profile.
    #[must_use]
    pub fn with_commands(mut self, commands: Arc<[Command]>) -> Self {
        self.commands = commands;
        self
    }

    /// The device's points.
    pub fn specs(&self) -> &[ModbusPoint] {
        &self.points
    }

    /// The requests of each group, as they are planned now.
    pub fn plan_summary(&self) -> Vec<Vec<StepSummary>> {
        let summary = |&id: &StepId| match self.step(id) {
            Some(StepRef::Read(read)) => Some(StepSummary {
                asked: Asked::Modbus { table: read.table, address: read.address, count: read.quantity },
                points: read.slots.iter().map(|slot| slot.point).collect(),
                request_bytes: self.shape(id).request_bytes,
                reply_bytes: self.shape(id).reply_bytes,
            }),
            _ => None,
        };
        self.groups.iter().map(|steps| steps.iter().filter_map(summary).collect()).collect()
    }

    /// A step in words, for logs and traces.
    pub fn describe(&self, step: StepId) -> String {
        let Some(step) = self.step(step) else { return "a step that is no longer".to_owned() };
        let points = match step {
            StepRef::Read(read) => format!(", {} points", read.slots.len()),
            StepRef::Write(_) | StepRef::Identify { .. } | StepRef::Registers(_) => String::new(),
        };
        match pdu::Request::parse(&step.pdu()) {
            Ok(request) => format!("unit {} {request}{points}", self.unit),
            Err(why) => format!("unit {} a request that is not sound: {why}", self.unit),
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules { framing: self.framing, cost: self.cost, limits: &self.limits, cuts: &self.cuts }
    }

    fn read_step(&self, read: Read, origin: u32) -> ReadStep {
        let slot = |&point: &PointIx| Slot { point, offset: self.points[usize::from(point.0)].address - read.address };
        ReadStep {
            table: read.table,
            address: read.address,
            quantity: read.quantity,
            slots: read.points.iter().map(slot).collect(),
            origin,
            is_refused: false,
            is_joined: false,
            is_answered: Cell::new(false),
            until_retry: Cell::new(split::RETRY_POLLS),
        }
    }

    fn step(&self, id: StepId) -> Option<StepRef<'_>> {
        match id.0.checked_sub(action::FIRST) {
            None => self.reads.get(id.0 as usize).map(StepRef::Read),
            Some(at) => self.actions.get(at as usize).map(|step| match step {
                Step::Read(read) => StepRef::Read(read),
                Step::Write(pdu) => StepRef::Write(pdu),
                Step::Identify { object } => StepRef::Identify { object: *object },
                Step::Registers(registers) => StepRef::Registers(*registers),
            }),
        }
    }

    fn is_broadcast(&self) -> bool {
        self.unit == 0 && self.framing != Framing::Tcp
    }

    fn read_values(&self, read: &ReadStep, data: &[u8], readings: &mut Vec<PointReading>) {
        for &Slot { point, offset } in &read.slots {
            let (codec, offset) = (&self.codecs[usize::from(point.0)], usize::from(offset));
            readings.push(if read.table.is_bits() {
                let bit = data.get(offset / 8).map(|byte| byte >> (offset % 8) & 1 == 1);
                PointReading::new(point, bit.ok_or(NoData::BadReply).and_then(|on| codec.coil(on)))
            } else {
                match data.get(2 * offset..2 * offset + codec.bytes()) {
                    Some(registers) => PointReading::new(point, codec.registers(registers)).of(registers),
                    None => PointReading::new(point, Err(NoData::BadReply)),
                }
            });
        }
    }
}

/// The id of the step at a position, as they are counted in a device: far fewer than 2^31.
fn id_of(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Driver for ModbusDevice {
    fn groups(&self) -> usize {
        self.groups.len()
    }

    fn station(&self) -> u64 {
        u64::from(self.unit)
    }

    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>) {
        self.planned_steps(group, steps);
    }

    fn shape(&self, step: StepId) -> StepShape {
        let Some(step) = self.step(step) else {
            return StepShape { request_bytes: 0, reply_bytes: 0, repeatable: false, pause_after: Duration::ZERO };
        };
        let pdu = step.pdu();
        let pause = Duration::from_millis(u64::from(self.limits.pause_ms));
        let (reply_bytes, pause_after) = if self.is_broadcast() {
            (0, pause.max(BROADCAST_PAUSE))
        } else {
            (self.framing.frame_bytes(pdu::expected_reply_bytes(&pdu)), pause)
        };
        StepShape {
            request_bytes: self.framing.frame_bytes(pdu.len()),
            reply_bytes,
            repeatable: !matches!(step, StepRef::Write(_)),
            pause_after,
        }
    }

    fn points(&self, step: StepId, points: &mut Vec<PointIx>) {
        if let Some(StepRef::Read(read)) = self.step(step) {
            points.extend(read.slots.iter().map(|slot| slot.point));
        }
    }

    fn encode(&self, step: StepId, tag: u16, bytes: &mut Vec<u8>) {
        if let Some(step) = self.step(step) {
            self.framing.encode(tag, self.unit, &step.pdu(), bytes);
        }
    }

    fn decode(&self, step: StepId, tag: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded {
        let Some(step) = self.step(step) else {
            return match bytes.len() {
                0 => Decoded::Incomplete { missing: 1 },
                bytes => Decoded::Skip { bytes, why: Reject::Noise },
            };
        };
        let request = step.pdu();
        let expect = Expect { transaction: tag, unit: self.unit, request: &request };
        let found = scan::find(self.framing, &expect, bytes, |pdu| match step {
            _ if pdu[0] & function::EXCEPTION != 0 => {}
            StepRef::Read(read) => {
                read.is_answered.set(true);
                self.read_values(read, &pdu[2..], readings);
            }
            StepRef::Identify { .. } => self.read_identity(pdu, readings),
            StepRef::Registers(registers) => action::read_registers(registers, &pdu[2..], readings),
            StepRef::Write(_) => {}
        });
        match found {
            Found::Incomplete { missing } => Decoded::Incomplete { missing },
            Found::Skip { bytes, why } => Decoded::Skip { bytes, why: why.reject() },
            Found::Reply { bytes, exception: Some(code), .. } => Decoded::Exception { bytes, code },
            Found::Reply { bytes, exception: None, .. } => Decoded::Reply { bytes },
        }
    }

    fn denial(&self, code: u8) -> Denial {
        // Modbus Application Protocol 1.1b3, chapter 7.
        match code {
            5 => Denial::Pending,
            6 => Denial::Busy,
            0x0A => Denial::NoPath,
            0x0B => Denial::NoAnswer,
            _ => Denial::Final,
        }
    }

    fn refused(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>) {
        self.split(step, code, instead);
    }

    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError> {
        self.begin_action(action, steps)
    }

    fn follow_up(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        self.continue_identity(step, steps);
    }

    fn set_personal(&mut self, is_personal: bool) {
        self.is_personal = is_personal;
    }

    fn tells_secrets(&self) -> bool {
        self.is_personal
    }

    fn conceal(&self, is_request: bool, frame: &mut [u8]) -> Option<Range<usize>> {
        if self.is_personal { conceal(self.framing, is_request, self.unit, frame) } else { None }
    }

    fn is_request(&self, bytes: &[u8]) -> bool {
        self.framing == Framing::Rtu && is_rtu_request(bytes)
    }

    fn end(&mut self) {
        self.actions.clear();
        self.next_object.set(None);
    }
}

/// Whether the bytes are one RTU request that cannot be an answer: reads, and writes of several. Writes of one are
/// answered by themselves.
fn is_rtu_request(bytes: &[u8]) -> bool {
    let Some((body, &[low, high])) = bytes.split_last_chunk::<2>() else { return false };
    let shaped = match *body {
        // An answer of three bytes is as long.
        [_, 1..=4, a1, _, n1, n0] => a1 != 3 && (1..=2000).contains(&u16::from_be_bytes([n1, n0])),
        [_, 15 | 16, _, _, _, _, count, ref data @ ..] => data.len() == usize::from(count) && count > 0,
        _ => false,
    };
    shaped && crc16(body) == u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests;
