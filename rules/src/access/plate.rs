//! Number plates as cameras write them, brought to one form.

use std::fmt;

/// A plate in its one form: upper case, without separators, the Han prefix kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plate(String);

/// The colour of a plate, which tells its class in China: green new energy, yellow large, blue small cars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlateColour {
    /// Small cars.
    Blue,
    /// Large vehicles.
    Yellow,
    /// New energy.
    Green,
    /// Police, army.
    White,
    /// Embassies, foreign owners.
    Black,
}

impl PlateColour {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            PlateColour::Blue => "blue",
            PlateColour::Yellow => "yellow",
            PlateColour::Green => "green",
            PlateColour::White => "white",
            PlateColour::Black => "black",
        }
    }
}

/// The fewest and the most characters of a plate.
const LENGTHS: std::ops::RangeInclusive<usize> = 3..=12;

impl Plate {
    /// Brings `text` to the one form; `None` when it is not a plate that was read.
    ///
    /// Spaces, dots and dashes go, full-width letters become plain ones. `UNKNOWN` and `无牌车`, which cameras send for
    /// a plate that they could not read or find, and texts of fewer than 3 or more than 12 characters are none. Similar
    /// characters (O and 0, I and 1, B and 8) are left apart: likeness is for searching, never for opening.
    pub fn read(text: &str) -> Option<Plate> {
        let mut plate = String::new();
        for c in text.chars().map(narrow).filter(|c| c.is_alphanumeric()) {
            plate.extend(c.to_uppercase());
            if plate.len() > 4 * LENGTHS.end() {
                return None;
            }
        }
        let unread = matches!(plate.as_str(), "UNKNOWN" | "无牌车" | "无车牌");
        (!unread && LENGTHS.contains(&plate.chars().count())).then_some(Plate(plate))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Plate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The plain form of a full-width character (U+FF01 to U+FF5E).
fn narrow(c: char) -> char {
    match u32::from(c) {
        wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap_or(c),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plate_has_one_form_however_the_camera_writes_it() {
        for text in ["京A·12345", "京a12345", " 京A 123-45 ", "京Ａ１２３４５", "京A.12345", "京A•12345"] {
            assert_eq!(Plate::read(text).unwrap().as_str(), "京A12345", "{text}");
        }
        assert_ne!(Plate::read("京AO2345"), Plate::read("京A02345"), "likeness never opens");
    }

    #[test]
    fn a_plate_that_was_not_read_is_none() {
        for text in ["", "UNKNOWN", "unknown", "无牌车", "--", "12", "ABCDEFGHIJKLM", &"A".repeat(100_000)] {
            assert_eq!(Plate::read(text), None);
        }
    }
}
