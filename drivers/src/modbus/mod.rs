//! Modbus RTU, ASCII, TCP and RTU over TCP.

pub mod point;
