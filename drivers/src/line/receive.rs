//! From bytes to a verdict: local echo, replies that are too early, late replies of others, noise.

use std::time::Duration;

use gatehouse_core::{Decoded, Mono, Reject};

use super::flight::{Flight, Outcome, Pace, Task};
use super::machine::Line;
use super::output::CloseReason;
use super::settings::Medium;
use super::trace::Verdict;

/// Most received bytes that wait for a verdict: four of the longest RTU frames.
const RX_MAX: usize = 1024;

/// Pause inside a reply that does not end the wait for it: USB adapters hand bytes over every 16 ms.
const GAP_SERIAL: Duration = Duration::from_millis(30);

/// The same on a socket, where a lost segment is sent again after 200 ms.
const GAP_SOCKET: Duration = Duration::from_millis(250);

/// Characters that a UART may keep back before it tells of them.
const FIFO: usize = 32;

/// The longest frame of any protocol, with what may precede it: a reply that grows is waited for that long.
const LONGEST_FRAME: usize = 280;

/// Least time for devices to act on a broadcast (Modbus over serial line, 2.4.1: 100 to 200 ms).
const BROADCAST_PAUSE: Duration = Duration::from_millis(100);

/// Time for the kernel to take a request, beyond its time on the wire.
const TRANSMIT_SLACK: Duration = Duration::from_secs(2);

/// How long noise may keep the line waiting for silence.
pub(super) const BABBLE: Duration = Duration::from_secs(2);

/// Requests in a row without one byte after which a connection is given up.
const SILENT_RUN: u8 = 3;

/// A request that brought only an early reply weighs as much as so many whose reply took its time. Two in a row, or one
/// in four, say that the port is no wire of its speed, and that the replies were no left-overs.
const EARLY_WEIGHT: u8 = 4;

/// Most bytes of noise before a reply that do not put it in doubt: half-duplex drivers add a few when they turn on.
const GLITCH_MAX: usize = 4;

/// Word of a device that comes sooner than this after the last waits so long: whoever sends it for the device cannot have
/// it asked without end.
const HEED_PAUSE: Duration = Duration::from_millis(100);

/// What a recognised answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// What was asked, by whatever names it in the protocol.
    Values,
    /// That there is nothing of what was asked.
    Nothing,
    /// No, with the protocol's code.
    Exception(u8),
}

/// What became of the local echo at the head of what was received.
enum EchoAt {
    /// It is not there.
    Absent,
    /// More bytes are needed to tell.
    Wait,
    /// It was there and is dropped.
    Stripped,
}

impl Line {
    pub(super) fn receive(&mut self, now: Mono, bytes: &[u8]) {
        if self.settings.medium == Medium::Datagram {
            return self.receive_datagram(now, bytes);
        }
        for piece in bytes.chunks(RX_MAX / 2) {
            if self.rx.len() + piece.len() > RX_MAX {
                self.stats.bytes_discarded += self.rx.len() as u64;
                self.rx.clear();
            }
            self.rx.extend_from_slice(piece);
            match &mut self.flight {
                Some(flight) => {
                    flight.received += piece.len();
                    self.silent_run = 0;
                    self.last_heard = now;
                    self.judge(now);
                }
                None => {
                    let late = self.stats.late_replies;
                    self.stray(now);
                    if self.stats.late_replies == late {
                        self.overhear(now, piece);
                    }
                }
            }
        }
    }

    /// A datagram is a frame by itself: it is judged whole, and nothing of it is kept.
    fn receive_datagram(&mut self, now: Mono, bytes: &[u8]) {
        self.rx.clear();
        // No frame is so long that cutting it would make another of it.
        self.rx.extend(bytes.iter().take(RX_MAX));
        if let Some(flight) = &mut self.flight {
            flight.received += bytes.len();
            self.last_heard = now;
            self.judge(now);
            // What a fragment announced says nothing of the next datagram.
            self.need(1);
        } else if self.claim_late(now, None).is_none() && !self.heed_word(now) {
            self.stats.bytes_discarded += self.rx.len() as u64;
            self.note_heard(now, None, Verdict::Stray, self.rx.len());
        }
        self.rx.clear();
    }

    /// Polls a device ahead of its time if what was received is word of it. The word itself is believed in nothing.
    fn heed_word(&mut self, now: Mono) -> bool {
        let Some(at) = self.devices.iter().position(|device| device.driver.is_word(&self.rx)) else { return false };
        let device = &mut self.devices[at];
        let (ix, due) = (device.ix, device.heeded.map_or(now, |last| now.max(last + HEED_PAUSE)));
        if device.heeded.is_none_or(|last| last <= now) {
            device.heeded = Some(due);
            self.stats.words_heeded += 1;
            for poll in self.polls.iter_mut().filter(|poll| poll.device == at) {
                poll.cadence.hurry(due);
            }
        }
        self.note_heard(now, Some(ix), Verdict::Stray, self.rx.len());
        true
    }

