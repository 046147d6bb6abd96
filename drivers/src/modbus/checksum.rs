//! CRC-16 of RTU frames and LRC of ASCII frames.

/// Reflected polynomial 8005h (Modbus over Serial Line 1.02, 6.2.2).
const POLYNOMIAL: u16 = 0xA001;

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut value = 0u16;
    while value < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[value as usize] = crc;
        value += 1;
    }
    table
};

/// The CRC-16 of `bytes`: initial value FFFFh, no final xor. On the wire its low byte goes first.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// The LRC of `bytes`: two's complement of their sum.
pub fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_hold() {
        assert_eq!(crc16(b"123456789"), 0x4B37);
        assert_eq!(crc16(b""), 0xFFFF);
        assert_eq!(crc16(&[0x11, 0x03, 0x00, 0x6B, 0x00, 0x03]), 0x8776);
        assert_eq!(lrc(&[0x11, 0x03, 0x00, 0x6B, 0x00, 0x03]), 0x7E);
        assert_eq!(lrc(&[0xF7, 0x03, 0x13, 0x89, 0x00, 0x0A]), 0x60);
        assert_eq!(lrc(&[0]), 0);
    }
}
