//! Simulated devices of lines and networks: framing, answers, and what stands behind them.

pub mod answer;
pub mod boom;
pub mod cjt188;
pub mod digits;
pub mod dlt645;
pub mod frame;
pub mod identity;
pub mod meter;
pub mod model;
pub mod osdp;
mod quantity;
pub mod relay;
pub mod station;
pub mod tcp;
