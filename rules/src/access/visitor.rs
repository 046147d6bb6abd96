//! Codes for visitors that prove themselves, so that they open during an outage: signed texts for a QR picture, and
//! PINs that depend on the time. Both open once.
//!
//! A **signed code** is `GH1.` and base64url (no padding) of: version 1, class (0 resident, 1 staff, 2 visitor,
//! 3 emergency), from and until (seconds since 1970, 32 bits), serial (64 bits), the site, the gates, the groups, and
//! 64 bytes of ed25519 over `gatehouse token 1`, a zero byte and all before. Numbers are big endian; a text is its
//! length in a byte and its bytes; a list is its length in a byte and its texts.
//!
//! A **PIN** is ten digits: four that name the visitor's place, and six of RFC 4226 over HMAC-SHA256, whose key is
//! HMAC-SHA256 of `gatehouse visitor pin/` and the four digits under the site's secret, and whose counter is the number
//! of the hour since 1970. It holds in the hour that it names and in the three after it. Places 0000 to 4999 are the
//! core's to give out, 5000 to 9999 the box's.

use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use super::hex;
use super::snapshot::PublicKey;
use crate::words::HolderClass;

const PREFIX: &str = "GH1.";
const SIGNED_AS: &[u8] = b"gatehouse token 1\0";
const SIGNATURE: usize = 64;
/// The longest text of a signed code that is looked at.
pub(super) const MAX_TEXT: usize = 1024;
/// Seconds of a PIN's window.
pub const PIN_WINDOW_S: i64 = 3600;
/// Windows after its own in which a PIN still holds.
const PIN_WINDOWS_AFTER: i64 = 3;
/// The first place that the box gives out, and how many it has.
pub(super) const BOX_PLACES: (u16, u16) = (5000, 5000);
const CLASSES: [HolderClass; 4] =
    [HolderClass::Resident, HolderClass::Staff, HolderClass::Visitor, HolderClass::Emergency];

/// What a signed code says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The site.
    pub site: String,
    /// The class of its holder.
    pub class: HolderClass,
    /// From when it is valid, in seconds since 1970.
    pub from: u32,
    /// From when it is valid no longer.
    pub until: u32,
    /// Its number, never given twice.
    pub serial: u64,
    /// The gates that it opens.
    pub gates: Vec<String>,
    /// The groups of gates that it opens.
    pub groups: Vec<String>,
}

/// Why a text is no signed code of this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("not a signed code: it does not begin with GH1., or ends too soon")]
    NotAToken,
    /// It is not signed by a key that the box knows.
    #[error("not signed by a key that this box knows")]
    BadSignature,
}

impl Token {
    /// True for a text that claims to be a signed code.
    pub(super) fn looks_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The signed text. Names longer than 255 bytes and more than 255 gates or groups are cut.
    pub fn sign(&self, key: &Ed25519KeyPair) -> String {
        let mut bytes = vec![1, self.class as u8];
        bytes.extend(self.from.to_be_bytes());
        bytes.extend(self.until.to_be_bytes());
        bytes.extend(self.serial.to_be_bytes());
        push_text(&mut bytes, &self.site);
        for list in [&self.gates, &self.groups] {
            let len = u8::try_from(list.len()).unwrap_or(u8::MAX);
            bytes.push(len);
            list.iter().take(usize::from(len)).for_each(|text| push_text(&mut bytes, text));
        }
        let signature = key.sign(&[SIGNED_AS, &bytes].concat());
        bytes.extend(signature.as_ref());
        format!("{PREFIX}{}", hex::encode_base64(&bytes))
    }

    /// Reads a signed text.
    ///
    /// # Errors
    /// [`TokenError`]; a text that is signed and not understood is [`TokenError::NotAToken`].
    pub fn read(text: &str, keys: &[PublicKey]) -> Result<Token, TokenError> {
        let text = text.strip_prefix(PREFIX).filter(|text| text.len() <= MAX_TEXT).ok_or(TokenError::NotAToken)?;
        let bytes = hex::decode_base64(text).ok_or(TokenError::NotAToken)?;
        let at = bytes.len().checked_sub(SIGNATURE).ok_or(TokenError::NotAToken)?;
        let (signed, signature) = bytes.split_at(at);
        let message = [SIGNED_AS, signed].concat();
        if !keys.iter().any(|key| UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok()) {
            return Err(TokenError::BadSignature);
        }
        Token::decode(signed).ok_or(TokenError::NotAToken)
    }

    fn decode(bytes: &[u8]) -> Option<Token> {
        let (&[version, class], rest) = bytes.split_first_chunk::<2>()?;
        let (from, rest) = rest.split_first_chunk::<4>()?;
        let (until, rest) = rest.split_first_chunk::<4>()?;
        let (serial, mut rest) = rest.split_first_chunk::<8>()?;
        let token = Token {
            site: take_text(&mut rest)?,
            class: *CLASSES.get(usize::from(class))?,
            from: u32::from_be_bytes(*from),
            until: u32::from_be_bytes(*until),
            serial: u64::from_be_bytes(*serial),
            gates: take_list(&mut rest)?,
            groups: take_list(&mut rest)?,
        };
        (version == 1 && rest.is_empty()).then_some(token)
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(len);
    bytes.extend(text.bytes().take(usize::from(len)));
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (len, after) = rest.split_first()?;
    let (text, after) = after.split_at_checked(usize::from(*len))?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

fn take_list(rest: &mut &[u8]) -> Option<Vec<String>> {
    let (len, after) = rest.split_first()?;
    *rest = after;
    (0..*len).map(|_| take_text(rest)).collect()
}

/// The secret from which a site's PINs are made. Core and box share it.
#[derive(Debug, Clone)]
pub struct PinSecret {
    key: hmac::Key,
}

/// A PIN that proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) place: u16,
    pub(super) window: i64,
}

impl Pin {
    /// From when on it holds, in seconds since 1970.
    pub(super) fn from(self) -> i64 {
        self.window * PIN_WINDOW_S
    }

