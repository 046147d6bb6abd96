//! Framing of the simulated slaves: RTU with its checksum, and the Modbus TCP header.
//!
//! Written apart from `gatehouse-drivers` on purpose: a simulator that shares the gateway's codec proves nothing.

/// CRC-16 of Modbus over serial line (6.2.2): reflected polynomial A001, start FFFF; sent low byte first.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// The unit and PDU of a sound RTU frame; `None` for a wrong checksum or a length that no frame has.
pub fn open_rtu(frame: &[u8]) -> Option<(u8, &[u8])> {
    if !(4..=256).contains(&frame.len()) {
        return None;
    }
    let (body, check) = frame.split_at(frame.len() - 2);
    (crc(body).to_le_bytes() == check).then(|| (body[0], &body[1..]))
}

/// An RTU frame around a PDU.
pub fn seal_rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame.extend_from_slice(&crc(&frame).to_le_bytes());
    frame
}

/// One request of a Modbus TCP stream.
#[derive(Debug, PartialEq, Eq)]
pub struct TcpRequest<'a> {
    /// Transaction of the header, to be given back.
    pub transaction: u16,
    /// Unit of the header.
    pub unit: u8,
    /// Function and data.
    pub pdu: &'a [u8],
    /// Bytes that it took from the stream.
    pub bytes: usize,
}

/// A stream that cannot be Modbus TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Modbus TCP header")]
pub struct NotModbus;

/// Takes the first request of `stream`; `None` while it is incomplete.
///
/// # Errors
/// [`NotModbus`] when the header's protocol is not 0 or its length not 2 to 254.
pub fn open_tcp(stream: &[u8]) -> Result<Option<TcpRequest<'_>>, NotModbus> {
    let Some(header) = stream.get(..7) else { return Ok(None) };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let length = usize::from(word(4));
    if word(2) != 0 || !(2..=254).contains(&length) {
        return Err(NotModbus);
    }
    let bytes = 6 + length;
    Ok(stream.get(7..bytes).map(|pdu| TcpRequest { transaction: word(0), unit: header[6], pdu, bytes }))
}

/// Appends a Modbus TCP reply.
pub fn seal_tcp(transaction: u16, unit: u8, pdu: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&transaction.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(unit);
    out.extend_from_slice(pdu);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_catalogue() {
        assert_eq!(crc(b"123456789"), 0x4B37);
    }

    #[test]
    fn a_frame_with_one_wrong_bit_is_not_opened() {
        let mut frame = seal_rtu(17, &[3, 0, 107, 0, 3]);
        assert_eq!(open_rtu(&frame), Some((17, &[3, 0, 107, 0, 3][..])));
        frame[2] ^= 1;
        assert_eq!(open_rtu(&frame), None);
        assert_eq!(open_rtu(&[]), None);
    }

    #[test]
    fn a_tcp_request_is_taken_when_it_is_whole() {
        let mut stream = Vec::new();
        seal_tcp(0x0102, 9, &[3, 0, 0, 0, 2], &mut stream);
        assert_eq!(open_tcp(&stream[..11]), Ok(None));
        stream.push(0xAA);
        let request = open_tcp(&stream).unwrap().unwrap();
        assert_eq!(
            (request.transaction, request.unit, request.pdu, request.bytes),
            (0x0102, 9, &[3, 0, 0, 0, 2][..], 12)
        );
        assert_eq!(open_tcp(&[0, 1, 0, 9, 0, 6, 1]), Err(NotModbus));
    }
}
