//! Who may command from afar: Ed25519 signatures over the text of a command.

use std::collections::BTreeSet;
use std::fmt::Write;

use gatehouse_core::Name;
use ring::digest;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Source;
use super::outcome::Refusal;
use super::request::{Request, What};
use super::target::TargetClass;

/// Which commands of the core have to be signed, and by whom.
///
/// A signature is Ed25519 (RFC 8032) over these lines, each ended by one line feed (0x0A):
///
/// 1. `gatehouse-command-v1`
/// 2. the id of the box, so that a command for one box is worth nothing at another
/// 3. `id`
/// 4. `target`
/// 5. `action`; `write` for a write
/// 6. `point`, 7. `value`, 8. `issuer`, 9. `reason_code`; an absent one is an empty line
/// 10. `issued_at`, 11. `expires_at`: microseconds since 1970-01-01T00:00:00Z in decimal, fractions dropped
/// 12. one line `key=text` for each of the `args`, ascending by the bytes of the keys
///
/// Commands from the box's own socket need none: the kernel vouches for their user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The box, as in its topics.
    pub box_id: Name,
    /// The core's public keys, 32 bytes each; one of them has to have signed. More than one while a key is replaced.
    pub keys: Vec<[u8; 32]>,
    /// Every command to these has to be signed. Default: none.
    pub classes: BTreeSet<TargetClass>,
    /// These actions have to be signed, whatever their target, and so has each that has an arg `override`. Default:
    /// `trip`, `reconnect` and `lock_lane`.
    pub grave: BTreeSet<Name>,
}

impl Signing {
    /// Nobody's keys yet, and signatures only for grave actions.
    pub fn new(box_id: Name) -> Self {
        let grave =
            ["trip", "reconnect", "lock_lane"].into_iter().filter_map(|action| Name::new(action).ok()).collect();
        Signing { box_id, keys: Vec::new(), classes: BTreeSet::new(), grave }
    }

    /// The text that a signature of this command covers.
    pub fn text(&self, request: &Request) -> String {
        let (point, value) = match &request.what {
            What::Act { .. } => ("", ""),
            What::Write { point, value } => (point.as_str(), &**value),
        };
        let reason = request.reason_code.as_deref().unwrap_or_default();
        let Request { id, target, what, issuer, issued_at, expires_at, .. } = request;
        let mut text = format!(
            "gatehouse-command-v1\n{}\n{id}\n{target}\n{}\n{point}\n{value}\n{issuer}\n{reason}\n{}\n{}\n",
            self.box_id,
            what.action(),
            issued_at.0,
            expires_at.0,
        );
        if let What::Act { args, .. } = what {
            for (key, arg) in args {
                text.push_str(key);
                text.push('=');
                text.push_str(arg);
                text.push('\n');
            }
        }
        text
    }