    /// From when on nobody can use it, in seconds since 1970.
    pub(super) fn until(self) -> i64 {
        (self.window + 1 + PIN_WINDOWS_AFTER) * PIN_WINDOW_S
    }
}

impl PinSecret {
    /// Takes 32 random bytes as the secret.
    pub fn new(secret: &[u8; 32]) -> PinSecret {
        PinSecret { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The ten digits of a place (0 to 9999) for the hour that holds `unix_s`.
    pub fn digits(&self, place: u16, unix_s: i64) -> String {
        self.at(place, unix_s.div_euclid(PIN_WINDOW_S))
    }

    fn at(&self, place: u16, window: i64) -> String {
        let place = format!("{place:04}");
        let own = hmac::sign(&self.key, format!("gatehouse visitor pin/{place}").as_bytes());
        let own = hmac::Key::new(hmac::HMAC_SHA256, own.as_ref());
        format!("{place}{:06}", truncated(hmac::sign(&own, &window.to_be_bytes()).as_ref()) % 1_000_000)
    }

    /// The PIN that `digits` are at `unix_s`.
    pub(super) fn check(&self, digits: &str, unix_s: i64) -> Option<Pin> {
        let place = digits.get(..4).filter(|_| looks_like_pin(digits))?.parse().ok()?;
        let newest = unix_s.div_euclid(PIN_WINDOW_S);
        let mut windows = (0..=PIN_WINDOWS_AFTER).map(|back| newest - back);
        windows.find(|window| self.at(place, *window) == digits).map(|window| Pin { place, window })
    }
}

/// True for ten digits.
pub(super) fn looks_like_pin(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The 31 bits that RFC 4226 section 5.3 takes from a MAC.
fn truncated(mac: &[u8]) -> u32 {
    let at = mac.last().map_or(0, |last| usize::from(last & 15));
    let word = mac.get(at..).and_then(<[u8]>::first_chunk::<4>).copied().unwrap_or_default();
    u32::from_be_bytes(word) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair;

    use super::*;

    fn token() -> Token {
        Token {
            site: "riverside".to_owned(),
            class: HolderClass::Visitor,
            from: 1_000,
            until: 2_000,
            serial: 0x0102_0304_0506_0708,
            gates: vec!["lobby".to_owned()],
            groups: vec!["garage".to_owned(), "yard".to_owned()],
        }
    }

    #[test]
    fn a_signed_code_says_what_was_signed_and_nothing_else() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let public: PublicKey = key.public_key().as_ref().try_into().unwrap();
        let text = token().sign(&key);
        assert_eq!(Token::read(&text, &[[0; 32], public]), Ok(token()));
        assert_eq!(Token::read(&text, &[[0; 32]]), Err(TokenError::BadSignature));
        assert!(text.len() < 200, "{} characters make a large picture", text.len());
        for at in 0..text.len() {
            assert!(Token::read(&text[..at], &[public]).is_err(), "cut at {at}");
            let mut altered = text.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(Token::read(&String::from_utf8(altered).unwrap(), &[public]).is_err(), "altered at {at}");
        }
    }

    /// If this fails, do not change the test: cores and phones show this.
    #[test]
    fn the_text_of_a_signed_code_is_frozen() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let text = token().sign(&key);
        let fields = "AQIAAAPoAAAH0AECAwQFBgcICXJpdmVyc2lkZQEFbG9iYnkCBmdhcmFnZQR5YXJk";
        assert_eq!(&text[..4 + fields.len()], format!("GH1.{fields}"));
    }

    /// RFC 6238 appendix B, SHA-256, to six digits.
    #[test]
    fn the_digits_are_those_of_the_standard() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"12345678901234567890123456789012");
        for (counter, digits) in
            [(1i64, 119_246), (0x023_523E_C, 84_774), (0x023_523E_D, 62_674), (0x273_EF07, 819_424)]
        {
            assert_eq!(truncated(hmac::sign(&key, &counter.to_be_bytes()).as_ref()) % 1_000_000, digits, "{counter}");
        }
    }

    #[test]
    fn a_pin_holds_for_its_hour_and_three_more() {
        let secret = PinSecret::new(&[4; 32]);
        let made = 1_800_000_000;
        let digits = secret.digits(5123, made);
        assert_eq!(digits.len(), 10);
        let hour = made.div_euclid(PIN_WINDOW_S);
        for (at, holds) in [(hour - 1, false), (hour, true), (hour + 3, true), (hour + 4, false)] {
            assert_eq!(secret.check(&digits, at * PIN_WINDOW_S).is_some(), holds, "hour {}", at - hour);
        }
        let pin = secret.check(&digits, made).unwrap();
        assert_eq!((pin.place, pin.until()), (5123, (hour + 4) * PIN_WINDOW_S));
        assert_eq!(PinSecret::new(&[5; 32]).check(&digits, made), None);
        for text in ["", "123", "51230000001", "５１２３000000", "512300000x"] {
            assert_eq!(secret.check(text, made), None, "{text}");
        }
    }
}
