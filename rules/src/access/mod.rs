//! Credentials, and who may pass a gate.

mod claim;
pub mod credential;
mod guess;
mod hex;
pub mod holdings;
pub mod issue;
mod judge;
pub mod machine;
pub mod plate;
pub mod policy;
pub mod presence;
mod present;
pub mod request;
pub mod roll;
pub mod seal;
mod settle;
pub mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod used;
pub mod view;
pub mod visitor;
pub mod wiegand;

pub use credential::{Change, Credential, CredentialId, CredentialKind, Flag, LookupKey};
pub use holdings::{Applied, Durable, OpenError};
pub use issue::{CodeOrder, IssueError, IssuedCode};
pub use machine::{Access, AccessSpec};
pub use policy::{AntiPassback, Decide, GateAccess, GatePolicy, GuessLimits, Offline, UnpaidExit, ZoneSpec};
pub use presence::Whom;
pub use request::{Answer, Ask, Heard, Presented, Proof, Taken, reason};
pub use roll::{ApplyError, Image, ImageError};
pub use seal::{Salt, SealError, SealKey};
pub use snapshot::{Expected, Header, PublicKey, Quota, Snapshot, SnapshotError, Verified};
pub use table::RecordError;
pub use view::{AccessView, Stats};
pub use visitor::{PinSecret, Token, TokenError};
