//! What comes from people's hands and from the core: card bits, credentials, codes of visitors, commands.

use std::sync::LazyLock;

use gatehouse_rules::access::wiegand::{Bits, Format, Parity, Span};
use gatehouse_rules::access::{Expected, LookupKey, Snapshot, Token};
use gatehouse_rules::command::Request;
use gatehouse_rules::words::HolderClass;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::script::Script;

/// The lookup key of the box; the seeds name it by its id.
const LOOKUP: [u8; 32] = [9; 32];

/// The number of bits, the bits, and a format of the site's own.
///
/// # Panics
/// When a card is not written as it was read.
pub fn wiegand(input: &[u8]) {
    let mut script = Script::new(input);
    let count = usize::from(script.byte());
    let spans: [Span; 3] = std::array::from_fn(|_| Span::new(script.byte(), script.byte()));
    let parity = Parity { at: script.byte(), odd: script.byte() & 1 == 1, over: vec![spans[2]] };
    let Ok(bits) = Bits::from_left_aligned(script.rest(), count) else { return };
    assert_eq!(Bits::parse(&bits.to_string()), Ok(bits));
    assert_eq!(Bits::of_number(bits.value(), bits.count()), Ok(bits));
    for format in Format::built_in() {
        if let Ok(card) = format.decode(bits) {
            assert_eq!(format.encode(card), Ok(bits), "{}", format.name());
        }
    }
    if let Ok(own) = Format::new("own", bits.count(), Some(spans[0]), spans[1], vec![parity])
        && let Ok(card) = own.decode(bits)
    {
        let _ = own.encode(card);
    }
}

/// A snapshot of credentials, as it came or signed by the right key.
pub fn credentials(input: &[u8]) {
    let mut script = Script::new(input);
    let is_signed = script.byte() & 1 == 1;
    let mut bytes = script.rest().to_vec();
    let (key, public) = &*KEY;
    if is_signed {
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        let signature: String = key.sign(&bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.extend(format!("{{\"signature\":\"{signature}\"}}\n").bytes());
    }
    let lookup = LookupKey::new(&LOOKUP);
    let expected = Expected { keys: vec![*public], site: "riverside".to_owned(), lookup };
    let _ = Snapshot::verify(&bytes, &expected);
}

/// The text of a code that a visitor shows, as it came or changed after it was signed.
///
/// # Panics
/// When a signed code is not read as it was written.
pub fn visitor_code(input: &[u8]) {
    let (key, public) = &*KEY;
    let _ = Token::read(&String::from_utf8_lossy(input), &[*public]);
    let mut script = Script::new(input);
    let mut text = || String::from_utf8_lossy(script.piece()).into_owned();
    let token = Token {
        site: text(),
        class: HolderClass::Visitor,
        from: 1,
        until: 2,
        serial: 3,
        gates: vec![text(), text()],
        groups: vec![text()],
    };
    let signed = token.sign(key);
    if token.gates.iter().chain(&token.groups).chain([&token.site]).all(|text| text.len() < 256) {
        let again = Token::read(&signed, &[*public]);
        assert!(again.is_err() || again == Ok(token), "what is signed is read alike");
    }
    let _ = Token::read(&format!("{signed}{}", text()), &[*public]);
}

/// A command of the core.
pub fn command(input: &[u8]) {
    let _ = Request::parse(input);
}

/// The core's key and its public half.
static KEY: LazyLock<(Ed25519KeyPair, [u8; 32])> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed");
    let public = key.public_key().as_ref().try_into().expect("a public key has 32 bytes");
    (key, public)
});
