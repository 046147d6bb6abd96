//! Captures for Wireshark: the classic pcap format, each frame with the name of what reads it.
//!
//! The link type is WIRESHARK_UPPER_PDU (252): a list of tags before each frame, of which one names the dissector
//! (Wireshark's `epan/exported_pdu.h`). `mbrtu` and `mbtcp` read Modbus; what has no dissector is shown as bytes.

use std::io::{self, Write};

const LINK_TYPE: u32 = 252;
const MOST: u32 = 65_535;
/// The tag that names a dissector.
const DISSECTOR: u16 = 12;

/// Writes a capture, one frame after the other.
#[derive(Debug)]
pub(crate) struct Writer<W: Write> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// What the writer says.
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&2u16.to_le_bytes())?;
        out.write_all(&4u16.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&MOST.to_le_bytes())?;
        out.write_all(&LINK_TYPE.to_le_bytes())?;
        Ok(Writer { out })
    }

    /// Writes one frame and sees that it is out. `at_us`: microseconds since 1970; `dissector`: `""` for none.
    ///
    /// # Errors
    /// What the writer says.
    pub(crate) fn frame(&mut self, at_us: i64, dissector: &str, bytes: &[u8]) -> io::Result<()> {
        let name = if dissector.is_empty() { "data" } else { dissector };
        let padded = name.len().next_multiple_of(4);
        let length = u32::try_from(4 + padded + 4 + bytes.len()).unwrap_or(MOST);
        let seconds = u32::try_from(at_us.div_euclid(1_000_000)).unwrap_or(u32::MAX);
        let micros = u32::try_from(at_us.rem_euclid(1_000_000)).unwrap_or(0);
        for word in [seconds, micros, length, length] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(&DISSECTOR.to_be_bytes())?;
        self.out.write_all(&u16::try_from(padded).unwrap_or(0).to_be_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0; 4][..padded - name.len()])?;
        self.out.write_all(&[0; 4])?;
        self.out.write_all(bytes)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read by tshark 4.0: "Modbus/RTU", unit 17, function 3.
    #[test]
    fn a_capture_has_the_bytes_that_wireshark_reads() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out).unwrap();
        writer.frame(1_795_428_000_000_250, "mbrtu", b"\x11\x03\x00\x6B\x00\x03\x76\x87").unwrap();
        let header = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 252, 0, 0, 0];
        let packet = [0xa0, 0x0e, 0x04, 0x6b, 250, 0, 0, 0, 24, 0, 0, 0, 24, 0, 0, 0];
        let tags = *b"\x00\x0c\x00\x08mbrtu\x00\x00\x00\x00\x00\x00\x00";
        let frame = *b"\x11\x03\x00\x6B\x00\x03\x76\x87";
        assert_eq!(out, [&header[..], &packet, &tags, &frame].concat());
    }
}
