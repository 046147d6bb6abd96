//! What the fuzz targets run: every decoder of bytes that come from outside, through the doors that the daemon uses.
//!
//! Each module is one protocol; [`feed`] hands bytes to a driver as the line does and holds it to the promises of
//! [`Driver`](gatehouse_core::Driver). A target takes any bytes and fails by a panic. What it is not: a test that values
//! are right; the vectors are that.

pub mod cjt188;
pub mod dlt645;
pub mod feed;
pub mod line;
pub mod modbus;
pub mod osdp;
pub mod script;
pub mod session;
pub mod texts;
pub mod uhppote;
