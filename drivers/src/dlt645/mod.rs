//! DL/T 645, the protocol of Chinese electricity meters, in its editions of 1997 and 2007.
//!
//! Start with [`Dlt645Meter`], the driver of one meter; then [`frame`], what is on the wire, and [`catalog`], what data identifiers mean. The private `value` turns items into
//! values, [`words`] names the bits of status and refusal words, [`control`] makes the requests that change something.

pub mod catalog;
pub mod control;
pub mod device;
pub(crate) mod dissect;
pub(crate) mod explain;
pub mod frame;
pub(crate) mod keys;
pub mod load;
pub mod point;
pub mod reply;
mod value;
pub mod words;

pub use crate::meter_frame::WireError;
pub use control::Access;
pub use device::{Dlt645Meter, MeterSettings, object_name};
pub use frame::{Address, Frame, encode};
pub use point::{Dlt645Point, Edition, Format};
pub use reply::{Answer, Expect};
