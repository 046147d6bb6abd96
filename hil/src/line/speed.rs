//! How fast characters travel on a simulated line, and how soon slaves answer.

/// Speed and manners of a simulated line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Bits per second.
    pub baud: u32,
    /// Bits of one character: 10 at 8N1, 11 at 8E1.
    pub char_bits: u8,
    /// Time that a slave takes from the end of a request's silence to the beginning of its reply, in microseconds.
    pub turnaround_us: u32,
}

impl Speed {
    /// 8N1 at this speed, and slaves that answer after 1 ms.
    pub fn new(baud: u32) -> Self {
        Speed { baud, char_bits: 10, turnaround_us: 1000 }
    }

    /// Nanoseconds of so many characters.
    pub fn chars_ns(&self, chars: usize) -> u64 {
        chars as u64 * u64::from(self.char_bits) * 1_000_000_000 / u64::from(self.baud.max(1))
    }

    /// Nanoseconds of 3.5 characters, the silence that separates frames (Modbus over serial line, 2.5.1.1).
    pub fn silence_ns(&self) -> u64 {
        self.chars_ns(7) / 2
    }

    /// Nanoseconds from the begin of one request to the earliest begin of the next:
    /// request, silence, turnaround, reply, silence.
    pub fn transaction_ns(&self, request: usize, reply: usize) -> u64 {
        self.chars_ns(request + reply) + 2 * self.silence_ns() + u64::from(self.turnaround_us) * 1000
    }

    /// Characters that come together: one up to 19200, then eight as from a 16550's receive buffer.
    pub(super) fn chunk(&self) -> usize {
        if self.baud <= 19_200 { 1 } else { 8 }
    }
}
