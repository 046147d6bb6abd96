//! The words that everyone speaks: ids, time, values, readings, records and the driver trait.
//!
//! This crate holds no I/O, reads no clock and runs no tasks. Start with [`reading`], then [`driver`].
//!
//! # Glossary
//!
//! - **site**: the property that one box serves; **box**: the computer that runs Gatehouse.
//! - **bus**: one physical channel to devices: an RS-485 pair, or one TCP connection.
//! - **line**: the discipline of a bus: whose turn it is, silences, timeouts.
//! - **device**: one addressable thing on a bus; **profile**: the description of a device model.
//! - **point**: one named value of a device; **reading**: a value, or the reason for none, and when.
//! - **sample**: readings of one device that were taken together.
//! - **record**: one stored sample or event, with its number in its lane.
//! - **lane**: a class of traffic with its own sequence: see [`lane::Lane`].
//! - **core**: the property company's own system at the other end of the link.
//! - **command**: one requested action with one outcome.
//! - **trust**: how far a wall-clock time may be believed.

pub mod controller;
pub mod driver;
pub mod ids;
pub mod lane;
pub mod load;
pub mod reading;
pub mod record;
pub mod registers;
pub mod time;
pub mod value;

pub use controller::{CardNumber, ControllerAnswer, ControllerAsk, ControllerEvent, EventKind, ListedCard};
pub use driver::{Decoded, Driver, Reject, StepId, StepShape};
pub use ids::{DeviceIx, InvalidName, Name, PointIx};
pub use lane::Lane;
pub use load::LoadRecord;
pub use reading::{NoData, PointReading, Raw, Reading, Sample};
pub use record::{Body, Event, Record, Schema, SchemaPoint};
pub use registers::{RegisterRow, RegisterTable};
pub use time::{BootId, LocalTime, Mono, Stamp, Trust, Wall};
pub use value::{Decimal, Kind, Value};
