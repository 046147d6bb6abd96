//! What a Modbus slave answers: functions 1 to 6, 15, 16, 22, 23 and 43/14 over a memory.

/// The two tables of single bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Coils, functions 1, 5 and 15.
    Coils,
    /// Discrete inputs, function 2.
    Inputs,
}

/// The two tables of registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Holding registers, functions 3, 6, 16, 22 and 23.
    Holding,
    /// Input registers, function 4.
    Input,
}

/// An exception code of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception(pub u8);

/// The function is not known here.
pub const ILLEGAL_FUNCTION: Exception = Exception(1);
/// The address is not there.
pub const ILLEGAL_ADDRESS: Exception = Exception(2);
/// The count or value is not possible.
pub const ILLEGAL_VALUE: Exception = Exception(3);

/// The tables of one simulated device. The default is a device that has none of them.
pub trait Memory: Send {
    /// Tells the device that a request came, before it is answered.
    fn begin(&mut self) {}

    /// Tells the device that its answer begins to leave, at the simulation's clock.
    fn answered(&mut self) {}

    /// Checks a read's range before it is answered: limits, forbidden holes.
    fn allows(&self, _function: u8, _address: u16, _count: u16) -> Result<(), Exception> {
        Ok(())
    }

    /// One coil or discrete input.
    fn bit(&mut self, _table: Bits, _address: u16) -> Result<bool, Exception> {
        Err(ILLEGAL_ADDRESS)
    }

    /// One register.
    fn word(&mut self, _table: Words, _address: u16) -> Result<u16, Exception> {
        Err(ILLEGAL_ADDRESS)
    }

    /// Writes one coil; `value` is the word of function 5, which some boards give meanings of their own.
    fn set_coil(&mut self, _address: u16, _value: u16) -> Result<(), Exception> {
        Err(ILLEGAL_ADDRESS)
    }

    /// Writes registers in one go.
    fn set_words(&mut self, _address: u16, _values: &[u16]) -> Result<(), Exception> {
        Err(ILLEGAL_ADDRESS)
    }

    /// Vendor, product and revision for function 43/14.
    fn identity(&self) -> [&str; 3] {
        ["Gatehouse", "simulated slave", "1"]
    }
}

/// Appends the reply to `pdu`, which is an exception where the request cannot be answered.
pub fn answer(memory: &mut dyn Memory, pdu: &[u8], reply: &mut Vec<u8>) {
    let start = reply.len();
    memory.begin();
    if let Err(Exception(code)) = try_answer(memory, pdu, reply) {
        reply.truncate(start);
        reply.extend_from_slice(&[pdu.first().copied().unwrap_or(0) | 0x80, code]);
    }
}

fn try_answer(memory: &mut dyn Memory, pdu: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let (&function, data) = pdu.split_first().ok_or(ILLEGAL_FUNCTION)?;
    match function {
        1 | 2 => read_bits(memory, function, data, reply),
        3 | 4 => read_words(memory, function, data, reply),
        5 => {
            memory.set_coil(word_at(data, 0)?, word_at(data, 2)?)?;
            echo(pdu, 5, reply)
        }
        6 => {
            memory.set_words(word_at(data, 0)?, &[word_at(data, 2)?])?;
            echo(pdu, 5, reply)
        }
        15 => write_coils(memory, data, pdu, reply),
        16 => write_words(memory, data, pdu, reply),
        22 => {
            let (address, and, or) = (word_at(data, 0)?, word_at(data, 2)?, word_at(data, 4)?);
            let old = memory.word(Words::Holding, address)?;
            memory.set_words(address, &[(old & and) | (or & !and)])?;
            echo(pdu, 7, reply)
        }
        23 => {
            let values = counted_words(data, 6, 121)?;
            memory.set_words(word_at(data, 4)?, &values)?;
            read_words(memory, function, data, reply)
        }
        43 => identify(memory, data, reply),
        _ => Err(ILLEGAL_FUNCTION),
    }
}

fn word_at(data: &[u8], at: usize) -> Result<u16, Exception> {
    data.get(at..at + 2).map(|w| u16::from_be_bytes([w[0], w[1]])).ok_or(ILLEGAL_VALUE)
}