    /// True when one of the keys has signed it; false when nobody needs to have.
    pub(super) fn check(&self, request: &Request, source: Source) -> Result<bool, Refusal> {
        let required = source == Source::Core && self.requires(request);
        let Some(signature) = &request.signature else {
            return if required { Err(Refusal::SignatureRequired) } else { Ok(false) };
        };
        if self.keys.is_empty() {
            return if required { Err(Refusal::NoKey) } else { Ok(false) };
        }
        let text = self.text(request);
        let signed = |key: &[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), signature).is_ok();
        if self.keys.iter().any(signed) { Ok(true) } else { Err(Refusal::BadSignature) }
    }

    /// Tells this command from another with the same id: 128 bits of the SHA-256 of [`Signing::text`], hexadecimal.
    pub(super) fn fingerprint(&self, request: &Request) -> String {
        let digest = digest::digest(&digest::SHA256, self.text(request).as_bytes());
        digest.as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn requires(&self, request: &Request) -> bool {
        let overrides = match &request.what {
            What::Act { args, .. } => args.contains_key("override"),
            What::Write { .. } => false,
        };
        overrides || self.classes.contains(&request.target.class()) || self.grave.contains(request.what.action())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Reads 64 bytes from 86 characters of base64url (RFC 4648 section 5, no padding, unused bits zero).
pub(super) fn read_base64url(text: &str) -> Option<[u8; 64]> {
    if text.len() != 86 {
        return None;
    }
    let (mut bytes, mut filled) = ([0; 64], 0usize);
    let (mut bits, mut held) = (0u32, 0u32);
    for character in text.bytes() {
        let digit = ALPHABET.iter().position(|&known| known == character)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            *bytes.get_mut(filled)? = u8::try_from(bits >> held & 0xff).ok()?;
            filled += 1;
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// Writes 64 bytes as 86 characters of base64url.
pub(super) fn write_base64url(bytes: &[u8; 64]) -> String {
    let mut text = String::with_capacity(86);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = word >> (18 - 6 * place) & 0x3f;
            text.push(char::from(ALPHABET[digit as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    /// The secret key of RFC 8032 section 7.1, test 1; its public key begins with d75a9801.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];

    fn signing() -> Signing {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
        let key = pair.public_key().as_ref().try_into().unwrap();
        Signing { keys: vec![[7; 32], key], ..Signing::new(Name::new("riverside-7").unwrap()) }
    }

    fn request(message: &str) -> Request {
        Request::parse(message.as_bytes()).unwrap()
    }

    const TRIP: &str = r#"{"v":1,"id":"c-1","target":"device:meter-101","action":"trip","args":{"phase":"l1","all":"no"},
        "issuer":"desk-3","reason_code":"unpaid","issued_at":"2026-11-23T10:00:00Z","expires_at":"2026-11-23T10:00:10Z"}"#;
    const OPEN: &str = r#"{"v":1,"id":"c-2","target":"gate:g","action":"open","issuer":"desk-3",
        "issued_at":"2026-11-23T10:00:00Z","expires_at":"2026-11-23T10:00:10Z"}"#;

    fn signed(mut request: Request) -> Request {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
        request.signature = Some(pair.sign(signing().text(&request).as_bytes()).as_ref().try_into().unwrap());
        request
    }

    /// If this test fails, do not change the test: cores in the field sign this text.
    #[test]
    fn the_signed_text_and_its_signature_are_frozen() {
        let text = "gatehouse-command-v1\nriverside-7\nc-1\ndevice:meter-101\ntrip\n\n\ndesk-3\nunpaid\n1795428000000000\n\
                    1795428010000000\nall=no\nphase=l1\n";
        assert_eq!(signing().text(&request(TRIP)), text);
        let signature = write_base64url(&signed(request(TRIP)).signature.unwrap());
        assert_eq!(signature, "nHWMU7DjLib-FybIQZffZTJQafCxe9IHtL0FNjz8S-eC2FaQ8gAHob62Dzf9spW_g969dLlmI0pqrABl6a0UAg");
        assert_eq!(signing().fingerprint(&request(TRIP)), "2a189bb3a42af6c35ec679a18039acdc");
    }

    #[test]
    fn grave_actions_of_the_core_are_signed_or_refused() {
        let signing = signing();
        assert_eq!(signing.check(&request(TRIP), Source::Core), Err(Refusal::SignatureRequired));
        assert_eq!(signing.check(&request(TRIP), Source::Socket { uid: 1000 }), Ok(false));
        assert_eq!(signing.check(&signed(request(TRIP)), Source::Core), Ok(true));
        let keyless = Signing { keys: Vec::new(), ..signing };
        assert_eq!(keyless.check(&signed(request(TRIP)), Source::Core), Err(Refusal::NoKey));
        let forced = OPEN.replace(r#""action":"open""#, r#""action":"open","args":{"override":"true"}"#);
        assert_eq!(keyless.check(&request(&forced), Source::Core), Err(Refusal::SignatureRequired));
        assert_eq!(keyless.check(&signed(request(OPEN)), Source::Core), Ok(false), "nobody asked for a signature");
    }

    #[test]
    fn a_class_of_targets_can_be_made_to_need_signatures() {
        let signing = Signing { classes: BTreeSet::from([TargetClass::Gate]), ..signing() };
        assert_eq!(signing.check(&request(OPEN), Source::Core), Err(Refusal::SignatureRequired));
        assert_eq!(signing.check(&signed(request(OPEN)), Source::Core), Ok(true));
    }

    #[test]
    fn a_signature_covers_every_field_and_the_box() {
        let signing = signing();
        let good = signed(request(TRIP));
        let changes = [
            ("c-1", "c-9"),
            ("meter-101", "meter-102"),
            ("trip", "trap"),
            ("\"l1\"", "\"l2\""),
            ("\"all\"", "\"ill\""),
            ("desk-3", "desk-4"),
            ("unpaid", "repair"),
            ("10:00:00Z", "09:59:59Z"),
            ("10:00:10Z", "10:00:11Z"),
        ];
        for (old, new) in changes {
            let changed = Request { signature: good.signature, ..request(&TRIP.replace(old, new)) };
            assert_eq!(signing.check(&changed, Source::Core), Err(Refusal::BadSignature), "{old} as {new}");
        }
        let elsewhere = Signing { box_id: Name::new("riverside-8").unwrap(), ..signing };
        assert_eq!(elsewhere.check(&good, Source::Core), Err(Refusal::BadSignature));
        assert_eq!(
            elsewhere.check(&good, Source::Socket { uid: 0 }),
            Err(Refusal::BadSignature),
            "a bad one is never let by"
        );
    }

    #[test]
    fn base64url_has_one_spelling_for_each_signature() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let bytes: [u8; 64] = std::array::from_fn(|_| rng.u8(..));
            let text = write_base64url(&bytes);
            assert_eq!((text.len(), read_base64url(&text)), (86, Some(bytes)));
        }
        assert_eq!(read_base64url(&"A".repeat(85)), None);
        assert_eq!(read_base64url(&format!("{}B", "A".repeat(85))), None, "bits that are not used are zero");
        assert_eq!(read_base64url(&format!("{}+", "A".repeat(85))), None);
        assert_eq!(read_base64url(&"é".repeat(43)), None);
    }
}
