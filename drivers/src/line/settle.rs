//! What follows from the end of a transaction: for the line, the device, and the poll or command it was for.

use std::time::Duration;

use gatehouse_core::driver::Denial;
use gatehouse_core::{Mono, NoData, PointReading, Reject, StepId};

use super::command::Written;
use super::flight::{Flight, Outcome, Task};
use super::late::given_up;
use super::machine::Line;
use super::output::{CloseReason, Output};
use super::settings::Medium;
use super::stats::DeviceState;

/// Pause before asking again a device that said "busy" ([`Denial::Busy`]), longer each time.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Most times that a busy device is asked again for one step.
const BUSY_MAX: u8 = 3;

/// Least silence after bytes that were no sound reply: adapters deliver in pieces, the rest may be under way.
const QUIET_AFTER_NOISE: Duration = Duration::from_millis(10);

impl Line {
    /// Ends the transaction in flight.
    pub(super) fn settle(&mut self, now: Mono, outcome: Outcome) {
        let Some(flight) = self.flight.take() else { return };
        self.count_end(&flight, outcome);
        self.tell_driver(&flight, now, outcome);
        self.note_outstanding(&flight, outcome);
        self.rest(now, &flight, outcome);
        if matches!(outcome, Outcome::Sent) {
            for device in &mut self.devices {
                device.driver.overheard(&self.request);
            }
        }
        match flight.task {
            Task::Poll(at) => self.settle_poll(at, now, &flight, outcome),
            Task::Probe(device) => self.settle_probe(device, now, outcome),
            Task::Command(id) => self.settle_command(id, now, &flight, outcome),
        }
        if matches!(outcome, Outcome::Silence | Outcome::Unproven) {
            let silent = self.count_silence(&flight);
            match self.settings.medium {
                Medium::RtuOverTcp => self.close_port(now, CloseReason::NoTransaction),
                Medium::Tcp if flight.reject == Some(Reject::BadProtocol) => {
                    self.close_port(now, CloseReason::Desynchronised);
                }
                Medium::Tcp if silent => self.close_port(now, CloseReason::Silent),
                Medium::Tcp | Medium::Serial(_) | Medium::Datagram => {}
            }
        }
    }

    /// Tells a driver that leads a conversation how its request ended.
    fn tell_driver(&mut self, flight: &Flight, now: Mono, outcome: Outcome) {
        let answered = match outcome {
            Outcome::Reply | Outcome::Exception(_) => true,
            Outcome::Silence | Outcome::Unproven | Outcome::PortLost => false,
            Outcome::Again | Outcome::Sent => return,
        };
        self.devices[flight.device].driver.settled(flight.step, now, answered);
    }

    fn count_end(&mut self, flight: &Flight, outcome: Outcome) {
        let (line, device) = (&mut self.stats, &mut self.devices[flight.device]);
        match outcome {
            Outcome::Reply | Outcome::Exception(_) => {
                line.replies += 1;
                device.status.replies += 1;
                device.silent = 0;
                if matches!(outcome, Outcome::Exception(_)) {
                    line.exceptions += 1;
                    device.status.exceptions += 1;
                }
            }
            Outcome::Silence | Outcome::Unproven if reason(flight) == NoData::BadReply => {
                line.bad_replies += 1;
                device.status.bad_replies += 1;
            }
            Outcome::Silence | Outcome::Unproven => {
                line.timeouts += 1;
                device.status.timeouts += 1;
                device.silent = device.silent.saturating_add(1);
            }
            Outcome::Again | Outcome::PortLost | Outcome::Sent => {}
        }
    }

    fn denial(&self, device: usize, code: u8) -> Denial {
        self.devices[device].driver.denial(code)
    }

    /// Remembers that a reply to this request may still come.
    fn note_outstanding(&mut self, flight: &Flight, outcome: Outcome) {
        let numbered = self.devices[flight.device].driver.is_session();
        if self.is_stream() || flight.shape.reply_bytes == 0 || numbered {
            return;
        }
        let expected = match outcome {
            // Damaged bytes of about the reply's length, and no one else who could have sent them: it has come.
            Outcome::Silence => flight.garbled * 8 < flight.shape.reply_bytes * 7 || !self.late.is_empty(),
            Outcome::Unproven | Outcome::PortLost => true,
            // One of the two replies to a repeated request has come; the other may.
            Outcome::Reply | Outcome::Exception(_) => self.late.expects(flight.request),
            Outcome::Again | Outcome::Sent => false,
        };
        if expected {
            let device = &self.devices[flight.device];
            let until = flight.end + flight.timeout.max(device.ceiling()) + device.late_window;
            let (step, reply_bytes) = ((flight.step, flight.tag), flight.shape.reply_bytes);
            let entry = given_up(flight.device, step, flight.request, reply_bytes, (flight.end, until));
            self.late.expect(entry, matches!(outcome, Outcome::Reply | Outcome::Exception(_)));
        }
    }

