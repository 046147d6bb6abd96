//! The daemon's HTTP face: `/api/v1` on the unix socket, `/metrics` and `/health` on a loopback port.
//!
//! Handlers know nothing of the daemon's state: each turns a request into an [`Ask`], sends it to the daemon's loop and
//! waits for the answer. The socket's peer gives the role: root, the daemon's own user and the configured operators may
//! write and reload, everybody else may look.

pub mod client;
pub mod doc;
pub mod guard;
pub mod server;

use gatehouse_core::RegisterRow;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the daemon's loop.
pub const ASK_QUEUE: usize = 64;

/// What a client wants of the daemon.
#[derive(Debug)]
pub enum Request {
    /// [`doc::Status`].
    Status,
    /// [`doc::Device`]s with their latest values; all, or one.
    Devices(Option<String>),
    /// Reads points now; empty: all.
    Read {
        /// Device id.
        device: String,
        /// Point names.
        points: Vec<String>,
    },
    /// Reads registers as they stand, be they points or not.
    Registers {
        /// Device id.
        device: String,
        /// Which.
        row: RegisterRow,
        /// The unit that it is believed to have; `None`: whichever.
        unit: Option<u8>,
    },
    /// Reads the load records of a meter from a time of its clock on.
    LoadRecords {
        /// Device id.
        device: String,
        /// Which, from when, and how many.
        body: server::LoadBody,
    },
    /// Asks a device who it is.
    Identify(String),
    /// Gives a reader another key.
    Rekey {
        /// Device id.
        device: String,
        /// Who asks, for the audit trail.
        issuer: String,
    },
    /// Writes a point, reads it back.
    Write {
        /// Device id.
        device: String,
        /// Point name.
        point: String,
        /// The value as text.
        value: String,
        /// Who asks, for the audit trail.
        issuer: String,
    },
    /// What is decided on the box: alarms, tickets, gates, access; one of them as a document.
    Decided(Part),
    /// A command as JSON, from an operator.
    Command {
        /// The message, as it would come over MQTT.
        body: Vec<u8>,
        /// The user who asks.
        uid: u32,
    },
    /// A credential that was shown at a reader, or seen by a camera.
    Present {
        /// The reader's id.
        reader: String,
        /// What was shown, as JSON.
        body: Vec<u8>,
    },
    /// A code for a visitor.
    IssueCode {
        /// Which, as JSON.
        body: Vec<u8>,
        /// Who asks, for the audit trail.
        issuer: String,
    },
    /// [`doc::Frames`].
    Frames {
        /// Bus id.
        bus: String,
        /// After the frame with this number.
        since: u64,
    },
    /// Meters that bills are made of: registers and installations.
    Meters,
    /// What a month's account is made of.
    MeterBooks(String),
    /// A meter was replaced, or has another ratio.
    SwapMeter {
        /// Device id.
        device: String,
        /// What was done, as JSON.
        body: Vec<u8>,
        /// Who asks, for the record.
        issuer: String,
    },
    /// A person read a meter.
    EnterReading {
        /// Device id.
        device: String,
        /// What was read, as JSON.
        body: Vec<u8>,
        /// Who asks, for the record.
        issuer: String,
    },
    /// [`doc::Spool`].
    Spool,
    /// Loads the site file anew.
    Reload {
        /// Who asks, for the audit trail.
        issuer: String,
    },
    /// Prometheus text.
    Metrics,
    /// [`doc::Health`].
    Health,
}

/// A part of what is decided on the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Alarms that are not at rest.
    Alarms,
    /// Tickets, the open ones first.
    Tickets,
    /// Gates with their states.
    Gates,
    /// Controllers that decide themselves, and how far their events are taken in.
    Controllers,
    /// Credentials held, occupancy, lock-outs: no credential itself.
    Access,
    /// The mode, rules and their versions.
    Mode,
}

/// An answer: a JSON document, or text for metrics.
#[derive(Debug)]
pub enum Answer {
    /// A JSON document.
    Json(serde_json::Value),
    /// Prometheus text.
    Text(String),
}

/// Why a request was not granted.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Stable code: `unknown_device`, `read_only`, `busy`, `configuration`, ...
    pub code: String,
    /// What happened and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with this status, code and message.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Refusal { status, code: code.to_owned(), message: message.into() }
    }
}

/// A request on its way to the daemon's loop.
#[derive(Debug)]
pub struct Ask {
    /// What is wanted.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// The handlers' end of the way to the daemon's loop.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Ask>);

impl Desk {
    /// A desk and the end that the daemon's loop reads.
    pub fn new() -> (Desk, mpsc::Receiver<Ask>) {
        let (sender, receiver) = mpsc::channel(ASK_QUEUE);
        (Desk(sender), receiver)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The daemon's refusal, or `busy` and `stopping`.
    pub async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        let stopping = || Refusal::new(503, "stopping", "the daemon is stopping");
        let (reply, answer) = oneshot::channel();
        self.0.try_send(Ask { request, reply }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new(503, "busy", "too many requests at once: try again in a moment")
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        answer.await.map_err(|_| stopping())?
    }
}
