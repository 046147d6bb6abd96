//! Bytes to points and back: the planner, the line discipline, one folder per protocol, the device profiles.
//!
//! Pure: no ports, files, clocks or tasks. Start with [`line::Line`], the machine that runs one physical channel, and
//! [`point::PointSpec`], what a profile says of one point.

pub mod cjt188;
pub mod dissect;
pub mod dlt645;
pub mod explain;
pub mod line;
pub mod listen;
pub mod meter_frame;
pub mod modbus;
pub mod osdp;
pub mod plate;
pub mod point;
pub mod profile;
pub mod scan;
pub mod summary;
pub mod uhppote;