    /// Sets when the flight is given up; `progress`: bytes came just now, and so many more are missing.
    pub(super) fn set_deadline(&mut self, progress: Option<(Mono, usize)>) {
        let Some(flight) = self.flight else { return };
        let reply = self.chars(flight.shape.reply_bytes);
        let serial = self.wire().is_some();
        let mut deadline = match flight.shape.reply_bytes {
            0 => flight.end + flight.shape.pause_after.max(BROADCAST_PAUSE),
            _ => flight.end + flight.timeout + reply,
        };
        if let Some((now, missing)) = progress {
            let (gap, most) = match serial {
                true => (GAP_SERIAL, reply.max(self.chars(LONGEST_FRAME)) + Duration::from_millis(100)),
                false => (GAP_SOCKET, self.devices[flight.device].ceiling()),
            };
            let patient = now + self.chars(missing.min(flight.shape.reply_bytes.max(FIFO))) + gap;
            deadline = deadline.max(patient.min(deadline + most));
        }
        if !flight.sent {
            deadline = deadline + TRANSMIT_SLACK;
        }
        if let Some(flight) = &mut self.flight {
            flight.deadline = deadline;
        }
    }

    /// The deadline of the flight has passed.
    pub(super) fn give_up(&mut self, now: Mono) {
        let Some(flight) = self.flight else { return };
        if !flight.sent {
            self.close_port(now, CloseReason::TransmitStuck);
            return self.settle(now, Outcome::PortLost);
        }
        if flight.shape.reply_bytes == 0 {
            return self.settle(now, Outcome::Sent);
        }
        let device = Some(self.devices[flight.device].ix);
        self.note_heard(now, device, Verdict::TimedOut, self.rx.len());
        if flight.early {
            self.early_score = self.early_score.saturating_add(EARLY_WEIGHT);
            if self.early_score >= 2 * EARLY_WEIGHT {
                self.pace = Pace::Instant;
            }
        }
        let held = flight.echo_awaited && self.echo().is_none() && self.rx.starts_with(&self.request);
        self.stats.bytes_discarded += self.rx.len() as u64;
        self.settle(now, if held { Outcome::Unproven } else { Outcome::Silence });
        if self.wire().is_some() {
            self.rx.clear();
        }
    }

    /// True once a connection brought nothing for so long that it is better closed.
    pub(super) fn count_silence(&mut self, flight: &Flight) -> bool {
        let others_answer = self.devices.iter().any(|device| device.is_trusted());
        if flight.received == 0 && !(matches!(flight.task, Task::Probe(_)) && others_answer) {
            self.silent_run = self.silent_run.saturating_add(1);
        }
        self.silent_run >= SILENT_RUN
    }

    fn judge(&mut self, now: Mono) {
        while let Some(flight) = self.flight {
            if self.rx.len() < flight.need {
                if self.settings.medium == Medium::Datagram {
                    return; // The rest of a datagram does not come.
                }
                let missing = flight.need - self.rx.len();
                return self.set_deadline(Some((now, missing)));
            }
            if flight.echo_awaited {
                match self.strip_echo() {
                    EchoAt::Absent => {}
                    EchoAt::Wait => return self.set_deadline(Some((now, flight.shape.reply_bytes))),
                    EchoAt::Stripped => continue,
                }
            }
            match self.decode(&flight) {
                Decoded::Incomplete { missing } => self.need(self.rx.len() + missing.max(1)),
                Decoded::Skip { bytes, why } => self.skip(now, &flight, bytes, why),
                Decoded::Reply { bytes } => self.take_reply(now, &flight, bytes, Said::Values),
                Decoded::Nothing { bytes } => self.take_reply(now, &flight, bytes, Said::Nothing),
                Decoded::Exception { bytes, code } => self.take_reply(now, &flight, bytes, Said::Exception(code)),
            }
        }
        // The reply is taken: what follows it is nobody's, or on a connection the next frame's.
        if self.wire().is_some() && !self.rx.is_empty() {
            self.stray(now);
        }
    }

    fn need(&mut self, bytes: usize) {
        if let Some(flight) = &mut self.flight {
            flight.need = bytes;
        }
    }

    /// Asks the driver; readings go where the task wants them, and only those of a reply stay there.
    fn decode(&mut self, flight: &Flight) -> Decoded {
        let readings = match flight.task {
            Task::Poll(at) => &mut self.polls[at].readings,
            Task::Probe(_) | Task::Command(_) => {
                self.spare.readings.clear();
                &mut self.spare.readings
            }
        };
        let mark = readings.len();
        let verdict = self.devices[flight.device].driver.decode(flight.step, flight.tag, &self.rx, readings);
        match verdict {
            Decoded::Reply { .. } | Decoded::Nothing { .. } => self.fresh = mark,
            Decoded::Incomplete { .. } | Decoded::Skip { .. } | Decoded::Exception { .. } => readings.truncate(mark),
        }
        verdict
    }

