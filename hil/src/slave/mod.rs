//! Simulated Modbus slaves: framing, answers, and the devices that stand behind them.

pub mod answer;
pub mod boom;
pub mod frame;
pub mod identity;
pub mod meter;
pub mod model;
mod quantity;
pub mod relay;
pub mod tcp;
