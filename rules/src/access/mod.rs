//! Credentials, and who may pass a gate.
//!
//! Start with [`Access`], the machine; [`snapshot`] is how credentials come, [`visitor`] how codes prove themselves,
//! [`policy`] what a site may choose, and [`reason`] what a verdict may say.
//!
//! | event | lane | fields |
//! |---|---|---|
//! | `credentials` | audit | `version`, `base_version`, `entries`, `refused` (why, or null), `in_force` (on the disk, too) |
//! | `code_issued` | audit | `form` (`signed`, `pin`), `who`, `gates`, `groups`, `until`, `by` |
//! | `code_guessing` | audit | `reader` (null: all), `closed_s`, `closures` |
//! | `anti_passback_cleared` | audit | `who` or `household`, `cleared`, `by` |
//! | `occupancy_corrected` | audit | `zone`, `from`, `to`, `by` |
//!
//! Facts of a verdict: `kind`, `credential` (the beginning of the keyed hash), `confidence` and `colour` of a plate,
//! `household`, `anti_passback` (`already_in`, `already_out`: it opened all the same), `unpaid`, `once` (the code that
//! was used up), and those of the core's answer.

mod claim;
pub mod credential;
mod guess;
mod hex;
pub mod holdings;
pub mod issue;
mod judge;
pub mod listing;
pub mod machine;
mod number;
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
pub use listing::{Doors, Inexpressible, Listing, Unsaid};
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
