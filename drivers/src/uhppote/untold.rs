//! Numbers that do not print.

use std::fmt;

/// The number of a card or its PIN, as the wire has it; 0 for none. Whoever knows it can make such a card, and so it does
/// not print.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Untold(u32);

impl Untold {
    /// Takes the number.
    pub const fn new(number: u32) -> Self {
        Untold(number)
    }

    /// The number itself, for the wire alone.
    pub const fn reveal(self) -> u32 {
        self.0
    }

    /// True where there is none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Untold {
    /// Writes whether there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Untold(none)" } else { "Untold(_)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uhppote::request::Card;
    use crate::uhppote::{Datagram, Reply, Request, function};

    #[test]
    fn no_request_reply_or_error_prints_the_number_of_a_card_or_a_pin() {
        let (number, pin) = (Untold::new(6_154_412), Untold::new(654_321));
        let card = Card { number, from: None, until: None, doors: [1; 4], pin, first_card: 0 };
        let requests = [Request::Card(number), Request::DeleteCard(number), Request::PutCard(card)];
        let event = Datagram::new(function::EVENT, 7).put(8, &[1, 0, 0, 0, 1]).put(16, &6_154_412_u32.to_le_bytes());
        let status = Datagram::new(function::STATUS, 7).put(8, &[1, 0, 0, 0, 1]).put(16, &6_154_412_u32.to_le_bytes());
        let replies = [Reply::Card(card), Reply::read(&event).unwrap(), Reply::read(&status).unwrap()];
        let asked = Request::Card(Untold::new(6_154_413));
        let answer = Datagram::new(function::CARD, 7).put(8, &6_154_412_u32.to_le_bytes());
        let why = Reply::judge(&asked, 7, &answer).unwrap_err();
        let printed = format!("{requests:?} {replies:?} {asked:?} {why:?} {why}");
        for digits in ["6154412", "6154413", "654321"] {
            assert!(!printed.contains(digits), "{printed}");
        }
        assert!(printed.contains("Untold(_)"));
    }
}