fn echo(pdu: &[u8], bytes: usize, reply: &mut Vec<u8>) -> Result<(), Exception> {
    reply.extend_from_slice(pdu.get(..bytes).ok_or(ILLEGAL_VALUE)?);
    Ok(())
}

/// Addresses of a range; ILLEGAL DATA ADDRESS where it leaves the table.
fn range(address: u16, count: u16) -> Result<impl Iterator<Item = u16>, Exception> {
    let last = address.checked_add(count - 1).ok_or(ILLEGAL_ADDRESS)?;
    Ok(address..=last)
}

fn read_bits(memory: &mut dyn Memory, function: u8, data: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let (address, count) = (word_at(data, 0)?, word_at(data, 2)?);
    if !(1..=2000).contains(&count) {
        return Err(ILLEGAL_VALUE);
    }
    memory.allows(function, address, count)?;
    let table = if function == 1 { Bits::Coils } else { Bits::Inputs };
    let bytes = count.div_ceil(8);
    reply.extend_from_slice(&[function, u8::try_from(bytes).map_err(|_| ILLEGAL_VALUE)?]);
    let first = reply.len();
    reply.resize(first + usize::from(bytes), 0);
    for (at, address) in range(address, count)?.enumerate() {
        if memory.bit(table, address)? {
            reply[first + at / 8] |= 1 << (at % 8);
        }
    }
    Ok(())
}

fn read_words(memory: &mut dyn Memory, function: u8, data: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let (address, count) = (word_at(data, 0)?, word_at(data, 2)?);
    if !(1..=125).contains(&count) {
        return Err(ILLEGAL_VALUE);
    }
    memory.allows(function, address, count)?;
    let table = if function == 4 { Words::Input } else { Words::Holding };
    reply.extend_from_slice(&[function, u8::try_from(count * 2).map_err(|_| ILLEGAL_VALUE)?]);
    for address in range(address, count)? {
        reply.extend_from_slice(&memory.word(table, address)?.to_be_bytes());
    }
    Ok(())
}

