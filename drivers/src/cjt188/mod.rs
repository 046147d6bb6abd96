//! CJ/T 188, the protocol of Chinese water, heat and gas meters, in its editions of 2004 and 2018.
//!
//! Start with [`Cjt188Meter`], the driver of one meter; then [`frame`], what is on the wire, [`layout`], where the values
//! of a reply lie, and [`settings`], in what makers differ. No full text of either edition was at hand: what no second
//! source confirmed is an option of [`settings::Traits`].

pub mod device;
pub(crate) mod dissect;
pub(crate) mod explain;
pub mod frame;
pub(crate) mod keys;
pub mod layout;
pub mod point;
pub mod reply;
pub mod settings;
pub mod unit;
pub mod value;

pub use crate::meter_frame::WireError;
pub use device::{Cjt188Meter, object_name};
pub use frame::{Address, Frame, encode};
pub use keys::read_traits;
pub use layout::Field;
pub use point::Cjt188Point;
pub use reply::{Answer, Expect};
pub use settings::{ClockOrder, DiOrder, Edition, MeterSettings, MeterType, Traits, UnitPlace};
pub use unit::Unit;
