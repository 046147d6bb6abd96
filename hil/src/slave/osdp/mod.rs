//! A card reader of OSDP with a Secure Channel: it keeps the cards that are shown to it until its panel asks.
//!
//! Frames and ciphers are written apart from `gatehouse-drivers` on purpose: a simulator that shares the gateway's codec
//! proves nothing.

mod channel;
mod frame;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::station::{Heard, Station};
use channel::Channel;
use frame::{Command, is_signed};

/// Codes of commands.
mod command {
    pub(super) const POLL: u8 = 0x60;
    pub(super) const ID: u8 = 0x61;
    pub(super) const CAPABILITIES: u8 = 0x62;
    pub(super) const LOCAL_STATUS: u8 = 0x64;
    pub(super) const INPUT_STATUS: u8 = 0x65;
    pub(super) const OUTPUT_STATUS: u8 = 0x66;
    pub(super) const LED: u8 = 0x69;
    pub(super) const BUZZER: u8 = 0x6A;
    pub(super) const TEXT: u8 = 0x6B;
    pub(super) const CHALLENGE: u8 = 0x76;
    pub(super) const CRYPTOGRAM: u8 = 0x77;
}

/// Codes of replies.
mod reply {
    pub(super) const ACK: u8 = 0x40;
    pub(super) const NAK: u8 = 0x41;
    pub(super) const ID: u8 = 0x45;
    pub(super) const CAPABILITIES: u8 = 0x46;
    pub(super) const LOCAL_STATUS: u8 = 0x48;
    pub(super) const INPUT_STATUS: u8 = 0x49;
    pub(super) const OUTPUT_STATUS: u8 = 0x4A;
    pub(super) const CARD: u8 = 0x50;
    pub(super) const CHALLENGED: u8 = 0x76;
    pub(super) const FIRST_MAC: u8 = 0x78;
}

/// Reasons of NAK: a command that is not known; security conditions not met.
const UNKNOWN: u8 = 3;
const NOT_SECURE: u8 = 6;
/// Cards that a reader keeps; the oldest go first.
const KEPT: usize = 8;

/// What is shown to a reader, shared with who shows it and who checks what came of it.
#[derive(Debug, Clone, Default)]
pub struct Hand(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    waiting: VecDeque<Vec<u8>>,
    /// When cards were shown, in microseconds of wall time.
    at_us: Vec<i64>,
    /// A Secure Channel was opened.
    secured: bool,
}

impl Hand {
    fn with<T>(&self, f: impl FnOnce(&mut Shown) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows a card of so many bits, the first one highest in the first byte.
    pub fn show(&self, count: u16, bits: &[u8], now_us: i64) {
        self.with(|shown| {
            let mut card = vec![0, 1];
            card.extend(count.to_le_bytes());
            card.extend(bits);
            shown.waiting.push_back(card);
            shown.at_us.push(now_us);
            let surplus = shown.waiting.len().saturating_sub(KEPT);
            shown.waiting.drain(..surplus);
        });
    }

    /// How many cards had been shown by a wall time.
    pub fn shown_by(&self, at_us: i64) -> usize {
        self.with(|shown| shown.at_us.iter().filter(|at| **at <= at_us).count())
    }

    /// Whether its panel ever opened a Secure Channel with it.
    pub fn was_secured(&self) -> bool {
        self.with(|shown| shown.secured)
    }
}

/// A reader.
pub struct Reader {
    address: u8,
    key: [u8; 16],
    hand: Hand,
    random: fastrand::Rng,
    /// A channel that the panel has not proved its key for.
    offered: Option<Channel>,
    channel: Option<Channel>,
    /// The last command and what was answered.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl Reader {
    /// A reader at an address, 0 to 126, that tells cards only to who has its key.
    pub fn new(address: u8, key: [u8; 16], hand: Hand) -> Self {
        let random = fastrand::Rng::with_seed(u64::from(address));
        Reader { address, key, hand, random, offered: None, channel: None, last: None }
    }