/// The words that follow a count and a byte count at `at`.
fn counted_words(data: &[u8], at: usize, most: u16) -> Result<Vec<u16>, Exception> {
    let count = word_at(data, at)?;
    let values = data.get(at + 3..).ok_or(ILLEGAL_VALUE)?;
    let said = usize::from(data[at + 2]);
    if !(1..=most).contains(&count) || said != usize::from(count) * 2 || values.len() != said {
        return Err(ILLEGAL_VALUE);
    }
    Ok(values.chunks_exact(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect())
}

fn write_words(memory: &mut dyn Memory, data: &[u8], pdu: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let values = counted_words(data, 2, 123)?;
    memory.set_words(word_at(data, 0)?, &values)?;
    echo(pdu, 5, reply)
}

fn write_coils(memory: &mut dyn Memory, data: &[u8], pdu: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let (address, count) = (word_at(data, 0)?, word_at(data, 2)?);
    let values = data.get(5..).ok_or(ILLEGAL_VALUE)?;
    if !(1..=1968).contains(&count) || values.len() != usize::from(count.div_ceil(8)) {
        return Err(ILLEGAL_VALUE);
    }
    for (at, address) in range(address, count)?.enumerate() {
        let on = values[at / 8] >> (at % 8) & 1 == 1;
        memory.set_coil(address, if on { 0xFF00 } else { 0 })?;
    }
    echo(pdu, 5, reply)
}

fn identify(memory: &mut dyn Memory, data: &[u8], reply: &mut Vec<u8>) -> Result<(), Exception> {
    let &[0x0E, code, first] = data else { return Err(ILLEGAL_VALUE) };
    let objects = memory.identity();
    let wanted = match code {
        1..=3 => usize::from(first)..objects.len(),
        4 => usize::from(first)..usize::from(first) + 1,
        _ => return Err(ILLEGAL_VALUE),
    };
    let objects = objects.get(wanted).filter(|o| !o.is_empty()).ok_or(ILLEGAL_ADDRESS)?;
    let count = u8::try_from(objects.len()).map_err(|_| ILLEGAL_VALUE)?;
    reply.extend_from_slice(&[43, 0x0E, code, 0x81, 0, 0, count]);
    for (id, text) in (first..).zip(objects) {
        reply.extend_from_slice(&[id, u8::try_from(text.len()).map_err(|_| ILLEGAL_VALUE)?]);
        reply.extend_from_slice(text.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Board {
        coils: [bool; 16],
        words: [u16; 16],
    }

    impl Memory for Board {
        fn bit(&mut self, _: Bits, address: u16) -> Result<bool, Exception> {
            self.coils.get(usize::from(address)).copied().ok_or(ILLEGAL_ADDRESS)
        }
        fn word(&mut self, _: Words, address: u16) -> Result<u16, Exception> {
            self.words.get(usize::from(address)).copied().ok_or(ILLEGAL_ADDRESS)
        }
        fn set_coil(&mut self, address: u16, value: u16) -> Result<(), Exception> {
            *self.coils.get_mut(usize::from(address)).ok_or(ILLEGAL_ADDRESS)? = value == 0xFF00;
            Ok(())
        }
        fn set_words(&mut self, address: u16, values: &[u16]) -> Result<(), Exception> {
            let at = usize::from(address);
            self.words.get_mut(at..at + values.len()).ok_or(ILLEGAL_ADDRESS)?.copy_from_slice(values);
            Ok(())
        }
    }

    fn ask(board: &mut Board, pdu: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        answer(board, pdu, &mut reply);
        reply
    }

    /// Requests and replies of the examples in the Modbus application protocol, V1.1b3, section 6.
    #[test]
    fn the_examples_of_the_standard_are_answered_as_printed() {
        let mut board = Board::default();
        assert_eq!(ask(&mut board, &[0x0F, 0, 0, 0, 10, 2, 0xCD, 0x01]), [0x0F, 0, 0, 0, 10]);
        assert_eq!(ask(&mut board, &[1, 0, 0, 0, 10]), [1, 2, 0xCD, 0x01]);
        assert_eq!(ask(&mut board, &[0x10, 0, 1, 0, 2, 4, 0, 10, 1, 2]), [0x10, 0, 1, 0, 2]);
        assert_eq!(ask(&mut board, &[3, 0, 1, 0, 2]), [3, 4, 0, 10, 1, 2]);
        assert_eq!(ask(&mut board, &[6, 0, 4, 0, 0x12]), [6, 0, 4, 0, 0x12]);
        assert_eq!(ask(&mut board, &[0x16, 0, 4, 0, 0xF2, 0, 0x25]), [0x16, 0, 4, 0, 0xF2, 0, 0x25]);
        assert_eq!(board.words[4], 0x17);
        assert_eq!(ask(&mut board, &[0x17, 0, 4, 0, 1, 0, 5, 0, 1, 2, 0, 0xFF]), [0x17, 2, 0, 0x17]);
        assert_eq!(board.words[5], 0xFF);
    }

    #[test]
    fn what_cannot_be_answered_is_an_exception() {
        let mut board = Board::default();
        assert_eq!(ask(&mut board, &[3, 0, 15, 0, 2]), [0x83, 2]);
        assert_eq!(ask(&mut board, &[3, 0, 0, 0, 126]), [0x83, 3]);
        assert_eq!(ask(&mut board, &[3, 0xFF, 0xFF, 0, 2]), [0x83, 2]);
        assert_eq!(ask(&mut board, &[1, 0]), [0x81, 3]);
        assert_eq!(ask(&mut board, &[0x41]), [0xC1, 1]);
        assert_eq!(ask(&mut board, &[16, 0, 0, 0, 2, 4, 0, 1]), [0x90, 3]);
    }

    #[test]
    fn a_device_says_who_it_is() {
        let reply = ask(&mut Board::default(), &[43, 0x0E, 1, 0]);
        assert_eq!(reply[..9], [43, 0x0E, 1, 0x81, 0, 0, 3, 0, 9]);
        assert_eq!(&reply[9..18], b"Gatehouse");
        assert_eq!(ask(&mut Board::default(), &[43, 0x0E, 4, 9]), [0xAB, 2]);
    }
}
