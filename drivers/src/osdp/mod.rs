//! OSDP 2.2 (IEC 60839-11-5), the protocol of card readers, from the side of the control panel.
//!
//! Start with [`OsdpReader`], the driver of one reader. Below it [`Session`] decides what is said next, [`Channel`] numbers,
//! signs and seals it, [`frame`] puts it on the wire; [`command`] and [`reply`] are what is said, [`secure`] the keys.
//! What it is not: a reader. Nothing here answers a command.

pub mod channel;
pub mod command;
mod conceal;
mod device;
pub(crate) mod dissect;
mod error;
pub(crate) mod explain;
pub mod frame;
pub(crate) mod keys;
mod point;
pub mod reply;
pub mod secure;
mod session;
mod shown;

pub use channel::{Answer, Channel};
pub use command::Command;
pub(crate) use conceal::mended;
pub use device::{OsdpReader, ReaderSettings, Secrets};
pub use error::WireError;
pub use frame::Frame;
pub use point::OsdpPoint;
pub use reply::Reply;
pub use secure::{Key, KeyKind};
pub use session::{KEPT_MAX, Keys, Session, exception_meaning};