    fn answer(&mut self, command: &Command) -> Vec<u8> {
        if command.sequence == 0 || command.code == command::CHALLENGE {
            // The panel begins anew.
            (self.channel, self.offered) = (None, None);
        }
        let to = (self.address, command.sequence);
        if let Some(mut channel) = self.channel.take() {
            return match self.answer_within(&mut channel, command) {
                Some((code, data)) => {
                    let kind = if data.is_empty() { 0x16 } else { 0x18 };
                    let data = if data.is_empty() { data } else { channel.seal(&data) };
                    let reply = frame::seal(to, Some((kind, &[])), (code, &data), |signed| channel.sign(signed));
                    self.channel = Some(channel);
                    reply
                }
                None => frame::seal(to, None, (reply::NAK, &[NOT_SECURE]), |_| [0; 4]),
            };
        }
        let (block, code, data) = match (command.code, &command.data[..]) {
            (command::CHALLENGE, panel) => self.challenged(panel),
            (command::CRYPTOGRAM, proof) => self.proved(proof),
            // A card in the clear could be anybody's: it waits.
            (command::POLL, _) => (None, reply::ACK, Vec::new()),
            (code, _) => {
                let (code, data) = self.obey(code);
                (None, code, data)
            }
        };
        frame::seal(to, block.map(|kind| (kind, &[1][..])), (code, &data), |_| [0; 4])
    }

    /// Answers within a Secure Channel; `None` to what is not signed by its panel.
    fn answer_within(&mut self, channel: &mut Channel, command: &Command) -> Option<(u8, Vec<u8>)> {
        if !is_signed(command.block) || !channel.takes(&command.signed) {
            return None;
        }
        if command.block == 0x17 {
            channel.open(&command.data)?;
        }
        let card = (command.code == command::POLL).then(|| self.hand.with(|shown| shown.waiting.pop_front())).flatten();
        Some(card.map_or_else(|| self.obey(command.code), |card| (reply::CARD, card)))
    }

    fn obey(&self, code: u8) -> (u8, Vec<u8>) {
        match code {
            command::ID => (reply::ID, vec![0x00, 0x06, 0x8E, 1, 1, self.address, 0, 0, 0, 1, 0, 0]),
            // It checks frames by CRC, and speaks of nothing within a Secure Channel that it would not outside.
            command::CAPABILITIES => (reply::CAPABILITIES, vec![8, 1, 0, 9, 1, 0]),
            command::LOCAL_STATUS => (reply::LOCAL_STATUS, vec![0, 0]),
            command::INPUT_STATUS => (reply::INPUT_STATUS, vec![0]),
            command::OUTPUT_STATUS => (reply::OUTPUT_STATUS, vec![0]),
            command::POLL | command::LED | command::BUZZER | command::TEXT => (reply::ACK, Vec::new()),
            _ => (reply::NAK, vec![UNKNOWN]),
        }
    }

    fn challenged(&mut self, panel: &[u8]) -> (Option<u8>, u8, Vec<u8>) {
        let Ok(panel) = <[u8; 8]>::try_from(panel) else { return (None, reply::NAK, vec![UNKNOWN]) };
        let own = self.random.u64(..).to_le_bytes();
        let channel = Channel::new(self.key, panel, own);
        let data = [&[0, 6, 0x8E, 1, 0, 0, 0, self.address][..], &own, &channel.own_proof()].concat();
        self.offered = Some(channel);
        (Some(0x12), reply::CHALLENGED, data)
    }

    fn proved(&mut self, proof: &[u8]) -> (Option<u8>, u8, Vec<u8>) {
        let begun = self.offered.take().and_then(|mut channel| Some((channel.begin(proof)?, channel)));
        let Some((mac, channel)) = begun else { return (None, reply::NAK, vec![NOT_SECURE]) };
        self.channel = Some(channel);
        self.hand.with(|shown| shown.secured = true);
        (Some(0x14), reply::FIRST_MAC, mac.to_vec())
    }
}

impl Station for Reader {
    fn hear(&mut self, heard: &[u8]) -> Heard {
        let Some(command) = frame::open(heard) else { return Heard::Noise };
        if command.address != self.address {
            return Heard::Anothers;
        }
        if let Some((asked, answered)) = &self.last
            && *asked == command.whole
        {
            return Heard::Reply(answered.clone());
        }
        let reply = self.answer(&command);
        self.last = Some((command.whole, reply.clone()));
        Heard::Reply(reply)
    }

    fn anothers(&self, reply: &[u8]) -> Vec<u8> {
        // Of another reader nothing is known that would be signed by its key: what all of them say.
        let sequence = reply.get(4).map_or(0, |control| control & 0x03);
        frame::seal((self.address ^ 1, sequence), None, (reply::ACK, &[]), |_| [0; 4])
    }
}

#[cfg(test)]
mod tests;
