//! What the box's device is asked for and what it hands out.

use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{Mono, NoData, PointReading, Value};

/// Something that the device tells the shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Points were read, or have changed.
    Sample {
        /// When: for an edge, when it came to count.
        at: Mono,
        /// The points, ascending: all contacts and relays at the interval, else those that have news.
        readings: Vec<PointReading>,
    },
    /// A command came to its end. Each command gets exactly one.
    CommandDone {
        /// The command's id.
        id: u64,
        /// When.
        at: Mono,
        /// How it ended.
        result: CommandResult,
    },
}

/// One requested action.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The caller's number for it; comes back with the result.
    pub id: u64,
    /// What to do.
    pub action: Action,
    /// Not begun by then, it is not done.
    pub expires: Mono,
}

/// How a command ended. A pulse has ended well when it has begun.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandResult {
    /// The readings that were asked for, points ascending.
    Read(Vec<PointReading>),
    /// The output was read back and holds the value.
    Verified(Value),
    /// The output took it; read back it has another value, or it cannot be read back yet (`None`).
    Acknowledged(Option<Result<Value, NoData>>),
    /// It was not done.
    Failed(NoData),
    /// It may or may not have been done.
    Unknown(NoData),
    /// Its time was over.
    Expired,
    /// It was not accepted; nothing was driven.
    Refused(ActionError),
}