    /// Sets when the line and the device may be used again, and accounts for the time.
    fn rest(&mut self, now: Mono, flight: &Flight, outcome: Outcome) {
        let noisy = !matches!(outcome, Outcome::Reply | Outcome::Exception(_)) && flight.received > 0;
        let mut quiet = self.silence();
        if noisy && self.wire().is_some() {
            quiet = (2 * quiet).max(QUIET_AFTER_NOISE);
        }
        let last = self.last_heard.max(flight.end.min(now));
        self.free_at = self.free_at.max(last + quiet);
        self.patience = Some(now + super::receive::BABBLE);
        if !matches!(outcome, Outcome::PortLost) {
            let ready_at = last + flight.shape.pause_after;
            self.devices[flight.device].ready_at = ready_at;
            if let Some(group) = self.devices[flight.device].pauses_with {
                for device in self.devices.iter_mut().filter(|device| device.pauses_with == Some(group)) {
                    device.ready_at = device.ready_at.max(ready_at);
                }
            }
        }
        let took = flight.start.until(self.free_at.max(now));
        self.stats.busy += took;
        if matches!(flight.task, Task::Probe(_)) && !matches!(outcome, Outcome::Reply | Outcome::Exception(_)) {
            self.stats.busy_dead += took;
            let waiting = self.polls.iter().filter(|poll| !self.devices[poll.device].is_offline());
            let since = waiting.map(|poll| poll.ready_at().max(flight.start)).min().unwrap_or(now);
            self.budget.charge(now, since.until(self.free_at.max(now)));
        }
    }

    fn settle_poll(&mut self, at: usize, now: Mono, flight: &Flight, outcome: Outcome) {
        match outcome {
            Outcome::Reply => {
                self.polls[at].answered = true;
                self.note_answer(flight.device, now);
                self.spare.steps.clear();
                self.devices[flight.device].driver.follow_up(flight.step, &mut self.spare.steps);
                self.polls[at].steps.follow(&self.spare.steps);
                self.polls[at].steps.advance();
                self.go_on(at, now);
            }
            Outcome::Exception(code) => self.poll_refused(at, now, flight, code),
            Outcome::Silence | Outcome::Unproven => {
                let trusted = self.devices[flight.device].is_trusted();
                let poll = &mut self.polls[at];
                let again = flight.shape.repeatable && poll.steps.repeats < self.settings.retries;
                if again && (trusted || poll.answered) {
                    poll.steps.repeats += 1;
                    poll.turn = now;
                    self.stats.retries += 1;
                    self.devices[flight.device].status.retries += 1;
                    return;
                }
                self.fail_step(at, reason(flight));
                if !self.polls[at].answered && !trusted {
                    self.fail_rest(at, reason(flight));
                }
                self.go_on(at, now);
            }
            Outcome::PortLost => self.abandon_poll(at, now, NoData::BusDown),
            Outcome::Sent => {
                self.polls[at].steps.advance();
                self.go_on(at, now);
            }
            Outcome::Again => {}
        }
    }

    fn poll_refused(&mut self, at: usize, now: Mono, flight: &Flight, code: u8) {
        let denial = self.denial(flight.device, code);
        if is_missing(denial) {
            self.fail_step(at, NoData::Exception(code));
            if !self.polls[at].answered {
                self.fail_rest(at, NoData::Exception(code));
            }
            return self.go_on(at, now);
        }
        self.polls[at].answered = true;
        self.note_answer(flight.device, now);
        if is_busy(denial) {
            let poll = &mut self.polls[at];
            if poll.steps.busy < BUSY_MAX && flight.shape.repeatable {
                poll.steps.busy += 1;
                poll.not_before = now + BUSY_PAUSE * u32::from(poll.steps.busy);
                poll.turn = poll.not_before;
                return;
            }
        } else if self.ask_instead(flight, code) && self.polls[at].steps.replace(&self.spare.steps) {
            return;
        }
        self.fail_step(at, NoData::Exception(code));
        self.go_on(at, now);
    }

    /// Asks the driver what to send in place of a refused step; true if there is anything, in the spare list.
    fn ask_instead(&mut self, flight: &Flight, code: u8) -> bool {
        self.spare.steps.clear();
        self.devices[flight.device].driver.refused(flight.step, code, &mut self.spare.steps);
        if !self.spare.steps.is_empty() {
            self.late.forget_steps(flight.device);
        }
        !self.spare.steps.is_empty()
    }

    /// The current step of a poll gives no values, for this reason.
    fn fail_step(&mut self, at: usize, reason: NoData) {
        let poll = &mut self.polls[at];
        if let Some(step) = poll.steps.current() {
            poll.failure = Some(reason);
            poll.steps.advance();
            let mut readings = std::mem::take(&mut poll.readings);
            let device = poll.device;
            self.append_missing(device, step, reason, &mut readings);
            self.polls[at].readings = readings;
        }
    }

