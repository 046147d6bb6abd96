//! Credentials: what may open a gate, known to the box by a keyed hash only.

use std::fmt;

use gatehouse_core::CardNumber;
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::hex;
use super::plate::Plate;
use super::wiegand::{Bits, Card};
use crate::words::HolderClass;

/// The keyed hash of a card, plate, PIN or code: HMAC-SHA256 under the site's lookup key, cut to 16 bytes.
///
/// The number itself is never stored: whoever has the table but not the key learns neither numbers nor whether a number
/// is in it. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CredentialId(pub [u8; 16]);

/// A text that is no [`CredentialId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a credential is named by 32 lower-case hexadecimal digits")]
pub struct InvalidCredentialId;

impl CredentialId {
    /// The first 16 digits, for records and events: enough to find a credential again, not enough to name it.
    pub fn prefix(&self) -> String {
        hex::encode(self.0.get(..8).unwrap_or_default())
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CredentialId> for String {
    fn from(id: CredentialId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for CredentialId {
    type Error = InvalidCredentialId;

    fn try_from(text: String) -> Result<Self, InvalidCredentialId> {
        let bytes = hex::decode(&text).ok_or(InvalidCredentialId)?;
        bytes.try_into().map(CredentialId).map_err(|_| InvalidCredentialId)
    }
}

/// The key under which credentials are hashed. The box and the core share it; it belongs to one site.
///
/// The hash of a credential is over a text that tells its kind, so that no plate can stand for a code:
/// `card/raw/26/10111…`, `card/H10301-26/123/45678` (facility `-` where the format has none), `plate/京A12345`,
/// `pin/4711`, `card_pin/<the card's hash>/4711`, `code/K7Q2-99`, `token/<serial>`.
#[derive(Debug, Clone)]
pub struct LookupKey {
    key: hmac::Key,
    id: String,
}

impl LookupKey {
    /// Takes 32 random bytes as the key.
    pub fn new(secret: &[u8; 32]) -> LookupKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut id = hex::encode(hmac::sign(&key, b"gatehouse lookup key").as_ref());
        id.truncate(16);
        LookupKey { key, id }
    }

    /// Names the key without telling it: 16 hexadecimal digits, the beginning of the hash of `gatehouse lookup key`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The credential of a card that is listed by its raw bits.
    pub fn raw_card(&self, bits: Bits) -> CredentialId {
        self.hash(&format!("card/raw/{}/{bits}", bits.count()))
    }

    /// The credential of a card that is listed by what its format says.
    pub fn card(&self, format: &str, card: Card) -> CredentialId {
        match card.facility {
            Some(facility) => self.hash(&format!("card/{format}/{facility}/{}", card.number)),
            None => self.hash(&format!("card/{format}/-/{}", card.number)),
        }
    }

    /// The credential of a plate.
    pub fn plate(&self, plate: &Plate) -> CredentialId {
        self.hash(&format!("plate/{plate}"))
    }

    /// The credential of a PIN that opens by itself.
    pub fn pin(&self, digits: &str) -> CredentialId {
        self.hash(&format!("pin/{digits}"))
    }

    /// The credential of a PIN together with its card.
    pub fn card_pin(&self, card: CredentialId, digits: &str) -> CredentialId {
        self.hash(&format!("card_pin/{card}/{digits}"))
    }

    /// The credential of a code that the core made.
    pub fn code(&self, text: &str) -> CredentialId {
        self.hash(&format!("code/{text}"))
    }

    /// The credential of a signed visitor code, by its serial: listed only where one was revoked.
    pub fn token(&self, serial: u64) -> CredentialId {
        self.hash(&format!("token/{serial:016x}"))
    }

    /// The name under which a holder's movements are kept.
    pub(super) fn holder(&self, zone_and_holder: &str) -> CredentialId {
        self.hash(&format!("holder/{zone_and_holder}"))
    }

    fn hash(&self, text: &str) -> CredentialId {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        CredentialId(id)
    }
}

/// What kind of thing a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A card by itself.
    Card,
    /// A number plate.
    Plate,
    /// A PIN by itself.
    Pin,
    /// A PIN with its card; the card has a credential of its own with `needs_pin`.
    CardPin,
    /// A code that the core made.
    Code,
    /// A signed visitor code, listed because it is revoked.
    Token,
}

impl CredentialKind {
    /// All kinds, in the order of their codes in files.
    pub(super) const ALL: [CredentialKind; 6] = [
        CredentialKind::Card,
        CredentialKind::Plate,
        CredentialKind::Pin,
        CredentialKind::CardPin,
        CredentialKind::Code,
        CredentialKind::Token,
    ];

    /// The name in records and questions.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialKind::Card => "card",
            CredentialKind::Plate => "plate",
            CredentialKind::Pin => "pin",
            CredentialKind::CardPin => "card_pin",
            CredentialKind::Code => "code",
            CredentialKind::Token => "token",
        }
    }
}