    /// Takes back the readings of the last reply.
    fn undo_readings(&mut self, flight: &Flight) {
        match flight.task {
            Task::Poll(at) => self.polls[at].readings.truncate(self.fresh),
            Task::Probe(_) | Task::Command(_) => self.spare.readings.clear(),
        }
    }

    fn strip_echo(&mut self) -> EchoAt {
        let Some(flight) = self.flight else { return EchoAt::Absent };
        let length = self.request.len();
        let seen = self.rx.len().min(length);
        if self.rx[..seen] != self.request[..seen] {
            return EchoAt::Absent;
        }
        if seen < length {
            self.need(length);
            return EchoAt::Wait;
        }
        if self.echo().is_none() && flight.shape.reply_bytes == length {
            // It may as well be the reply. What follows can tell: an answer after it makes it an echo.
            let answer = match self.rx[length..] {
                [] => Decoded::Incomplete { missing: 1 },
                ref rest => {
                    self.spare.readings.clear();
                    let driver = &self.devices[flight.device].driver;
                    driver.decode(flight.step, flight.tag, rest, &mut self.spare.readings)
                }
            };
            if matches!(answer, Decoded::Incomplete { .. } | Decoded::Skip { .. }) {
                self.need(self.rx.len() + 1);
                return EchoAt::Wait;
            }
        } else {
            self.echo_found = Some(true);
        }
        self.rx.drain(..length);
        if let Some(flight) = &mut self.flight {
            (flight.echo_awaited, flight.need) = (false, 1);
            flight.received = flight.received.saturating_sub(length);
        }
        EchoAt::Stripped
    }

    /// Drops what is not the reply; it may be the late reply of another request.
    fn skip(&mut self, now: Mono, flight: &Flight, bytes: usize, why: Reject) {
        self.need(1);
        if let Some(bytes) = self.claim_late(now, Some(flight)) {
            self.rx.drain(..bytes);
            return self.not_its_own(bytes);
        }
        if self.settings.medium == Medium::Datagram && (why == Reject::AddressMismatch || self.heed_word(now)) {
            self.not_its_own(self.rx.len());
        }
        let bytes = bytes.clamp(1, self.rx.len());
        self.overhear_frame(now, flight.device, bytes);
        self.stats.note_reject(why);
        self.stats.bytes_discarded += bytes as u64;
        let device = Some(self.devices[flight.device].ix);
        self.note_heard(now, device, Verdict::Rejected(why), bytes);
        self.rx.drain(..bytes);
        if let Some(flight) = &mut self.flight {
            flight.reject = Some(why);
            if matches!(why, Reject::Noise | Reject::BadChecksum | Reject::BadCharacter) {
                flight.garbled += bytes;
            }
        }
    }

    /// A datagram that is not from the device that was asked, or not about what it was asked, is no bad reply.
    fn not_its_own(&mut self, bytes: usize) {
        if let (Medium::Datagram, Some(flight)) = (self.settings.medium, &mut self.flight) {
            flight.received = flight.received.saturating_sub(bytes);
        }
    }

    /// The driver recognised an answer: takes it, unless it is left over from an earlier request.
    fn take_reply(&mut self, now: Mono, flight: &Flight, bytes: usize, said: Said) {
        let bytes = bytes.clamp(1, self.rx.len());
        self.need(1);
        if said != Said::Values && self.late.expects_another(flight.request) {
            // Neither names a request: this one may be the late answer to another.
            self.stats.late_replies += 1;
            return self.drop_reply(now, flight, bytes, Verdict::Late);
        }
        if flight.garbled > GLITCH_MAX && self.wire().is_some() {
            // More than a driver's glitch: someone talked into the request, so what comes may answer another.
            return self.drop_reply(now, flight, bytes, Verdict::Rejected(Reject::Noise));
        }
        let wire_time = self.chars(self.request.len()) + self.chars(bytes);
        // 3 % for clocks that differ.
        let early = now < flight.start + wire_time.mul_f64(0.97);
        match self.pace {
            Pace::Unknown if early && flight.shape.repeatable => {
                self.pace = Pace::Asked;
                self.drop_reply(now, flight, bytes, Verdict::Early);
                return self.settle(now, Outcome::Again);
            }
            Pace::Asked if early => self.pace = Pace::Instant,
            Pace::Wire if early => {
                self.stats.early_replies += 1;
                if let Some(flight) = &mut self.flight {
                    flight.early = true;
                }
                return self.drop_reply(now, flight, bytes, Verdict::Early);
            }
            Pace::Unknown | Pace::Asked | Pace::Wire if !early => {
                (self.pace, self.early_score) = (Pace::Wire, self.early_score.saturating_sub(1));
            }
            Pace::Unknown | Pace::Asked | Pace::Wire | Pace::Instant => {}
        }
        if flight.echo_awaited && self.echo().is_none() && flight.shape.reply_bytes != self.request.len() {
            self.echo_found = Some(false);
        }
        if !self.late.expects(flight.request) {
            let took = now.since(flight.end).saturating_sub(self.chars(bytes));
            self.devices[flight.device].turnaround.learn(took);
        }
        let (verdict, outcome) = match said {
            Said::Values | Said::Nothing => (Verdict::Reply, Outcome::Reply),
            Said::Exception(code) => (Verdict::Exception(code), Outcome::Exception(code)),
        };
        let device = Some(self.devices[flight.device].ix);
        self.note_heard(now, device, verdict, bytes);
        self.rx.drain(..bytes);
        self.settle(now, outcome);
    }

