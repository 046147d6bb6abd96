//! Modbus RTU, ASCII, TCP and RTU over TCP.
//!
//! Start with [`ModbusDevice`], the driver of one device. It plans its requests with [`planner`], frames them with
//! [`frame`] and [`pdu`], and turns registers into values with [`decode`]. [`wire`] decodes whole frames without a
//! device.

pub mod checksum;
pub(crate) mod conceal;
pub mod decode;
pub mod device;
pub(crate) mod dissect;
pub mod encode;
pub mod error;
pub(crate) mod explain;
pub mod frame;
pub mod guess;
pub mod pdu;
pub mod planner;
pub mod point;
mod scan;
pub mod wire;

pub use device::ModbusDevice;
pub use error::WireError;
pub use frame::Framing;
pub use planner::Cost;
pub use wire::{ReplyFrame, RequestFrame, decode_reply, decode_request, rtu_reply_at, rtu_request_at};
