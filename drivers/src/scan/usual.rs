//! The line settings of each protocol, by how usual they are.

use crate::cjt188::DiOrder;
use crate::dlt645::Edition;
use crate::line::settings::{Characters, Parity};

pub(super) const fn characters(baud: u32, parity: Parity) -> Characters {
    Characters { baud, data_bits: 8, parity, stop_bits: 1 }
}

/// How likely which settings are for whom: made of the defaults of the profiles and of what the standards say (Modbus
/// over Serial Line 1.02, 3.3: 19200 8E1; DL/T 645-2007, 5.1.3: 2400 8E1; OSDP 2.2, 5.3: 9600 8N1).
pub(super) const MODBUS: [(u32, Parity, u64); 16] = [
    (9600, Parity::None, 400),
    (19200, Parity::Even, 90),
    (9600, Parity::Even, 90),
    (19200, Parity::None, 80),
    (115_200, Parity::None, 30),
    (38400, Parity::None, 30),
    (4800, Parity::None, 30),
    (2400, Parity::None, 15),
    (57600, Parity::None, 12),
    (2400, Parity::Even, 10),
    (4800, Parity::Even, 8),
    (9600, Parity::Odd, 8),
    (38400, Parity::Even, 8),
    (115_200, Parity::Even, 6),
    (19200, Parity::Odd, 5),
    (1200, Parity::None, 4),
];
pub(super) const DLT645: [(Edition, u32, u64); 7] = [
    (Edition::V2007, 2400, 300),
    (Edition::V2007, 9600, 90),
    (Edition::V2007, 4800, 40),
    (Edition::V2007, 1200, 25),
    (Edition::V2007, 19200, 5),
    (Edition::V1997, 1200, 25),
    (Edition::V1997, 2400, 20),
];
pub(super) const CJT188: [(DiOrder, u32, Parity, u64); 8] = [
    (DiOrder::LowFirst, 2400, Parity::Even, 150),
    (DiOrder::HighFirst, 2400, Parity::Even, 30),
    (DiOrder::LowFirst, 9600, Parity::Even, 20),
    (DiOrder::LowFirst, 9600, Parity::None, 12),
    (DiOrder::LowFirst, 4800, Parity::Even, 10),
    (DiOrder::LowFirst, 1200, Parity::Even, 8),
    (DiOrder::LowFirst, 2400, Parity::None, 6),
    (DiOrder::HighFirst, 9600, Parity::Even, 4),
];
pub(super) const OSDP: [(u32, u64); 6] =
    [(9600, 100), (115_200, 25), (38400, 20), (19200, 15), (57600, 8), (OSDP_FAST, 3)];
/// The highest speed of readers.
pub(super) const OSDP_FAST: u32 = 230_400;
/// What the line behind a serial server is taken to be, as far as time goes: the usual one of meters, slower than that of
/// nearly all else.
pub(super) const BEHIND_SERVER: Characters = characters(2400, Parity::Even);
