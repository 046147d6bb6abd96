//! Visitor codes made on the box, by a guard's action. Key: `access/place` (the last place given for a PIN).

use gatehouse_core::{Lane, Name, Stamp, Trust};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use super::machine::{Access, TOKEN_LIFE_S};
use super::snapshot::PublicKey;
use super::visitor::{BOX_PLACES, PinSecret, Token};
use crate::effect::Effects;
use crate::words::HolderClass;

const PLACE: &str = "access/place";
/// The most gates and groups of one code, so that its picture stays readable.
const TARGETS: usize = 8;

/// What kind of code a guard wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeOrder {
    /// A signed text for a QR picture.
    Signed {
        /// The holder's class.
        class: HolderClass,
        /// The gates that it opens.
        gates: Vec<String>,
        /// The groups of gates that it opens.
        groups: Vec<String>,
        /// From when it is valid, in seconds since 1970.
        from: u32,
        /// From when it is valid no longer; at most 31 days later.
        until: u32,
    },
    /// Ten digits for a keypad, from now on for three to four hours, at gates that take visitors' PINs.
    Pin,
}

/// A code that was made. The text is for the visitor only: neither log nor record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCode {
    /// The text of the picture, or the digits.
    pub text: String,
    /// The holder's pseudonym in records.
    pub who: String,
    /// From when on it is worth nothing, in seconds since 1970.
    pub until: i64,
}

/// Why no code is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The clock is unset.
    #[error("the clock is unset: a code's validity could not be told")]
    NoClock,
    /// The box has no key for signed codes, or no secret for PINs.
    #[error("this box has no {0}: see the site file")]
    NoKey(&'static str),
    /// Its time is empty, over, or too long.
    #[error("valid from {from} until {until}: it must end after now, after it begins, and at most 31 days later")]
    Time {
        /// The beginning.
        from: u32,
        /// The end.
        until: u32,
    },
    /// It opens nothing, or too much.
    #[error("{0} gates and groups: a code opens 1 to 8")]
    Targets(usize),
    /// A gate that this box does not have, or a group whose name is none.
    #[error("{0:?} is no gate of this box, or no name of a group")]
    Unknown(String),
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    given: u64,
}

/// What the box makes codes with.
#[derive(Debug)]
pub(super) struct Issuer {
    site: String,
    key: Option<Ed25519KeyPair>,
    pins: Option<PinSecret>,
    place: Place,
}

impl Issuer {
    pub(super) fn new(site: &str, seed: Option<[u8; 32]>, pins: Option<PinSecret>) -> Issuer {
        let key = seed.map(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed"));
        Issuer { site: site.to_owned(), key, pins, place: Place::default() }
    }

    /// Takes back a value; `Ok(false)` where the key is another's.
    pub(super) fn restore(&mut self, key: &str, value: &[u8]) -> Result<bool, serde_json::Error> {
        if key == PLACE {
            self.place = serde_json::from_slice(value)?;
        }
        Ok(key == PLACE)
    }

    pub(super) fn pins(&self) -> Option<&PinSecret> {
        self.pins.as_ref()
    }

    /// The box's own public key.
    pub(super) fn public(&self) -> Option<PublicKey> {
        self.key.as_ref()?.public_key().as_ref().try_into().ok()
    }

    fn pin(&mut self, now_s: i64, effects: &mut Effects) -> Result<IssuedCode, IssueError> {
        let pins = self.pins.as_ref().ok_or(IssueError::NoKey("secret for PINs"))?;
        let (first, places) = BOX_PLACES;
        let place = first + u16::try_from(self.place.given % u64::from(places)).unwrap_or(0);
        self.place.given += 1;
        effects.keep(PLACE, &self.place);
        let text = pins.digits(place, now_s);
        let until = pins.check(&text, now_s).map_or(now_s, |pin| pin.until());
        Ok(IssuedCode { text, who: format!("visitor-pin-{place:04}"), until })
    }

    fn signed(&self, token: &Token) -> Result<IssuedCode, IssueError> {
        let key = self.key.as_ref().ok_or(IssueError::NoKey("key for signed codes"))?;
        let who = format!("visitor-{:016x}", token.serial);
        Ok(IssuedCode { text: token.sign(key), who, until: i64::from(token.until) })
    }
}

impl Access {
    /// A guard makes a code. `serial` is 64 random bits.
    ///
    /// # Errors
    /// [`IssueError`] says why there is none.
    pub fn handle_issue(
        &mut self,
        now: Stamp,
        order: &CodeOrder,
        serial: u64,
        by: &str,
    ) -> Result<IssuedCode, IssueError> {
        #[derive(Serialize)]
        struct Issued<'a> {
            form: &'static str,
            who: &'a str,
            gates: &'a [String],
            groups: &'a [String],
            until: i64,
            by: &'a str,
        }
        self.begin(&now);
        if now.trust == Trust::Unset {
            return Err(IssueError::NoClock);
        }
        let now_s = now.wall.0.div_euclid(1_000_000);
        let (code, form, gates, groups) = match order {
            CodeOrder::Pin => (self.issuer.pin(now_s, &mut self.effects)?, "pin", [].as_slice(), [].as_slice()),
            CodeOrder::Signed { class, gates, groups, from, until } => {
                self.check_targets(gates, groups)?;
                if from >= until || i64::from(*until) <= now_s || until - from > TOKEN_LIFE_S {
                    return Err(IssueError::Time { from: *from, until: *until });
                }
                let token = Token {
                    site: self.issuer.site.clone(),
                    class: *class,
                    from: *from,
                    until: *until,
                    serial,
                    gates: gates.clone(),
                    groups: groups.clone(),
                };
                (self.issuer.signed(&token)?, "signed", gates.as_slice(), groups.as_slice())
            }
        };
        let issued = Issued { form, who: &code.who, gates, groups, until: code.until, by };
        self.effects.event(Lane::Audit, now, "code_issued", &issued);
        Ok(code)
    }

    fn check_targets(&self, gates: &[String], groups: &[String]) -> Result<(), IssueError> {
        let targets = gates.len() + groups.len();
        if !(1..=TARGETS).contains(&targets) {
            return Err(IssueError::Targets(targets));
        }
        let gate = gates.iter().find(|gate| !self.gates.contains_key(*gate));
        let group = groups.iter().find(|group| Name::new(group).is_err());
        gate.or(group).map_or(Ok(()), |name| Err(IssueError::Unknown(name.clone())))
    }
}
