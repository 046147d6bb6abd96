//! Requests that are more than a point: encoded to a Modbus PDU, and recognised in one.

pub use gatehouse_core::driver::Argument;

use super::{Channels, Command, Payload, Profile};

/// A command with everything that its request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The channel as the device counts; `None` when the command has no channels.
    pub channel: Option<u16>,
    /// What the caller adds.
    pub argument: Argument,
}

/// Why a command cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The command has channels and none was named.
    #[error("which channel? it has {0} to {1}")]
    ChannelMissing(u16, u16),
    /// There is no such channel.
    #[error("there is no channel {0}, the device has {1} to {2}")]
    NoSuchChannel(u16, u16, u16),
    /// The command has no channels and one was named.
    #[error("the command has no channels")]
    NoChannels,
    /// The command takes another kind of argument.
    #[error("the command takes {0}")]
    WrongArgument(&'static str),
    /// The argument is outside the command's range.
    #[error("{0} is outside {1} to {2}")]
    OutOfRange(u64, u64, u64),
}

impl Channels {
    /// The last channel's number.
    pub fn last(&self) -> u16 {
        self.first.saturating_add(self.count.saturating_sub(1))
    }

    fn address(&self, base: u16, channel: u16) -> u16 {
        base.saturating_add((channel - self.first).saturating_mul(self.step))
    }

    fn channel_at(&self, base: u16, address: u16) -> Option<u16> {
        (self.first..=self.last()).find(|&channel| self.address(base, channel) == address)
    }
}

fn within(value: u64, least: u64, most: u64) -> Result<u64, CallError> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(CallError::OutOfRange(value, least, most)) }
}

impl Command {
    /// Appends the request as a Modbus PDU: function, address and data, without unit address and checksum.
    ///
    /// # Errors
    /// [`CallError`] when channel or argument do not suit the command; nothing was appended then.
    pub fn encode(&self, call: Call, pdu: &mut Vec<u8>) -> Result<(), CallError> {
        let address = match (self.channels, call.channel) {
            (None, None) => self.address,
            (None, Some(_)) => return Err(CallError::NoChannels),
            (Some(all), None) => return Err(CallError::ChannelMissing(all.first, all.last())),
            (Some(all), Some(channel)) if (all.first..=all.last()).contains(&channel) => {
                all.address(self.address, channel)
            }
            (Some(all), Some(channel)) => return Err(CallError::NoSuchChannel(channel, all.first, all.last())),
        };
        let mut data = Vec::new();
        self.encode_data(call.argument, &mut data)?;
        pdu.push(self.function);
        pdu.extend(address.to_be_bytes());
        pdu.extend(data);
        Ok(())
    }

    fn encode_data(&self, argument: Argument, data: &mut Vec<u8>) -> Result<(), CallError> {
        match (&self.payload, argument) {
            (&Payload::Read { most }, Argument::None) if most == 1 => data.extend(most.to_be_bytes()),
            (&Payload::Read { most }, Argument::Count(count)) => {
                within(count.into(), 1, most.into())?;
                data.extend(count.to_be_bytes());
            }
            (Payload::Fixed(words), Argument::None) => self.encode_words(words, 0, data),
            (Payload::Timed { words, least, most, .. }, Argument::Units(units)) => {
                within(units.into(), (*least).into(), (*most).into())?;
                self.encode_words(words, units, data);
            }
            (Payload::Value { words, least, most }, Argument::Value(value)) => {
                let value = within(value, (*least).into(), (*most).into())?;
                self.encode_words(words, u16::try_from(value).unwrap_or(*most), data);
            }
            (&Payload::Switch { on, off }, Argument::On(state)) => {
                self.encode_words(&[if state { on } else { off }], 0, data);
            }
            (&Payload::Coils { count, row: Some(row) }, Argument::None) => encode_row(count, row, data),
            (&Payload::Coils { count, row: None }, Argument::Value(row)) => {
                let row = within(row, 0, u64::MAX >> (64 - u32::from(count.clamp(1, 64))))?;
                encode_row(count, row, data);
            }
            (payload, _) => return Err(CallError::WrongArgument(payload.wants())),
        }
        Ok(())
    }

