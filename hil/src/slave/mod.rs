//! Simulated Modbus slaves: framing, answers, and the devices that stand behind them.

pub mod answer;
pub mod frame;
