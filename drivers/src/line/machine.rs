//! The machine: what it holds, and the methods that the shell calls.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use gatehouse_core::{DeviceIx, Mono, PointIx, PointReading, StepId};

use super::cadence::Cadence;
use super::command::{Commands, PATIENT_MAX, QUEUE_MAX};
use super::dead::Budget;
use super::device::{Device, LineDevice};
use super::flight::{Flight, Outcome, Pace};
use super::foreign::Overheard;
use super::late::Outstanding;
use super::output::{CloseReason, Command, CommandRefusal, CommandResult, Output, Wake};
use super::poll::{Poll, Steps};
use super::settings::{Echo, LineSettings, Medium, Wire};
use super::stats::{DeviceStatus, LineStats};
use super::trace::{Trace, TraceFrame};
use super::tuning::Tuning;

/// Polls that fall due in this time after the port closed wait for it; later ones are reported as gaps.
const CLOSED_GRACE: Duration = Duration::from_secs(1);

/// First polls further away than this are taken at once, so that a site is complete soon after the start.
const FIRST_POLL_WITHIN: Duration = Duration::from_secs(2);

/// Most outputs that wait to be taken; beyond, samples are dropped and counted.
const OUTPUTS_MAX: usize = 1024;

/// Most sample buffers kept for reuse.
const POOL_MAX: usize = 16;

/// One physical channel: see the [module's doc](super) for the calling order.
pub struct Line {
    pub(super) settings: LineSettings,
    pub(super) devices: Vec<Device>,
    pub(super) polls: Vec<Poll>,
    pub(super) commands: Commands,
    /// Requests of commands since the last poll.
    pub(super) commands_run: u8,
    pub(super) port: Port,
    /// What the port is set to.
    pub(super) tuning: Tuning,
    pub(super) flight: Option<Flight>,
    /// The request in flight.
    pub(super) request: Vec<u8>,
    /// What was received and not yet judged.
    pub(super) rx: Vec<u8>,
    /// When the next request may begin.
    pub(super) free_at: Mono,
    /// Until when noise may keep the line waiting for silence; `None`: it has had its time.
    pub(super) patience: Option<Mono>,
    /// When the last byte was received.
    pub(super) last_heard: Mono,
    /// Where the readings of the last reply begin in their buffer.
    pub(super) fresh: usize,
    pub(super) late: Outstanding,
    /// Whether the adapter echoes, as found out since the port was opened.
    pub(super) echo_found: Option<bool>,
    pub(super) pace: Pace,
    /// Grows with requests that ended with an early reply and nothing else, and shrinks with others.
    pub(super) early_score: u8,
    /// Requests in a row that brought not one byte, on this connection.
    pub(super) silent_run: u8,
    pub(super) budget: Budget,
    pub(super) rng: Rng,
    pub(super) tag: u16,
    pub(super) overheard: Overheard,
    /// Until then what is received may be the echo of a secret request.
    pub(super) hushed_until: Mono,
    pub(super) stats: LineStats,
    pub(super) trace: Trace,
    /// Scratch, kept for its capacity.
    pub(super) spare: Spare,
    outputs: VecDeque<Output>,
    pool: Vec<Vec<PointReading>>,
    wake: Option<(Mono, Wake)>,
}

/// The port, as far as the line knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// There.
    Open,
    /// Gone, or asked to be closed, since then.
    Closed(Mono),
}

/// Buffers that are filled and emptied within one call.
#[derive(Debug, Default)]
pub(super) struct Spare {
    pub(super) steps: Vec<StepId>,
    pub(super) points: Vec<PointIx>,
    pub(super) readings: Vec<PointReading>,
}

