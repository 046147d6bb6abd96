//! The driver trait: how a protocol presents one device to the line.
//!
//! A driver is pure. It knows bytes, points and the plan of requests; it knows nothing of ports, retries, timeouts,
//! clocks or logs. The line asks for the steps of a poll group, has each encoded, collects what comes back and has
//! it decoded.

use std::ops::Range;
use std::time::Duration;

use crate::controller::ControllerAsk;
use crate::ids::{Name, PointIx};
use crate::reading::PointReading;
use crate::registers::RegisterRow;
use crate::time::{LocalTime, Mono};
use crate::value::Value;

/// One planned request of a device. Minted by its driver, meaningless to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u32);

/// What the line must know of a step to place it on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepShape {
    /// Bytes of the request, framing included.
    pub request_bytes: usize,
    /// Bytes of the normal reply, framing included; 0 when it is never answered (broadcast).
    pub reply_bytes: usize,
    /// True when sending it twice does no harm. Writes to relays are not: a pulse is never repeated on doubt.
    pub repeatable: bool,
    /// Silence that the device needs before its next request, beyond the line's own.
    pub pause_after: Duration,
}

/// Why bytes were not taken as the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Nothing in the bytes begins a frame.
    Noise,
    /// A frame with a wrong checksum (CRC or LRC).
    BadChecksum,
    /// A sound frame of another device.
    AddressMismatch,
    /// A sound frame of another function.
    UnexpectedFunction,
    /// A sound frame of another length than the request asks for.
    BadLength,
    /// A write's echo with another address or value, or a reply that names another identifier than was asked for.
    EchoMismatch,
    /// A TCP reply to another transaction.
    TransactionMismatch,
    /// A TCP header whose protocol is not Modbus.
    BadProtocol,
    /// A character that the framing does not have.
    BadCharacter,
}

/// What a driver makes of received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// No verdict yet: at least this many more bytes are needed (1 or more).
    Incomplete {
        /// Lower bound of missing bytes.
        missing: usize,
    },
    /// The first `bytes` (1 or more) are not the reply; drop them and ask again.
    Skip {
        /// How many bytes to drop.
        bytes: usize,
        /// Why.
        why: Reject,
    },
    /// The first `bytes` are the reply, and its readings were appended.
    Reply {
        /// How many bytes it took.
        bytes: usize,
    },
    /// The first `bytes` are the reply that there is nothing of what was asked, and readings that say so were appended. As an
    /// exception it names no request: it may as well be a late answer to another.
    Nothing {
        /// How many bytes it took.
        bytes: usize,
    },
    /// The first `bytes` are the reply, and it is an exception of the protocol.
    Exception {
        /// How many bytes it took.
        bytes: usize,
        /// The protocol's code.
        code: u8,
    },
}

/// What an exception of a protocol means for the line, beside "no".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Nothing: the same request would be refused again.
    Final,
    /// The device is busy: ask again later.
    Busy,
    /// The device took a long job on and is busy with it.
    Pending,
    /// A gateway on the way has no path to the device.
    NoPath,
    /// A gateway on the way got no answer from the device.
    NoAnswer,
}

/// What a caller adds to a command of a device's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// So many of the command's time units.
    Units(u16),
    /// A number; for coils, the row with coil 0 in the lowest bit.
    Value(u64),
    /// On or off.
    On(bool),
    /// How many registers, coils or inputs to read.
    Count(u16),
    /// A time of the site's zone: until when the device may obey, or the time to set.
    At(LocalTime),
}

/// Stands for the time at which a device froze the values of [`Action::Recall`], a text `2026-11-26T00:00`.
pub const FREEZE_TIME: PointIx = PointIx(u16::MAX - 1);
/// Stands for what a device's own clock shows, a text `2026-11-26T00:00:07`.
pub const METER_CLOCK: PointIx = PointIx(u16::MAX - 2);
/// Stands for the time of a load record of [`Action::LoadRecords`], a text `2026-11-26T00:15`.
pub const LOAD_TIME: PointIx = PointIx(u16::MAX - 3);

