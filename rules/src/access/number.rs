//! Cards by the number that a door controller gives them.

use gatehouse_core::CardNumber;

use super::credential::{CredentialId, LookupKey};
use super::machine::Access;
use super::wiegand::Card;
use crate::words::HolderClass;

/// The format of a card whose number is written as facility code and five digits.
const SPLIT: &str = "H10301-26";
/// The format under which any other number is hashed, without a facility code.
const WHOLE: &str = "uhppote";

/// The facility code and the number that a controller writes as one decimal number; `None` where it is no card of 26 bits.
fn split(number: u32) -> Option<Card> {
    let (facility, number) = (number / 100_000, number % 100_000);
    (facility <= 255 && number <= 65_535).then_some(Card { facility: Some(facility), number: number.into() })
}

impl LookupKey {
    /// The credentials that a card may be listed as of which a controller tells this number, the likelier first.
    ///
    /// Controllers write a card of 26 bits as its facility code and the five digits of its number, so that facility 61 and
    /// number 54412 is 6154412. What is no such card, or is listed by its whole number, is hashed as a card of the format
    /// `uhppote` without a facility code.
    pub fn cards_of_controller(&self, number: CardNumber) -> impl Iterator<Item = CredentialId> {
        let number = number.reveal();
        let whole = move || self.card(WHOLE, Card { facility: None, number: number.into() });
        split(number).map(|card| self.card(SPLIT, card)).into_iter().chain(std::iter::once_with(whole))
    }
}

impl Access {
    /// The credential of a card by the number that a controller gives it, and its holder where the roll knows one; of a
    /// card that nobody knows the likelier of its credentials.
    pub fn card_of_controller(&self, number: CardNumber) -> (Option<CredentialId>, Option<(String, HolderClass)>) {
        let key = &self.reader.key;
        let roll = self.holdings.roll();
        let entry = roll.and_then(|roll| key.cards_of_controller(number).find_map(|id| roll.find(id)));
        match entry {
            Some(entry) => {
                let who = Some(entry.who).filter(|who| !who.is_empty());
                (Some(entry.id), who.map(|who| (who.to_owned(), entry.class)))
            }
            None => (key.cards_of_controller(number).next(), None),
        }
    }
}

/// The number of a card in a snapshot: a number of JSON.
pub(super) mod text {
    use gatehouse_core::CardNumber;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub(in crate::access) fn serialize<S: Serializer>(
        number: &Option<CardNumber>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(CardNumber::reveal).serialize(serializer)
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<CardNumber>, D::Error> {
        // What stands there is not told: it may be most of a number.
        let wrong = || D::Error::custom("`number` is a whole number of 1 to 4294967294");
        let number = u32::deserialize(deserializer).map_err(|_| wrong())?;
        CardNumber::new(number).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_controller_is_a_facility_code_and_five_digits() {
        assert_eq!(split(6_154_412), Some(Card { facility: Some(61), number: 54_412 }));
        assert_eq!(split(25_565_535), Some(Card { facility: Some(255), number: 65_535 }));
        assert_eq!(split(8_165_536), None, "no five digits of 16 bits");
        assert_eq!(split(25_600_001), None);
    }
}
