//! Records to the core over MQTT: payloads, topics, the session with its own in-flight ledger, TLS.
//!
//! The crate knows nothing of meters or files of records: it pulls unacknowledged records from an [`Outbox`], sends
//! them, and acknowledges there what the broker (or the core) has taken. `docs/uplink.md` describes what travels.
//!
//! Start with `session`: the pure machine that decides what is sent next and what an answer means. `client` is the shell
//! around it: names, sockets, TLS, packets. rumqttc gives the packets of MQTT 3.1.1 and 5; its event loop is not used,
//! because it cannot leave publishing to a ledger of ours: it owns packet ids, queues across reconnects and, under
//! MQTT 5, waits without a limit for a frozen broker to take bytes.

mod assembler;
pub mod backoff;
mod client;
mod connection;
pub mod fault;
pub mod handle;
mod inbound;
pub mod inventory;
mod json;
mod lane;
pub mod ledger;
pub mod outbox;
mod packet;
pub mod payload;
mod publish;
mod resolve;
pub mod schema;
pub mod session;
pub mod settings;
pub mod status;
mod tls;
mod topics;

pub use assembler::{Assembler, PARTS_MAX, PartError, WHOLE_MAX, Whole};
pub use client::spawn_local;
pub use fault::Fault;
pub use handle::{Clock, SharedOutbox, UplinkHandle};
pub use inbound::{Inbound, Message, MessageId};
pub use inventory::{DeviceEntry, Inventory, InventorySource, PointEntry, SiteEntry};
pub use outbox::{Outbox, OutboxError, Visit};
pub use settings::{AckMode, BackoffSettings, Broker, InvalidBroker, Settings, TlsFiles, Version};
pub use status::{BudgetUse, Counters, LinkState, UplinkEvent, UplinkStatus};