impl Line {
    /// Makes the line at `now`, its port closed. Due times count from `now` plus the line's phase, spread over each
    /// group's interval. `seed` decides the jitter of probes.
    pub fn new(settings: LineSettings, devices: Vec<LineDevice>, seed: u64, now: Mono) -> Line {
        let polls = plan_polls(&settings, &devices, now);
        let devices: Vec<Device> = devices.into_iter().map(|device| Device::new(device, &settings)).collect();
        let tuning = Tuning::of(settings.medium, &devices);
        let mut line = Line {
            settings,
            devices,
            polls,
            commands_run: 0,
            commands: Commands::default(),
            port: Port::Closed(now),
            tuning,
            flight: None,
            request: Vec::new(),
            rx: Vec::new(),
            free_at: now,
            patience: None,
            last_heard: Mono(0),
            fresh: 0,
            late: Outstanding::default(),
            echo_found: None,
            pace: Pace::Unknown,
            early_score: 0,
            silent_run: 0,
            budget: Budget::new(now),
            rng: Rng::with_seed(seed),
            tag: 0,
            overheard: Overheard::default(),
            hushed_until: Mono(0),
            stats: LineStats::default(),
            trace: Trace::default(),
            spare: Spare::default(),
            outputs: VecDeque::new(),
            pool: Vec::new(),
            wake: None,
        };
        line.arm(now);
        line
    }

    /// The port or connection is there. What was in flight on an earlier one is over.
    pub fn handle_opened(&mut self, now: Mono) {
        if self.flight.is_some() {
            self.settle(now, Outcome::PortLost);
        }
        self.port = Port::Open;
        self.tuning.reset();
        self.rx.clear();
        self.free_at = self.free_at.max(now + self.silence());
        (self.echo_found, self.pace, self.early_score, self.silent_run) = (None, Pace::Unknown, 0, 0);
        for device in self.devices.iter_mut().filter(|device| device.is_offline()) {
            device.backoff.probe_at = device.backoff.probe_at.min(now);
        }
        self.arm(now);
    }

    /// The port or connection is gone. A device's state does not change for that: only its readings stop.
    pub fn handle_closed(&mut self, now: Mono) {
        if self.port == Port::Open {
            self.port = Port::Closed(now);
        }
        if self.flight.is_some() {
            self.settle(now, Outcome::PortLost);
        }
        self.tuning.reset();
        self.rx.clear();
        self.arm(now);
    }

    /// Until when a reply to what this line has asked may still come; `None` when none is owed.
    pub fn late_until(&self) -> Option<Mono> {
        let owed = |flight: Flight| {
            let device = &self.devices[flight.device];
            flight.end + flight.timeout.max(device.ceiling()) + device.late_window
        };
        self.late.latest().max(self.flight.map(owed))
    }

    /// The last transmit was handed to the kernel in full (after `tcdrain` where the port can tell).
    pub fn handle_sent(&mut self, now: Mono) {
        if let Some(flight) = &mut self.flight
            && !flight.sent
        {
            flight.sent = true;
            flight.end = flight.end.max(now);
            self.set_deadline(None);
        }
        self.arm(now);
    }

    /// Bytes came, as many as there were, in whatever pieces.
    pub fn handle_bytes(&mut self, now: Mono, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.stats.bytes_received += bytes.len() as u64;
        self.receive(now, bytes);
        self.arm(now);
    }

    /// The time that [`Line::poll_timeout`] named has come. Calling it early or late does no harm.
    pub fn handle_timeout(&mut self, now: Mono) {
        match self.flight {
            Some(flight) if now >= flight.deadline => self.give_up(now),
            Some(_) => {}
            None => {
                self.expire_switch(now);
                self.attend(now);
            }
        }
        self.arm(now);
    }

    /// Queues a command; its end is an [`Output::CommandDone`], at once if it cannot be accepted.
    pub fn handle_command(&mut self, now: Mono, command: Command) {
        let refusal = if !self.devices.iter().any(|device| device.ix == command.device) {
            Some(CommandRefusal::NoSuchDevice)
        } else if self.commands.len() >= QUEUE_MAX || (command.is_patient() && self.commands.patient() >= PATIENT_MAX) {
            self.stats.commands_turned_away += 1;
            Some(CommandRefusal::QueueFull)
        } else {
            None
        };
        match refusal {
            Some(refusal) => self.command_done(command.id, now, CommandResult::Refused(refusal)),
            None => self.commands.queue.push_back((now, command)),
        }
        self.arm(now);
    }