/// What sets a credential apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// Anti-passback does not concern it.
    AntiPassbackExempt,
    /// It opens its gates whatever schedule, capacity, quota, anti-passback and offline policy say.
    Emergency,
    /// It opens once.
    Once,
    /// The card opens only together with its PIN.
    NeedsPin,
}

/// The flags of one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub(super) u8);

impl Flags {
    /// The flags in `list`.
    pub fn of(list: &[Flag]) -> Flags {
        Flags(list.iter().fold(0, |all, flag| all | 1 << *flag as u8))
    }

    /// True when `flag` is among them.
    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }
}

/// One credential, as a snapshot carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its keyed hash.
    pub id: CredentialId,
    /// What it is.
    pub kind: CredentialKind,
    /// The holder's pseudonym, 1 to 64 bytes. One holder may have many credentials.
    pub who: String,
    /// The holder's class.
    pub class: HolderClass,
    /// The holder's household, at most 64 bytes; `""`: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub household: String,
    /// The gates that it opens, by id; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// The groups of gates that it opens; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The second from which it is valid, since 1970; `None`: always was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// The second from which it is valid no longer; `None`: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
    /// The weekly schedule, by its name in the snapshot; `""`: at any time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schedule: String,
    /// What sets it apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// Of a card that a controller is to know by its own list: its number in the clear, 1 to 4294967294, as the
    /// controller reads it. Its hash under one of the two forms of such a number has to be `id`:
    /// [`LookupKey::cards_of_controller`].
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::number::text")]
    pub number: Option<CardNumber>,
}

/// One entry of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A credential as it is from now on.
    Put(Credential),
    /// A credential that opens nothing any more.
    Revoke(CredentialId),
    /// A credential to forget; in deltas only.
    Remove(CredentialId),
}

impl Change {
    /// The credential that it is about.
    pub fn id(&self) -> CredentialId {
        match self {
            Change::Put(credential) => credential.id,
            Change::Revoke(id) | Change::Remove(id) => *id,
        }
    }

    /// Wipes the number of a card, once it is where it belongs.
    pub(super) fn forget_number(&mut self) {
        match self {
            Change::Put(credential) => credential.number.zeroize(),
            Change::Revoke(_) | Change::Remove(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_never_meet_and_the_hash_of_a_card_is_frozen() {
        let key = LookupKey::new(&[7; 32]);
        let card = key.card("H10301-26", Card { facility: Some(123), number: 45_678 });
        assert_ne!(key.pin("4711"), key.code("4711"));
        assert_ne!(key.card_pin(card, "4711"), key.pin("4711"));
        assert_ne!(card, LookupKey::new(&[8; 32]).card("H10301-26", Card { facility: Some(123), number: 45_678 }));
        // python3: hmac.new(b'\7' * 32, b'card/H10301-26/123/45678', 'sha256').hexdigest()[:32]
        assert_eq!(card.to_string(), "cb08d54c7095a3beeb2c0b5dcec67bf3");
        // python3: hmac.new(b'\7' * 32, b'gatehouse lookup key', 'sha256').hexdigest()[:16]
        assert_eq!(key.id(), "490e8958d217ad5e");
    }

    #[test]
    fn a_credential_is_named_by_lower_case_hexadecimal_only() {
        let id = CredentialId([0xab; 16]);
        assert_eq!(CredentialId::try_from(id.to_string()), Ok(id));
        assert_eq!(id.prefix(), "abababababababab");
        for text in ["", "ab", &"AB".repeat(16), &"ab".repeat(17), &"é".repeat(16)] {
            assert_eq!(CredentialId::try_from((*text).to_owned()), Err(InvalidCredentialId), "{text}");
        }
    }
}
