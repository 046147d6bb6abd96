//! From what was presented to the credentials that it may stand for. Numbers end here; behind are keyed hashes.

use std::collections::BTreeMap;

use super::credential::{CredentialId, CredentialKind, LookupKey};
use super::plate::Plate;
use super::request::{Presented, Proof, reason};
use super::visitor::Token;
use super::wiegand::{Bits, Format, WiegandError};

/// The longest code that is looked at.
const CODE_BYTES: usize = 1024;

/// What was presented, without its number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    pub(super) kind: CredentialKind,
    /// What it may stand for, the likeliest first; at least one.
    pub(super) ids: Vec<Id>,
    /// The one that names it in records.
    pub(super) main: CredentialId,
    /// Facts for the passage record.
    pub(super) facts: BTreeMap<String, String>,
}

/// One credential that it may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) credential: CredentialId,
    /// The PIN that came with it.
    pub(super) pin: Option<CredentialId>,
}

impl Claim {
    /// True for what people type or show, and could guess.
    pub(super) fn is_code(&self) -> bool {
        match self.kind {
            CredentialKind::Pin | CredentialKind::Code | CredentialKind::Token | CredentialKind::CardPin => true,
            CredentialKind::Card | CredentialKind::Plate => false,
        }
    }

    /// The PIN that came with the card. A card and the same card with its PIN are not one claim.
    pub(super) fn pin(&self) -> Option<CredentialId> {
        self.ids.first().and_then(|id| id.pin)
    }

    /// The kind as the core is told it.
    pub(super) fn asked_as(&self) -> &'static str {
        match self.kind {
            CredentialKind::Card | CredentialKind::CardPin => "card",
            CredentialKind::Plate => "plate",
            CredentialKind::Pin | CredentialKind::Code | CredentialKind::Token => "code",
        }
    }
}

/// A claim, and what speaks against it from the beginning; the core is not asked then.
pub(super) type Read = (Claim, Option<&'static str>);

/// Turns numbers into claims.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) key: LookupKey,
    pub(super) formats: Vec<Format>,
}

impl Reader {
    /// What was presented.
    pub(super) fn read(&self, presented: &Presented, plate_confidence_min: u8) -> Read {
        match &presented.proof {
            Proof::Card { bits, format } => self.card(*bits, format.as_deref(), None),
            Proof::CardAndPin { bits, format, pin } => self.card(*bits, format.as_deref(), Some(pin)),
            Proof::Plate { text, confidence, colour } => {
                let plate = Plate::read(text);
                let sure = plate.is_some() && *confidence >= plate_confidence_min;
                let id = plate.as_ref().map_or_else(|| self.key.code(""), |plate| self.key.plate(plate));
                let mut claim = self.claim(CredentialKind::Plate, vec![id], None);
                if plate.is_none() {
                    claim.facts.remove("credential");
                }
                claim.facts.insert("confidence".to_owned(), confidence.to_string());
                if let Some(colour) = colour {
                    claim.facts.insert("colour".to_owned(), colour.as_str().to_owned());
                }
                (claim, (!sure).then_some(reason::LOW_CONFIDENCE))
            }
            Proof::Code(text) => self.code(text.trim()),
        }
    }

    fn code(&self, text: &str) -> Read {
        let sound = !text.is_empty() && text.len() <= CODE_BYTES;
        let kind = if Token::looks_like(text) { CredentialKind::Token } else { CredentialKind::Code };
        let text = if sound { text } else { "" };
        let claim = self.claim(kind, vec![self.key.code(text), self.key.pin(text)], None);
        (claim, (!sound).then_some(reason::BAD_CODE))
    }

    fn card(&self, bits: Bits, format: Option<&str>, pin: Option<&str>) -> Read {
        let raw = self.key.raw_card(bits);
        let meant = |own: &&Format| match format {
            Some(name) => own.name() == name,
            None => own.bits() == bits.count(),
        };
        // Two formats of one length cannot be told apart: then only the raw bits count.
        let tried = self.formats.iter().filter(meant).collect::<Vec<_>>();
        let tried = if format.is_none() && tried.len() > 1 { Vec::new() } else { tried };
        let (mut ids, mut wrong) = (Vec::new(), None);
        for own in tried {
            match own.decode(bits) {
                Ok(card) => ids.push(self.key.card(own.name(), card)),
                Err(WiegandError::BadParity { .. }) => wrong = Some(reason::BAD_PARITY),
                Err(WiegandError::BadLength { .. } | WiegandError::TooLarge) => wrong = Some(reason::BAD_LENGTH),
            }
        }
        let wrong = wrong.filter(|_| ids.is_empty());
        ids.push(raw);
        let kind = if pin.is_some() { CredentialKind::CardPin } else { CredentialKind::Card };
        (self.claim(kind, ids, pin), wrong)
    }

    fn claim(&self, kind: CredentialKind, ids: Vec<CredentialId>, pin: Option<&str>) -> Claim {
        let main = ids.first().copied().unwrap_or_else(|| self.key.code(""));
        let pin = |card| pin.map(|pin| self.key.card_pin(card, pin));
        let ids = ids.into_iter().map(|id| Id { credential: id, pin: pin(id) }).collect();
        let facts = [("kind".to_owned(), kind.as_str().to_owned()), ("credential".to_owned(), main.prefix())];
        Claim { kind, ids, main, facts: facts.into() }
    }
}
