//! UHPPOTE, the protocol of the widespread controllers for one, two and four doors: datagrams of 64 bytes over UDP.
//!
//! Start with [`UhppoteController`], the driver of one controller; then [`datagram`], what is on the wire, [`Request`] and
//! [`Reply`], what it means, and [`event`], what its recorded events are about.
//!
//! The protocol knows no authentication and no checksum: whoever reaches a controller opens its doors and writes its
//! list. It belongs on a network of its own. Facts: the messages of uhppoted/uhppote-core.

pub mod datagram;
pub mod date;
pub mod device;
pub(crate) mod dissect;
mod error;
pub mod event;
pub(crate) mod explain;
pub(crate) mod keys;
pub mod point;
pub mod reply;
pub mod request;
pub mod untold;

pub use datagram::{Datagram, LENGTH, function};
pub use date::Date;
pub use device::{Listener, UhppoteController, UhppoteSettings};
pub use error::WireError;
pub use event::RawEvent;
pub use point::Field;
pub use reply::{Reply, Status};
pub use request::Request;
pub use untold::Untold;