/// What someone asks of a device beside its polls.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Reads these points now; empty: all.
    Read(Vec<PointIx>),
    /// Writes one value, then reads the point back.
    Write(PointIx, Value),
    /// Runs a command of the device's profile: a pulse that the device times itself, a toggle. Never sent twice.
    Call {
        /// The command's name in the profile.
        command: Name,
        /// The channel, as the device counts; `None` when the command has none.
        channel: Option<u16>,
        /// What the caller adds.
        argument: Argument,
    },
    /// Reads points as they were when the device itself froze them, `back` daily freezes ago, with [`FREEZE_TIME`]; with
    /// 0 as they are now, with [`METER_CLOCK`] where the device has a clock. Refused as [`ActionError::Unsupported`] where
    /// the device keeps no daily freezes of any of the points. A freeze that the device says it does not have is read all
    /// the same, with a time that is [`NoData::NotAvailable`](crate::NoData::NotAvailable).
    Recall {
        /// The points. Those that are not frozen are left out.
        points: Vec<PointIx>,
        /// How many daily freezes ago: 1 is the latest; 0 is now.
        back: u8,
    },
    /// Reads what the device recorded itself at regular times: the first record of `from` or later and those after it, as
    /// its own clock has them. Its readings are [`LoadRecord`](crate::LoadRecord)s. Refused as
    /// [`ActionError::Unsupported`] where the device records none of the points.
    LoadRecords {
        /// The points. Those that are not recorded are left out.
        points: Vec<PointIx>,
        /// The time of the first record, in whole minutes.
        from: LocalTime,
        /// How many records, 1 to 99. The device may give fewer.
        count: u8,
    },
    /// Asks the device who it is, where the protocol can. Its readings are texts, under the protocol's object number
    /// in place of a point (Modbus: 0 vendor, 1 product, 2 revision).
    Identify,
    /// Reads registers as they stand, be they points or not. Its readings are whole numbers, 0 to 65535, each under its place in
    /// the row, from 0, in place of a point. It goes when the line has a turn for it, behind polls that wait longer.
    Registers(RegisterRow),
    /// Asks a controller for something of its events or of its list. Its readings are a
    /// [`ControllerAnswer`](crate::ControllerAnswer). Sending it twice does no harm.
    Controller(ControllerAsk),
}

impl Action {
    /// True when it changes something in the world: it is then never sent twice on doubt.
    pub fn acts(&self) -> bool {
        matches!(self, Action::Write(..) | Action::Call { .. })
    }
}

/// Why an action cannot be turned into requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The point is read-only.
    #[error("the point cannot be written: its profile says read-only")]
    ReadOnly,
    /// The value is of another type than the point, or not exactly representable in it.
    #[error("{value} cannot be written exactly to a {kind} point: {hint}")]
    Unrepresentable {
        /// The value as given.
        value: String,
        /// The point's type.
        kind: &'static str,
        /// What would do.
        hint: String,
    },
    /// The device's profile has no such command.
    #[error("the device's profile has no command {0:?}")]
    NoSuchCommand(Name),
    /// Channel or argument do not suit the command.
    #[error("the command {command} cannot be sent so: {why}")]
    BadCall {
        /// The command.
        command: Name,
        /// What does not suit.
        why: String,
    },
    /// The device must not be asked for these registers, or not for so many at once.
    #[error("the device's limits forbid to read {0}")]
    BeyondLimits(RegisterRow),
    /// The protocol has no such action.
    #[error("the device's protocol has no such request")]
    Unsupported,
}

/// A protocol's view of one device.
///
/// Calling order: `group_steps` when a poll begins; for each step `shape`, `encode`, then `decode` on what has come so
/// far, until a verdict other than [`Decoded::Incomplete`] or the line gives up; `refused` after an exception. For
/// actions `begin` gives the steps, which stay valid until `end`.
pub trait Driver: Send {
    /// The number of poll groups: points that share an interval.
    fn groups(&self) -> usize;

    /// Whom requests address, so that two devices of one line differ.
    fn station(&self) -> u64;

    /// Appends the steps of a group, in the order to send them.
    fn group_steps(&self, group: usize, steps: &mut Vec<StepId>);

    /// What the line must know of a step.
    fn shape(&self, step: StepId) -> StepShape;

    /// Appends the points that a step reads.
    fn points(&self, step: StepId, points: &mut Vec<PointIx>);

    /// Appends the request's bytes. `tag` identifies the transaction where the framing has such a field.
    fn encode(&self, step: StepId, tag: u16, bytes: &mut Vec<u8>);

    /// Looks for the reply to `step` at the beginning of `bytes`; appends its readings, points ascending.
    ///
    /// It never panics and always makes progress: a verdict other than `Incomplete` takes at least one byte. A value
    /// that the reply cannot give (a marker, a NaN) is a reading with its reason.
    fn decode(&self, step: StepId, tag: u16, bytes: &[u8], readings: &mut Vec<PointReading>) -> Decoded;