    fn drop_reply(&mut self, now: Mono, flight: &Flight, bytes: usize, verdict: Verdict) {
        self.undo_readings(flight);
        let device = Some(self.devices[flight.device].ix);
        self.note_heard(now, device, verdict, bytes);
        self.stats.bytes_discarded += bytes as u64;
        self.rx.drain(..bytes);
    }

    /// Bytes that nobody waits for: late replies are recognised, and the silence begins anew.
    fn stray(&mut self, now: Mono) {
        if self.wire().is_none() {
            return;
        }
        if now.since(self.last_heard) > BABBLE {
            self.patience = Some(now + BABBLE);
        }
        self.last_heard = now;
        match self.patience {
            Some(until) if now < until => self.free_at = self.free_at.max(now + self.silence()),
            Some(_) => {
                self.stats.babble += 1;
                self.patience = None;
            }
            None => {}
        }
        while !self.rx.is_empty() {
            if let Some(bytes) = self.claim_late(now, None) {
                self.rx.drain(..bytes);
                continue;
            }
            let Some(bytes) = self.stray_prefix() else { return };
            self.note_heard(now, None, Verdict::Stray, bytes);
            self.stats.bytes_discarded += bytes as u64;
            self.rx.drain(..bytes);
        }
    }

    /// How many stray bytes begin no late reply; `None` if they may become one.
    fn stray_prefix(&mut self) -> Option<usize> {
        let mut prefix = self.rx.len();
        for at in 0..self.late.len() {
            let entry = *self.late.at(at);
            let Some(step) = entry.step.filter(|_| self.is_tuned(entry.device)) else { continue };
            self.spare.readings.clear();
            let driver = &self.devices[entry.device].driver;
            match driver.decode(step, entry.tag, &self.rx, &mut self.spare.readings) {
                Decoded::Skip { bytes, .. } => prefix = prefix.min(bytes.max(1)),
                Decoded::Incomplete { .. }
                | Decoded::Reply { .. }
                | Decoded::Nothing { .. }
                | Decoded::Exception { .. } => return None,
            }
        }
        Some(prefix)
    }

    /// Recognises the reply to a given-up request at the head of what was received, and returns its length.
    fn claim_late(&mut self, now: Mono, flight: Option<&Flight>) -> Option<usize> {
        for at in 0..self.late.len() {
            let entry = *self.late.at(at);
            // What a device says with other characters than the port has now is heard as noise.
            let Some(step) = entry.step.filter(|_| self.is_tuned(entry.device)) else { continue };
            if flight.is_some_and(|flight| flight.request == entry.request) {
                continue;
            }
            self.spare.readings.clear();
            let driver = &self.devices[entry.device].driver;
            let verdict = driver.decode(step, entry.tag, &self.rx, &mut self.spare.readings);
            let (bytes, certain) = match verdict {
                Decoded::Reply { bytes } => (bytes, true),
                // Neither names a request: only a unit's sole one can be the one it answers.
                Decoded::Nothing { bytes } | Decoded::Exception { bytes, .. } => {
                    (bytes, !self.late.expects_another(entry.request))
                }
                Decoded::Incomplete { .. } | Decoded::Skip { .. } => continue,
            };
            let bytes = bytes.clamp(1, self.rx.len());
            self.stats.late_replies += 1;
            self.stats.bytes_discarded += bytes as u64;
            let ix = self.devices[entry.device].ix;
            self.note_heard(now, Some(ix), Verdict::Late, bytes);
            if certain {
                let took = entry.end.map(|end| now.since(end).saturating_sub(self.chars(bytes)));
                let device = &mut self.devices[entry.device];
                device.learn_late(took);
                if device.is_offline() {
                    device.backoff.probe_at = device.backoff.probe_at.min(now);
                }
                if self.late.arrived(at) {
                    self.release_held(now);
                }
            }
            return Some(bytes);
        }
        None
    }
}