    /// The poll groups of a device go on with these intervals, in the driver's order; what is due stays due. Ask
    /// [`Line::poll_timeout`] anew.
    pub fn handle_intervals(&mut self, now: Mono, device: DeviceIx, intervals: &[Duration]) {
        let Some(at) = self.devices.iter().position(|known| known.ix == device) else { return };
        for poll in self.polls.iter_mut().filter(|poll| poll.device == at) {
            if let Some(interval) = intervals.get(poll.group).or(intervals.last()) {
                poll.cadence.retime(now, *interval, poll.active);
            }
        }
        self.arm(now);
    }

    /// Has a device be given another key: see [`Driver::change_key`](gatehouse_core::Driver::change_key).
    pub fn handle_key(&mut self, device: DeviceIx, key: [u8; 16]) {
        if let Some(known) = self.devices.iter_mut().find(|known| known.ix == device) {
            known.driver.change_key(key);
        }
    }

    /// Tells whether points of a device show who was at a reader: see
    /// [`Driver::set_personal`](gatehouse_core::Driver::set_personal). The trace then forgets what it had of that.
    pub fn handle_personal(&mut self, device: DeviceIx, is_personal: bool) {
        if let Some(known) = self.devices.iter_mut().find(|known| known.ix == device) {
            known.driver.set_personal(is_personal);
            self.trace.conceal(known);
        }
    }

    /// Appends the bytes to write now, if there are any; drop what the port holds unread first (serial lines only).
    pub fn poll_transmit(&mut self, now: Mono, out: &mut Vec<u8>) -> bool {
        let sent = self.take_turn(now);
        if sent {
            out.extend_from_slice(&self.request);
        }
        self.arm(now);
        sent
    }

    /// The next thing to tell the shell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Line::handle_timeout`] and [`Line::poll_transmit`] at the latest, and why.
    pub fn poll_timeout(&self) -> Option<(Mono, Wake)> {
        self.wake
    }

    /// Takes a used sample buffer back, so that the next sample needs no new one.
    pub fn recycle(&mut self, mut readings: Vec<PointReading>) {
        if self.pool.len() < POOL_MAX {
            readings.clear();
            self.pool.push(readings);
        }
    }

    /// The counters.
    pub fn stats(&self) -> &LineStats {
        &self.stats
    }

    /// What is known of a device; `None` if it is not on this line.
    pub fn device_status(&self, ix: DeviceIx) -> Option<DeviceStatus> {
        let device = self.devices.iter().find(|device| device.ix == ix)?;
        Some(DeviceStatus {
            timeout: device.timeout(),
            turnaround: device.turnaround.mean(),
            next_probe: device.is_offline().then_some(device.backoff.probe_at),
            ..device.status
        })
    }

    /// The last frames, the oldest first.
    pub fn frames(&self) -> impl Iterator<Item = &TraceFrame> {
        self.trace.frames()
    }

    /// Tells the shell something that must not be lost.
    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Hands out a poll's readings, or counts that nobody took the ones before.
    pub(super) fn sample(&mut self, poll: usize, at: Mono, mut readings: Vec<PointReading>) {
        if self.outputs.len() >= OUTPUTS_MAX {
            self.stats.outputs_dropped += 1;
            self.recycle(readings);
            return;
        }
        if !readings.is_sorted_by_key(|reading| reading.point) {
            readings.sort_unstable_by_key(|reading| reading.point);
        }
        let Poll { device, group, .. } = self.polls[poll];
        let device = self.devices[device].ix;
        self.outputs.push_back(Output::Sample { device, group, at, readings });
    }

    pub(super) fn command_done(&mut self, id: u64, at: Mono, result: CommandResult) {
        self.output(Output::CommandDone { id, at, result });
    }

    /// An empty buffer for readings.
    pub(super) fn buffer(&mut self) -> Vec<PointReading> {
        self.pool.pop().unwrap_or_default()
    }