    /// What an exception with this code means for the line.
    fn denial(&self, code: u8) -> Denial;

    /// Tells the driver that the device answered `step` with exception `code`.
    ///
    /// If the driver changes its plan for it (a merged read is split), it appends the steps that take the place of the
    /// refused one, to be sent at once, and remembers the new plan; otherwise it appends nothing.
    fn refused(&mut self, step: StepId, code: u8, instead: &mut Vec<StepId>);

    /// Appends the steps of an action: for a write the request, then the read-back.
    ///
    /// # Errors
    /// [`ActionError`] when the action cannot be expressed; nothing was appended then.
    fn begin(&mut self, action: &Action, steps: &mut Vec<StepId>) -> Result<(), ActionError>;

    /// Appends the step that a reply to `step` asks for: the rest of an answer that did not fit into one frame. To be
    /// called after each [`Decoded::Reply`] to a read that was taken, before anything else is decoded; the step is to be
    /// sent next.
    fn follow_up(&mut self, step: StepId, steps: &mut Vec<StepId>) {
        let _ = (step, steps);
    }

    /// Tells the driver, before a step of an action is encoded, how long ago the action was asked for: a time that the
    /// request carries moves on by as much.
    fn aged(&mut self, age: Duration) {
        let _ = age;
    }

    /// Whether the bytes are one sound request of the protocol, whomever it is for, and no answer.
    fn is_request(&self, bytes: &[u8]) -> bool {
        let _ = bytes;
        false
    }

    /// Tells the driver what went to every device of its line, whoever's driver made it.
    fn overheard(&mut self, broadcast: &[u8]) {
        let _ = broadcast;
    }

    /// Whether a value that an action's own read gave says that the device obeyed.
    fn proves(&self, action: &Action, value: &Value) -> bool {
        let _ = (action, value);
        false
    }

    /// True for a protocol with a conversation: each request has a number that its reply repeats, and is sent again, byte for
    /// byte, until it is answered, which the device takes for the same request. The line then calls
    /// [`Driver::prepare`] and [`Driver::settled`] around each request, fears no late reply, and gives each request the
    /// device's whole time.
    fn is_session(&self) -> bool {
        false
    }

    /// Has the device be given this key in place of the one that it has, at its next request. If it does not take it, the key
    /// that it has goes on to count; nothing happens where the protocol or the device has no keys.
    fn change_key(&mut self, key: [u8; 16]) {
        let _ = key;
    }

    /// Whether some of the device's points show who was at a reader, or what was typed there, as the site file has it;
    /// nothing happens where the protocol tells it.
    fn set_personal(&mut self, is_personal: bool) {
        let _ = is_personal;
    }

    /// Decides what is sent for `step` at `now`; called right before `shape` and `encode`.
    fn prepare(&mut self, step: StepId, now: Mono) {
        let _ = (step, now);
    }

    /// The request that was prepared last is over: a reply or an exception that `decode` gave was taken, or nothing was.
    /// Called before `follow_up` and `refused`.
    fn settled(&mut self, step: StepId, now: Mono, answered: bool) {
        let _ = (step, now, answered);
    }

    /// Whose late reply could be taken for the step's: two steps of one class are not asked while a reply to the other
    /// may still come. All of a station, unless replies tell more.
    fn reply_class(&self, step: StepId) -> u64 {
        let _ = step;
        self.station()
    }

    /// Whether a datagram that nobody asked for is word of the device that something has happened. It proves nothing, as
    /// anybody may have sent it, but it is a reason to ask.
    fn is_word(&self, datagram: &[u8]) -> bool {
        let _ = datagram;
        false
    }

    /// True when a request holds a secret, which nobody is to see in a trace of the line.
    fn is_secret(&self, step: StepId) -> bool {
        let _ = step;
        false
    }

    /// True while the device may say what nobody is to see, in the clear. Of what is damaged or comes in pieces, in which
    /// [`Driver::conceal`] finds nothing, a trace of the line then has no bytes.
    fn tells_secrets(&self) -> bool {
        false
    }

    /// Blots out what nobody is to see of a frame in a trace of the line: numbers of cards, keys. `is_request`: the box
    /// sent it; else it was received, be it an answer, an echo or anything else. It may be cut short, or be another
    /// device's. Gives which bytes it blotted out, if any.
    fn conceal(&self, is_request: bool, frame: &mut [u8]) -> Option<Range<usize>> {
        let _ = (is_request, frame);
        None
    }

    /// Frees the steps of the last action.
    fn end(&mut self);
}
