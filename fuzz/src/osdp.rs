//! OSDP frames, commands and replies, without a conversation.

use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::osdp::frame::{Block, Found, Framing, MAX_LENGTH, encode, find};
use gatehouse_drivers::osdp::{Command, Reply};

use crate::script::Script;

/// Runs an input: one byte that chooses, then received bytes, or the code and data of a frame that is built around them.
///
/// # Panics
/// When the search does not go on, or what is encoded is not found again.
pub fn frames(input: &[u8]) {
    let mut script = Script::new(input);
    let chosen = script.byte();
    if chosen & 1 == 0 {
        return walk(script.rest());
    }
    let framing =
        Framing { address: chosen >> 1 & 0x7F, sequence: chosen >> 4, crc: chosen & 4 != 0, mark: chosen & 8 != 0 };
    let kind = script.byte();
    let (code, data) = (script.byte(), script.rest());
    let block = (kind & 0x80 != 0).then_some(Block { kind: kind & 0x7F, data: &[] });
    let mut bytes = Vec::new();
    encode(framing, block, (code, data), |signed| [u8::try_from(signed.len() % 251).unwrap_or(0); 4], &mut bytes);
    assert!(bytes.len() <= usize::from(MAX_LENGTH) + 1);
    let Found::Frame { bytes: taken, frame } = find(&bytes) else { panic!("a frame is not found: {bytes:02x?}") };
    assert_eq!((taken, frame.code), (bytes.len(), code));
    read(code, data);
    walk(&bytes);
}

fn walk(mut bytes: &[u8]) {
    dissect::fields(Language::Osdp, false, bytes);
    dissect::is_secret(Language::Osdp, bytes);
    while !bytes.is_empty() {
        let taken = match find(bytes) {
            Found::Incomplete { missing } => {
                assert!(missing > 0, "it waits for nothing");
                return;
            }
            Found::Skip { bytes, .. } => bytes,
            Found::Frame { bytes, frame } => {
                read(frame.code, frame.data);
                bytes
            }
        };
        assert!((1..=bytes.len()).contains(&taken), "it takes {taken} of {}", bytes.len());
        bytes = &bytes[taken..];
    }
}

fn read(code: u8, data: &[u8]) {
    if let Ok(Reply::Card(card)) = Reply::decode(code, data) {
        assert_eq!(card.bits().count(), usize::from(card.count));
    }
    if let Some(command) = Command::decode(code, data) {
        let mut again = Vec::new();
        command.encode(&mut again);
        assert_eq!((command.code(), &*again), (code, data), "what is read is written alike");
    }
}
