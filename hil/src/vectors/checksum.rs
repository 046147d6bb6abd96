//! `crc-vectors/1`: CRC-16 and LRC.

use gatehouse_drivers::modbus::checksum::{crc16, lrc};
use serde_json::Value;

use super::{Bench, Outcome, bytes};

pub(super) fn run_crc(_: &Bench, vector: &Value) -> Outcome {
    let crc = crc16(&bytes(vector, "bytes")?);
    same("crc_u16", vector, &format!("{crc:04X}"))?;
    let [low, high] = crc.to_le_bytes();
    same("crc_wire_lo_hi", vector, &format!("{low:02X}{high:02X}"))
}

pub(super) fn run_lrc(_: &Bench, vector: &Value) -> Outcome {
    same("lrc", vector, &format!("{:02X}", lrc(&bytes(vector, "bytes")?)))
}

fn same(field: &str, vector: &Value, got: &str) -> Outcome {
    match vector[field].as_str() {
        Some(expected) if expected.eq_ignore_ascii_case(got) => Ok(()),
        Some(expected) => Err(format!("{field} is {got} where {expected} is right")),
        None => Err(format!("the vector has no {field}")),
    }
}