    fn fail_rest(&mut self, at: usize, reason: NoData) {
        while self.polls[at].steps.current().is_some() {
            self.fail_step(at, reason);
        }
    }

    fn append_missing(&mut self, device: usize, step: StepId, reason: NoData, readings: &mut Vec<PointReading>) {
        self.spare.points.clear();
        self.devices[device].driver.points(step, &mut self.spare.points);
        readings.extend(self.spare.points.iter().map(|&point| PointReading::new(point, Err(reason))));
    }

    /// Ends the poll if it has no more steps.
    fn go_on(&mut self, at: usize, now: Mono) {
        if self.polls[at].steps.current().is_some() {
            return;
        }
        self.stats.polls += 1;
        let (device, answered) = (self.polls[at].device, self.polls[at].answered);
        let failure = self.polls[at].failure.unwrap_or(NoData::Timeout);
        self.end_poll(at, now);
        if !answered {
            self.note_failed_poll(device, now, failure);
        }
    }

    /// Ends a poll at once: what it has not read is missing for this reason.
    pub(super) fn abandon_poll(&mut self, at: usize, now: Mono, reason: NoData) {
        self.fail_rest(at, reason);
        self.end_poll(at, now);
    }

    fn end_poll(&mut self, at: usize, now: Mono) {
        let empty = self.buffer();
        let poll = &mut self.polls[at];
        poll.active = false;
        poll.cadence.finish(now);
        (poll.not_before, poll.held_until) = (now, now);
        let readings = std::mem::replace(&mut poll.readings, empty);
        self.sample(at, now, readings);
    }

    fn note_answer(&mut self, at: usize, now: Mono) {
        let device = &mut self.devices[at];
        device.status.last_ok = Some(now);
        device.status.failed_polls = 0;
        device.failing_since = None;
        let before = std::mem::replace(&mut device.status.state, DeviceState::Online);
        if before == DeviceState::Online {
            return;
        }
        let ix = device.ix;
        if before == DeviceState::Offline {
            device.backoff.back(now);
            for poll in self.polls.iter_mut().filter(|poll| poll.device == at) {
                poll.cadence.hurry(now);
            }
        }
        self.output(Output::DeviceState { device: ix, at: now, online: true, reason: None });
    }

    fn note_failed_poll(&mut self, at: usize, now: Mono, failure: NoData) {
        let device = &mut self.devices[at];
        device.status.failed_polls = device.status.failed_polls.saturating_add(1);
        let since = *device.failing_since.get_or_insert(now);
        let lost = device.status.failed_polls >= u32::from(self.settings.lost_after_polls)
            && now.since(since) >= self.settings.lost_after_time;
        if !lost || device.is_offline() {
            return;
        }
        device.status.state = DeviceState::Offline;
        device.status.losses += 1;
        let ix = device.ix;
        device.backoff.lost(now, device.backoff_limits(&self.settings), &mut self.rng);
        self.output(Output::DeviceState { device: ix, at: now, online: false, reason: Some(failure) });
    }

    fn settle_probe(&mut self, device: usize, now: Mono, outcome: Outcome) {
        match outcome {
            Outcome::Exception(code) if is_missing(self.denial(device, code)) => self.probe_failed(device, now),
            Outcome::Reply | Outcome::Exception(_) => self.note_answer(device, now),
            Outcome::Silence | Outcome::Unproven | Outcome::Sent => self.probe_failed(device, now),
            Outcome::Again | Outcome::PortLost => {}
        }
    }

    pub(super) fn probe_failed(&mut self, device: usize, now: Mono) {
        let limits = self.devices[device].backoff_limits(&self.settings);
        self.devices[device].backoff.failed(now, limits, &mut self.rng);
    }

    fn settle_command(&mut self, id: u64, now: Mono, flight: &Flight, outcome: Outcome) {
        if let Outcome::Reply | Outcome::Exception(_) = outcome
            && !matches!(outcome, Outcome::Exception(code) if is_missing(self.denial(flight.device, code)))
        {
            self.note_answer(flight.device, now);
        }
        self.spare.points.clear();
        self.devices[flight.device].driver.points(flight.step, &mut self.spare.points);
        let reads = !self.spare.points.is_empty();
        let Some(active) = self.commands.find(id) else { return };
        if active.command.action.acts() && !reads {
            self.settle_write(id, now, flight, outcome);
        } else {
            self.settle_read(id, now, flight, outcome);
        }
    }

