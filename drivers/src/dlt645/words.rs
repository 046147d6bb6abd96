//! Words of flags: the meter's status words and the words of refusals.

/// Names of the bits of a status word (1 to 7), DL/T 645-2007 annex C with the later additions of grid companies.
pub fn status_bits(word: u8) -> &'static [(&'static str, u8)] {
    match word {
        1 => &[
            ("demand_block", 1),
            ("clock_battery_low", 2),
            ("reading_battery_low", 3),
            ("active_reverse", 4),
            ("reactive_reverse", 5),
        ],
        2 => &[
            ("active_reverse_a", 0),
            ("active_reverse_b", 1),
            ("active_reverse_c", 2),
            ("reactive_reverse_a", 4),
            ("reactive_reverse_b", 5),
            ("reactive_reverse_c", 6),
        ],
        3 => &[
            ("second_slot_table", 0),
            ("supply_auxiliary", 1),
            ("supply_battery", 2),
            ("programming_allowed", 3),
            ("relay_open", RELAY_OPEN),
            ("second_zone_table", 5),
            ("relay_command_open", RELAY_COMMAND_OPEN),
            ("pretrip_alarm", 7),
            ("prepaid_energy", 8),
            ("prepaid_money", 9),
        ],
        4..=6 => &[
            ("loss_of_voltage", 0),
            ("under_voltage", 1),
            ("over_voltage", 2),
            ("loss_of_current", 3),
            ("over_current", 4),
            ("overload", 5),
            ("reverse", 6),
            ("phase_loss", 7),
            ("current_break", 8),
        ],
        7 => &[
            ("voltage_sequence", 0),
            ("current_sequence", 1),
            ("voltage_unbalance", 2),
            ("current_unbalance", 3),
            ("auxiliary_power_lost", 4),
            ("power_down", 5),
            ("demand_exceeded", 6),
            ("power_factor_low", 7),
            ("severe_current_unbalance", 8),
        ],
        _ => &[],
    }
}

/// Bit of status word 3: the relay is open, supply is cut.
pub const RELAY_OPEN: u8 = 4;
/// Bit of status word 3: the relay was told to open.
pub const RELAY_COMMAND_OPEN: u8 = 6;

/// What the relay of a meter does, by status word 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relay {
    /// Supply is on.
    Closed,
    /// Supply is cut.
    Open,
    /// It was told to open and waits, for example until the current falls.
    Opening,
    /// It may be closed by the resident, who has not done so yet.
    Permitted,
}

impl Relay {
    /// The state that status word 3 tells.
    pub fn of(word: u16) -> Relay {
        match (word >> RELAY_OPEN & 1 == 1, word >> RELAY_COMMAND_OPEN & 1 == 1) {
            (false, false) => Relay::Closed,
            (true, true) => Relay::Open,
            (false, true) => Relay::Opening,
            (true, false) => Relay::Permitted,
        }
    }

    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Relay::Closed => "closed",
            Relay::Open => "open",
            Relay::Opening => "opening",
            Relay::Permitted => "permitted",
        }
    }
}

/// Names of the bits of the error byte, edition of 2007.
pub const ERROR_2007: [(&str, u8); 7] = [
    ("other", 0),
    ("no_data", 1),
    ("password", 2),
    ("rate_fixed", 3),
    ("year_zone_count", 4),
    ("day_slot_count", 5),
    ("tariff_count", 6),
];

/// The bit of the error byte that says "no such data" (2007) or "bad identifier" (1997).
pub const ERROR_NO_DATA: u8 = 1 << 1;

/// True where a refusal of a read says that the meter has no such data. From 80H on codes are of control commands.
pub const fn says_no_data(code: u8) -> bool {
    code < 0x80 && code & ERROR_NO_DATA != 0
}

/// Names of the bits of the error byte, edition of 1997.
pub const ERROR_1997: [(&str, u8); 6] = [
    ("illegal_data", 0),
    ("bad_di", 1),
    ("password", 2),
    ("year_zone_count", 4),
    ("day_slot_count", 5),
    ("tariff_count", 6),
];

/// Names of the bits of the word that later meters send when they refuse a control command.
pub const CONTROL_ERROR: [(&str, u8); 9] = [
    ("suspended", 0),
    ("mac_error", 1),
    ("password", 2),
    ("not_authenticated", 3),
    ("command_time_invalid", 4),
    ("supply_guaranteed", 5),
    ("pretrip_refused", 6),
    ("pretrip_duration_zero", 7),
    ("already_tripped", 8),
];

/// Names of the set bits of a word, lowest first.
pub fn set_bits<'a>(names: &'a [(&'static str, u8)], word: u16) -> impl Iterator<Item = &'static str> + 'a {
    names.iter().filter(move |(_, bit)| word >> bit & 1 == 1).map(|(name, _)| *name)
}

/// Codes from here on stand for the lowest set bit of the two-byte word of a refused control command; below are error
/// bytes as sent.
pub const CONTROL_CODE: u8 = 0x80;

/// The code of a refusal: 0 where the meter gives no reason, the error byte, or [`CONTROL_CODE`] plus the lowest set bit
/// of the two-byte word (least significant byte first; the order is unverified). `None` for other lengths.
pub fn refusal_code(data: &[u8]) -> Option<u8> {
    match *data {
        [] => Some(0),
        [error] => Some(error & !CONTROL_CODE),
        [low, high] => {
            let word = u16::from_le_bytes([low, high]);
            Some(if word == 0 { 0 } else { CONTROL_CODE | u8::try_from(word.trailing_zeros()).unwrap_or(0) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_no_one_and_two_bytes_have_codes_that_do_not_mix() {
        assert_eq!(refusal_code(&[]), Some(0));
        assert_eq!(refusal_code(&[0x04]), Some(4));
        assert_eq!(refusal_code(&[0x10, 0x00]), Some(0x84), "the command's time is over");
        assert_eq!(refusal_code(&[0x00, 0x01]), Some(0x88));
        assert_eq!(refusal_code(&[0, 0]), Some(0));
        assert_eq!(refusal_code(&[0, 0, 0]), None);
    }

    #[test]
    fn two_bits_tell_what_the_relay_does() {
        assert_eq!(Relay::of(0x0054), Relay::Open);
        assert_eq!(Relay::of(0xFFE8), Relay::Opening);
        assert_eq!(Relay::of(0x0010), Relay::Permitted);
        assert_eq!(Relay::of(0), Relay::Closed);
    }
}
