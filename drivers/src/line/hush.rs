//! What the trace tells of bytes that were received: of what is no answer nothing, while it may be the echo of a secret
//! request, or a part of what a device says that nobody is to see.

use gatehouse_core::{DeviceIx, Mono};

use super::flight::Flight;
use super::machine::Line;
use super::trace::{Direction, Verdict};

impl Line {
    /// Notes the first `bytes` of what was received.
    pub(super) fn note_heard(&mut self, now: Mono, device: Option<DeviceIx>, verdict: Verdict, bytes: usize) {
        let is_answer = match verdict {
            Verdict::Reply | Verdict::Exception(_) | Verdict::Late | Verdict::Early => true,
            Verdict::Request | Verdict::Rejected(_) | Verdict::Stray | Verdict::TimedOut => false,
        };
        let hushed = now < self.hushed_until || self.devices.iter().any(|device| device.driver.tells_secrets());
        let told = if is_answer || !hushed { bytes } else { 0 };
        self.trace.note(now, Direction::Received, device, verdict, (&self.rx[..told], &self.devices));
    }

    /// A secret request goes out. Its echo may come whole or in part, and as late as a reply.
    pub(super) fn hush(&mut self, flight: &Flight) {
        let device = &self.devices[flight.device];
        let patience = flight.timeout.max(device.ceiling()) + self.chars(flight.shape.reply_bytes);
        self.hushed_until = self.hushed_until.max(flight.end + patience + device.late_window);
    }
}