    /// Asks for the port to be closed and opened again.
    pub(super) fn close_port(&mut self, now: Mono, reason: CloseReason) {
        if self.port == Port::Open {
            self.port = Port::Closed(now);
            self.rx.clear();
            self.output(Output::ClosePort { reason });
        }
    }

    /// When polls are reported as gaps because the port is gone; `None` while it is open.
    pub(super) fn gap_at(&self) -> Option<Mono> {
        match self.port {
            Port::Open => None,
            Port::Closed(since) => Some(since + CLOSED_GRACE),
        }
    }

    /// The wire as the port is set now; `None` on a socket.
    pub(super) fn wire(&self) -> Option<Wire> {
        match self.settings.medium {
            Medium::Serial(wire) => Some(self.tuning.now().map_or(wire, |characters| wire.with(characters))),
            Medium::Tcp | Medium::RtuOverTcp | Medium::Datagram => None,
        }
    }

    /// True where late replies are told apart, or got rid of, by the connection itself.
    pub(super) fn is_stream(&self) -> bool {
        match self.settings.medium {
            Medium::Tcp | Medium::RtuOverTcp => true,
            Medium::Serial(_) | Medium::Datagram => false,
        }
    }

    /// Time of so many characters; none on a socket.
    pub(super) fn chars(&self, chars: usize) -> Duration {
        self.wire().map_or(Duration::ZERO, |wire| wire.chars(chars))
    }

    /// Silence between frames; none on a socket.
    pub(super) fn silence(&self) -> Duration {
        self.wire().map_or(Duration::ZERO, |wire| wire.silence())
    }

    /// Whether the adapter echoes, as set or found out; `None`: not known yet.
    pub(super) fn echo(&self) -> Option<bool> {
        match self.wire().map_or(Echo::Off, |wire| wire.echo) {
            Echo::Off => Some(false),
            Echo::On => Some(true),
            Echo::Detect => self.echo_found,
        }
    }

    pub(super) fn arm(&mut self, now: Mono) {
        self.wake = self.next_wake(now);
    }
}

/// One poll for each group of each device, its slots at its share of the interval; devices of like characters next to
/// each other, so that they change once in a round.
fn plan_polls(settings: &LineSettings, devices: &[LineDevice], now: Mono) -> Vec<Poll> {
    let mut order: Vec<usize> = (0..devices.len()).collect();
    order.sort_by_key(|&at| devices[at].settings.characters);
    let groups = || order.iter().flat_map(|&at| (0..devices[at].driver.groups()).map(move |group| (at, group)));
    let count = u32::try_from(groups().count()).unwrap_or(u32::MAX);
    let origin = now + settings.phase;
    let poll = |(place, (device, group)): (u32, (usize, usize))| {
        let intervals = &devices[device].settings.intervals;
        let interval = intervals.get(group).or(intervals.last()).copied().unwrap_or(Duration::from_secs(1));
        let offset = interval.mul_f64(f64::from(place) / f64::from(count));
        let mut cadence = Cadence::new(origin + offset, interval);
        if offset > FIRST_POLL_WITHIN {
            cadence.hurry(origin);
        }
        Poll::new(device, group, cadence)
    };
    (0u32..).zip(groups()).map(poll).collect()
}

impl Poll {
    /// Starts a new poll at `now` with the steps that `fill` appends; returns how many slots were skipped.
    pub(super) fn begin(&mut self, now: Mono, fill: impl FnOnce(&mut Vec<StepId>)) -> u64 {
        self.turn = self.cadence.turn();
        let skipped = self.cadence.begin(now);
        self.active = true;
        (self.answered, self.failure) = (false, None);
        (self.not_before, self.held_until) = (now, now);
        fill(self.steps.restart());
        skipped
    }
}

impl Steps {
    /// The steps that `fill` appends.
    pub(super) fn of<E>(fill: impl FnOnce(&mut Vec<StepId>) -> Result<(), E>) -> Result<Self, E> {
        let mut steps = Steps::default();
        fill(steps.restart())?;
        Ok(steps)
    }
}
