//! Cards by the number that a door controller gives them.

use super::credential::CredentialId;
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

impl Access {
    /// The credential of a card by the number that a controller gives it, and its holder where the roll knows one.
    ///
    /// Controllers write a card of 26 bits as its facility code and the five digits of its number, so that facility 61 and
    /// number 54412 is 6154412. What is no such card, or is listed by its whole number, is hashed as a card of the format
    /// `uhppote` without a facility code.
    pub fn card_of_controller(&self, number: u32) -> (CredentialId, Option<(String, HolderClass)>) {
        let key = &self.reader.key;
        let whole = key.card(WHOLE, Card { facility: None, number: number.into() });
        let ids = split(number).map(|card| key.card(SPLIT, card)).into_iter().chain([whole]);
        let roll = self.holdings.roll();
        let entry = roll.and_then(|roll| ids.clone().find_map(|id| roll.find(id)));
        match entry {
            Some(entry) => {
                let who = Some(entry.who).filter(|who| !who.is_empty());
                (entry.id, who.map(|who| (who.to_owned(), entry.class)))
            }
            None => (ids.into_iter().next().unwrap_or(whole), None),
        }
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
