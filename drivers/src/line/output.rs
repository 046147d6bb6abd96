//! What the line is asked for and what it hands out.

use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{DeviceIx, Mono, NoData, PointReading, Value};

use super::settings::Characters;

/// Something that the line tells the shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// One poll of one group came to its end.
    Sample {
        /// The device.
        device: DeviceIx,
        /// The poll group, in the driver's order.
        group: usize,
        /// When the last reply was complete, or the poll was given up.
        at: Mono,
        /// Each point of the group once, ascending. Hand the buffer back with `Line::recycle`.
        readings: Vec<PointReading>,
    },
    /// A device answers for the first time or again, or is lost.
    DeviceState {
        /// The device.
        device: DeviceIx,
        /// When it was noticed.
        at: Mono,
        /// True when it answers.
        online: bool,
        /// What its last failed poll died of; `None` when it answers.
        reason: Option<NoData>,
    },
    /// A command came to its end. Each accepted command gets exactly one.
    CommandDone {
        /// The command's id.
        id: u64,
        /// When.
        at: Mono,
        /// How it ended.
        result: CommandResult,
    },
    /// Devices that differ in their characters share the port: set it so once what was written has left it.
    Characters {
        /// The characters; `None`: those that the port is opened with.
        characters: Option<Characters>,
    },
    /// Close the port or connection and open it again.
    ClosePort {
        /// Why.
        reason: CloseReason,
    },
}

/// Why the line wants its port closed and opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CloseReason {
    /// A request over RTU-over-TCP got no answer: only a new socket is sure to be free of its late reply.
    #[error("a request was not answered, and a late reply on this socket could not be told from another's")]
    NoTransaction,
    /// Several requests in a row brought not one byte.
    #[error("several requests in a row brought no answer at all")]
    Silent,
    /// What came on a Modbus TCP connection is not Modbus: its frames cannot be told apart any more.
    #[error("what came is not Modbus TCP, and where the next frame begins cannot be told")]
    Desynchronised,
    /// The kernel did not take a request within the time that it needs on the wire and 2 s.
    #[error("the port does not take what is written to it")]
    TransmitStuck,
    /// The port was not set to other characters within 2 s.
    #[error("the port does not take the line settings of one of its devices")]
    SettingsStuck,
}

/// One requested action.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The caller's number for it; comes back with the result.
    pub id: u64,
    /// The device.
    pub device: DeviceIx,
    /// What to do.
    pub action: Action,
    /// Not begun by then, it is refused.
    pub expires: Mono,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandResult {
    /// The readings that were asked for, points ascending.
    Read(Vec<PointReading>),
    /// The point was read back and holds the value.
    Verified(Value),
    /// The device confirmed the write; reading back gave another value or none, or the point cannot be read (`None`).
    Acknowledged(Option<Result<Value, NoData>>),
    /// A request that is never answered (a broadcast) went out.
    Sent,
    /// It was not done: the device refused, or nothing was sent.
    Failed(NoData),
    /// It was sent and not confirmed: it may or may not have been done. What reading back gave, if that was possible.
    Unknown(NoData, Option<Result<Value, NoData>>),
    /// Its time was over before it could be sent.
    Expired,
    /// It was not accepted; nothing was sent.
    Refused(CommandRefusal),
}

/// Why a command was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// So many commands wait already that this one was turned away.
    #[error("too many commands are waiting on this bus already; try again in a moment")]
    QueueFull,
    /// The device is not on this line.
    #[error("the device is not on this bus")]
    NoSuchDevice,
    /// The driver cannot express the action.
    #[error(transparent)]
    Action(#[from] ActionError),
}

/// Why the line wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// The reply is due.
    Reply,
    /// The silence between two frames, or a device's own pause, ends.
    Silence,
    /// A poll is due.
    Poll,
    /// A lost device is to be probed.
    Probe,
    /// A group that is not polled now (device lost, port gone) is to be reported.
    Report,
    /// A command waits or expires.
    Command,
    /// The port is being set to other characters.
    Settings,
}