    fn settle_write(&mut self, id: u64, now: Mono, flight: &Flight, outcome: Outcome) {
        let written = match outcome {
            Outcome::Reply => Written::Confirmed,
            Outcome::Sent => Written::Broadcast,
            Outcome::Again => return,
            Outcome::Silence | Outcome::Unproven => {
                if flight.shape.repeatable && self.repeat_command(id) {
                    return;
                }
                Written::Doubtful(reason(flight))
            }
            // "Acknowledge" is a promise; a gateway without its device's answer cannot say what that device did.
            Outcome::Exception(code)
                if matches!(self.denial(flight.device, code), Denial::Pending | Denial::NoAnswer) =>
            {
                Written::Doubtful(NoData::Exception(code))
            }
            Outcome::Exception(code)
                if flight.shape.repeatable && is_busy(self.denial(flight.device, code)) && self.patient(id, now) =>
            {
                return;
            }
            Outcome::Exception(code) => return self.end_command(id, now, Some(NoData::Exception(code))),
            Outcome::PortLost => {
                self.note_written(id, Written::Doubtful(NoData::BusDown));
                return self.end_command(id, now, Some(NoData::BusDown));
            }
        };
        self.note_written(id, written);
        self.command_goes_on(id, now, None);
    }

    fn settle_read(&mut self, id: u64, now: Mono, flight: &Flight, outcome: Outcome) {
        let failure = match outcome {
            Outcome::Again => return,
            Outcome::Reply | Outcome::Sent => {
                let mut fresh = std::mem::take(&mut self.spare.readings);
                self.spare.steps.clear();
                self.devices[flight.device].driver.follow_up(flight.step, &mut self.spare.steps);
                if let Some(active) = self.commands.active.iter_mut().find(|active| active.command.id == id) {
                    active.readings.append(&mut fresh);
                    active.steps.follow(&self.spare.steps);
                }
                self.spare.readings = fresh;
                return self.command_goes_on(id, now, None);
            }
            Outcome::Silence | Outcome::Unproven => {
                if self.repeat_command(id) {
                    return;
                }
                reason(flight)
            }
            Outcome::PortLost => NoData::BusDown,
            Outcome::Exception(code) => {
                if self.command_refused(id, now, flight, code) {
                    return;
                }
                NoData::Exception(code)
            }
        };
        self.spare.points.clear();
        self.devices[flight.device].driver.points(flight.step, &mut self.spare.points);
        let missing = self.spare.points.iter().map(|&point| PointReading::new(point, Err(failure)));
        if let Some(active) = self.commands.active.iter_mut().find(|active| active.command.id == id) {
            active.readings.extend(missing);
        }
        match outcome {
            Outcome::Exception(_) => self.command_goes_on(id, now, Some(failure)),
            _ => self.end_command(id, now, Some(failure)),
        }
    }

    /// A command's read was answered by an exception; true if it is to be sent again or in other steps.
    fn command_refused(&mut self, id: u64, now: Mono, flight: &Flight, code: u8) -> bool {
        let denial = self.denial(flight.device, code);
        if is_missing(denial) {
            return false;
        }
        let busy = is_busy(denial);
        if !busy && !self.ask_instead(flight, code) {
            return false;
        }
        let instead = std::mem::take(&mut self.spare.steps);
        let again = match busy {
            true => self.patient(id, now),
            false => self.commands.find(id).is_some_and(|active| active.steps.replace(&instead)),
        };
        self.spare.steps = instead;
        again
    }

    /// Has the command's current step sent again after a pause that a busy device asks for, if it was not asked too often.
    fn patient(&mut self, id: u64, now: Mono) -> bool {
        self.commands.find(id).is_some_and(|active| {
            active.steps.busy += 1;
            active.not_before = now + BUSY_PAUSE * u32::from(active.steps.busy);
            active.steps.busy <= BUSY_MAX
        })
    }

    /// Has the command's current step sent again, if its repeats are not used up.
    fn repeat_command(&mut self, id: u64) -> bool {
        let retries = self.settings.retries;
        let again = self.commands.find(id).is_some_and(|active| {
            active.steps.repeats += 1;
            active.steps.repeats <= retries
        });
        self.stats.retries += u64::from(again);
        again
    }

    fn command_goes_on(&mut self, id: u64, now: Mono, failure: Option<NoData>) {
        let Some(active) = self.commands.find(id) else { return };
        active.steps.advance();
        if active.steps.current().is_none() {
            self.end_command(id, now, failure);
        }
    }
}

/// True where a gateway's device is missing.
fn is_missing(denial: Denial) -> bool {
    matches!(denial, Denial::NoPath | Denial::NoAnswer)
}

/// True where a device asks for patience.
fn is_busy(denial: Denial) -> bool {
    matches!(denial, Denial::Busy | Denial::Pending)
}

/// Why a request without an answer gave no values.
fn reason(flight: &Flight) -> NoData {
    if flight.received > 0 { NoData::BadReply } else { NoData::Timeout }
}
