//! What the line must be told about its channel and its devices.

use std::fmt;
use std::time::Duration;

/// What kind of channel it is; decides what silence, lateness and a broken reply mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A serial pair: characters take time, silences separate frames, late replies carry no transaction.
    Serial(Wire),
    /// Modbus TCP: replies carry their transaction; a late one is skipped.
    Tcp,
    /// RTU frames over a socket: no transaction, so that the socket is closed after a timeout.
    RtuOverTcp,
    /// UDP: each datagram is a frame, and may be lost, doubled or overtaken. A reply that its driver cannot tell from
    /// another's is waited for before anything is sent that it could be taken for.
    Datagram,
}

/// Speed and framing of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Bits per second.
    pub baud: u32,
    /// Bits of one character on the wire: start, data, parity and stop bits; 10 at 8N1, 11 at 8E1.
    pub char_bits: u8,
    /// Whether the adapter hands back what it sends.
    pub echo: Echo,
    /// Silence between frames; `None`: 3.5 characters, at least 1.75 ms.
    pub silence: Option<Duration>,
}

/// How characters travel: the part of a port's settings that devices on one pair may differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Characters {
    /// Bits per second.
    pub baud: u32,
    /// 7 or 8.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

/// The parity bit of a serial character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Parity {
    /// None.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

impl Characters {
    /// Bits of one character on the wire: start, data, parity and stop bits.
    pub fn bits(&self) -> u8 {
        1 + self.data_bits + u8::from(self.parity != Parity::None) + self.stop_bits
    }
}

impl fmt::Display for Characters {
    /// Writes them as people do: `2400 8E1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} {}{parity}{}", self.baud, self.data_bits, self.stop_bits)
    }
}

/// Whether a half-duplex adapter hands back what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Echo {
    /// It does not.
    Off,
    /// It does, always.
    On,
    /// Unknown: find out, and until then believe no write whose reply equals its request without reading back.
    #[default]
    Detect,
}

impl Wire {
    /// The same wire with other characters. A silence that was set holds there too, if their own is not longer.
    pub fn with(&self, characters: Characters) -> Wire {
        let mut wire = Wire { baud: characters.baud, char_bits: characters.bits(), silence: None, ..*self };
        wire.silence = self.silence.map(|silence| silence.max(wire.silence()));
        wire
    }

    /// Time of `chars` characters on the wire.
    pub fn chars(&self, chars: usize) -> Duration {
        let bits = chars as u64 * u64::from(self.char_bits);
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }

    /// Silence that ends a frame: the setting, or 3.5 characters and at least 1.75 ms (Modbus over serial line, 2.5.1.1).
    pub fn silence(&self) -> Duration {
        self.silence.unwrap_or_else(|| self.three_and_a_half_chars().max(Duration::from_micros(1750)))
    }

    /// 3.5 characters.
    pub fn three_and_a_half_chars(&self) -> Duration {
        let half_bits = 7 * u64::from(self.char_bits);
        Duration::from_nanos(half_bits * 500_000_000 / u64::from(self.baud.max(1)))
    }
}

/// How the line treats its devices.
#[derive(Debug, Clone, PartialEq)]
pub struct LineSettings {
    /// The channel.
    pub medium: Medium,
    /// Least time allowed for a reply to begin, however fast the device was so far.
    pub timeout_floor: Duration,
    /// Most time allowed for a reply to begin; also what a device gets before it is known.
    pub timeout_ceiling: Duration,
    /// Repeats of a failed read within one poll.
    pub retries: u8,
    /// First pause before a silent device is probed again; doubles up to `backoff_max`.
    pub backoff_min: Duration,
    /// See `backoff_min`.
    pub backoff_max: Duration,
    /// A device is lost after this many failed polls in a row and `lost_after_time`.
    pub lost_after_polls: u8,
    /// See `lost_after_polls`.
    pub lost_after_time: Duration,
    /// How long after `timeout_ceiling` a reply may still come on a serial line or as a datagram; until then nothing is
    /// sent that it could be taken for.
    pub late_window: Duration,
    /// Quiet after the port's characters were changed, so that every receiver on the pair has come to rest.
    pub guard: Duration,
    /// Offset of all due times from the line's start; spreads the lines of a site.
    pub phase: Duration,
}

impl LineSettings {
    /// Sensible defaults for a medium.
    pub fn new(medium: Medium) -> Self {
        // On a network of its own a datagram that takes longer than this is lost; and some are.
        let (ceiling_ms, retries, late_ms) = match medium {
            Medium::Datagram => (500, 3, 250),
            Medium::Serial(_) | Medium::Tcp | Medium::RtuOverTcp => (1000, 1, 1000),
        };
        LineSettings {
            medium,
            timeout_floor: Duration::from_millis(50),
            timeout_ceiling: Duration::from_millis(ceiling_ms),
            retries,
            backoff_min: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            lost_after_polls: 3,
            lost_after_time: Duration::from_secs(2),
            late_window: Duration::from_millis(late_ms),
            guard: Duration::from_millis(50),
            phase: Duration::ZERO,
        }
    }
}

/// One device as the line sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSettings {
    /// Interval of each poll group, in the driver's order.
    pub intervals: Vec<Duration>,
    /// Overrides the line's ceiling for this device.
    pub timeout_ceiling: Option<Duration>,
    /// Its characters on a serial port; `None`: those that the port is opened with.
    pub characters: Option<Characters>,
    /// The pause that it needs after a request holds for every device of the line with the same number; `None`: for
    /// itself alone.
    pub pauses_with: Option<u8>,
}