    fn encode_words(&self, words: &[u16], added: u16, data: &mut Vec<u8>) {
        if self.function == 16 {
            let count = u8::try_from(words.len()).unwrap_or(u8::MAX);
            data.extend([0, count, count.saturating_mul(2)]);
        }
        for (at, word) in words.iter().enumerate() {
            let word = if at + 1 == words.len() { word.wrapping_add(added) } else { *word };
            data.extend(word.to_be_bytes());
        }
    }

    /// Recognises the command in a request's PDU.
    pub fn call_of(&self, pdu: &[u8]) -> Option<Call> {
        let (&[function, high, low], data) = pdu.split_first_chunk::<3>()?;
        let address = u16::from_be_bytes([high, low]);
        let channel = match self.channels {
            None if address != self.address => return None,
            None => None,
            Some(all) => Some(all.channel_at(self.address, address)?),
        };
        if function != self.function {
            return None;
        }
        Some(Call { channel, argument: self.argument_of(data)? })
    }

    fn argument_of(&self, data: &[u8]) -> Option<Argument> {
        let sent = match (self.function, data) {
            (1..=6, &[high, low]) => vec![u16::from_be_bytes([high, low])],
            (16, [0, count, bytes, rest @ ..])
                if *bytes == count.wrapping_mul(2) && rest.len() == usize::from(*bytes) =>
            {
                rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
            }
            (15, [high, low, _, row @ ..]) => {
                let count = u16::from_be_bytes([*high, *low]);
                return self.row_of(count, row);
            }
            _ => return None,
        };
        let added = |words: &[u16]| {
            let (last, head) = words.split_last()?;
            let (sent_last, sent_head) = sent.split_last()?;
            (head == sent_head).then(|| sent_last.checked_sub(*last))?
        };
        match &self.payload {
            Payload::Read { most: 1 } => (sent == [1]).then_some(Argument::None),
            Payload::Read { most } => Some(Argument::Count(*sent.first()?)).filter(|_| (1..=*most).contains(&sent[0])),
            Payload::Fixed(words) => (*words == sent).then_some(Argument::None),
            Payload::Timed { words, least, most, .. } => {
                added(words).filter(|units| (least..=most).contains(&units)).map(Argument::Units)
            }
            Payload::Value { words, least, most } => {
                added(words).filter(|value| (least..=most).contains(&value)).map(|value| Argument::Value(value.into()))
            }
            Payload::Switch { on, .. } if sent == [*on] => Some(Argument::On(true)),
            Payload::Switch { off, .. } if sent == [*off] => Some(Argument::On(false)),
            Payload::Switch { .. } | Payload::Coils { .. } => None,
        }
    }

    fn row_of(&self, sent: u16, bytes: &[u8]) -> Option<Argument> {
        let Payload::Coils { count, row } = self.payload else { return None };
        if sent != count || bytes.len() != usize::from(count.div_ceil(8)) {
            return None;
        }
        let found = bytes.iter().rev().fold(0u64, |row, byte| row << 8 | u64::from(*byte));
        match row {
            Some(row) => (row == found).then_some(Argument::None),
            None => Some(Argument::Value(found)),
        }
    }
}

fn encode_row(count: u16, row: u64, data: &mut Vec<u8>) {
    let bytes = usize::from(count.div_ceil(8)).min(8);
    data.extend(count.to_be_bytes());
    data.push(u8::try_from(bytes).unwrap_or(8));
    data.extend(&row.to_le_bytes()[..bytes]);
}

impl Payload {
    fn wants(&self) -> &'static str {
        match self {
            Payload::Read { most: 1 } | Payload::Fixed(_) | Payload::Coils { row: Some(_), .. } => "no argument",
            Payload::Read { .. } => "a count",
            Payload::Timed { .. } => "a time",
            Payload::Value { .. } | Payload::Coils { row: None, .. } => "a number",
            Payload::Switch { .. } => "on or off",
        }
    }
}

impl Profile {
    /// The command of that name.
    pub fn command(&self, name: &str) -> Option<&Command> {
        self.commands.iter().find(|command| command.name == *name)
    }

    /// The first command that a request's PDU is.
    pub fn call_of(&self, pdu: &[u8]) -> Option<(&Command, Call)> {
        self.commands.iter().find_map(|command| Some((command, command.call_of(pdu)?)))
    }
}
