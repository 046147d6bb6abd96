//! Credentials come in numbered parts: puts these together again. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::schema::CredentialsMessage;

/// The most bytes that a whole may have: 100,000 credentials need less than half of it.
pub const WHOLE_MAX: usize = 32 * 1024 * 1024;
/// The most parts of a whole.
pub const PARTS_MAX: u32 = 4096;

/// Why a part was not taken. What was gathered before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// It is not the JSON that `docs/uplink.md` describes.
    #[error("no part of credentials: {0}")]
    Format(String),
    /// It is of another version of the format.
    #[error("a part in version {0}; this software reads version 1")]
    Version(u32),
    /// Its number is not within 1 to `of`, or `of` is above [`PARTS_MAX`].
    #[error("part {part} of {of}; parts are numbered from 1, and there are at most {PARTS_MAX}")]
    Number {
        /// The part's number.
        part: u32,
        /// How many there are said to be.
        of: u32,
    },
    /// Earlier parts of the same id spoke of another number of parts.
    #[error("the parts of {id:?} are {had} in one message and {got} in another")]
    Count {
        /// The id.
        id: String,
        /// How many there are, as was said before.
        had: u32,
        /// How many there are, as this part says.
        got: u32,
    },
    /// The whole would have more than [`WHOLE_MAX`] bytes; what was gathered of it is given up.
    #[error("{id:?} has more than {WHOLE_MAX} bytes")]
    Size {
        /// The id.
        id: String,
    },
}

/// A whole, of which all parts have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its id, as its parts had it.
    pub id: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Gathers the parts of one whole at a time, in any order. A part that came already is ignored; a part of another id
/// begins anew. Holds at most [`WHOLE_MAX`] bytes.
///
/// What is gathered is not kept across restarts: the core sends all parts again until the box tells what it has.
#[derive(Debug, Default)]
pub struct Assembler {
    id: String,
    parts: Vec<Option<Box<[u8]>>>,
    missing: usize,
    bytes: usize,
}

impl Assembler {
    /// Takes the payload of one message; gives the whole when it was the last part that lacked.
    ///
    /// # Errors
    /// [`PartError`] says why the part cannot be used.
    pub fn handle_part(&mut self, payload: &[u8]) -> Result<Option<Whole>, PartError> {
        let message: CredentialsMessage =
            serde_json::from_slice(payload).map_err(|error| PartError::Format(error.to_string()))?;
        let CredentialsMessage { v, id, part, of, data } = message;
        if v != 1 {
            return Err(PartError::Version(v));
        }
        if part == 0 || part > of || of > PARTS_MAX {
            return Err(PartError::Number { part, of });
        }
        let bytes = STANDARD.decode(data).map_err(|error| PartError::Format(format!("data: {error}")))?;
        if id != self.id || self.parts.is_empty() {
            self.begin(id, of);
        }
        let had = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        if had != of {
            return Err(PartError::Count { id: self.id.clone(), had, got: of });
        }
        let slot = usize::try_from(part - 1).ok().and_then(|ix| self.parts.get_mut(ix));
        let Some(slot) = slot.filter(|slot| slot.is_none()) else { return Ok(None) };
        if self.bytes + bytes.len() > WHOLE_MAX {
            let Assembler { id, .. } = std::mem::take(self);
            return Err(PartError::Size { id });
        }
        self.bytes += bytes.len();
        self.missing -= 1;
        *slot = Some(bytes.into());
        Ok((self.missing == 0).then(|| self.whole()))
    }

    fn begin(&mut self, id: String, of: u32) {
        let count = usize::try_from(of).unwrap_or(0);
        *self = Assembler { id, parts: vec![None; count], missing: count, bytes: 0 };
    }

    /// Joins the parts, each of which is freed once it is copied.
    fn whole(&mut self) -> Whole {
        let Assembler { id, parts, bytes: size, .. } = std::mem::take(self);
        let mut bytes = Vec::with_capacity(size);
        for part in parts.into_iter().flatten() {
            bytes.extend_from_slice(&part);
        }
        Whole { id, bytes }
    }

    /// How many parts have come of how many, and of what; `None` when nothing is being gathered.
    pub fn progress(&self) -> Option<(&str, usize, usize)> {
        let count = self.parts.len();
        (count > 0).then(|| (self.id.as_str(), count - self.missing, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(id: &str, part: u32, of: u32, data: &[u8]) -> Vec<u8> {
        let data = STANDARD.encode(data);
        serde_json::to_vec(&CredentialsMessage { v: 1, id: id.to_owned(), part, of, data }).unwrap()
    }

    fn whole(id: &str, bytes: &[u8]) -> Result<Option<Whole>, PartError> {
        Ok(Some(Whole { id: id.to_owned(), bytes: bytes.to_vec() }))
    }

    proptest! {
        #[test]
        fn parts_in_any_order_and_some_of_them_twice_give_the_whole_once(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..20), seed: u64,
        ) {
            let of = u32::try_from(pieces.len()).unwrap();
            let mut random = fastrand::Rng::with_seed(seed);
            let mut order: Vec<u32> = (1..=of).collect();
            random.shuffle(&mut order);
            let last = *order.last().unwrap();
            let mut assembler = Assembler::default();
            for number in order {
                let bytes = part("snap-12", number, of, &pieces[number as usize - 1]);
                let got = assembler.handle_part(&bytes);
                if number == last {
                    prop_assert_eq!(got, whole("snap-12", &pieces.concat()));
                } else {
                    prop_assert_eq!(got, Ok(None));
                    prop_assert_eq!(assembler.handle_part(&bytes), Ok(None), "a part that came twice");
                }
            }
            prop_assert_eq!(assembler.progress(), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, of: u32, number: u32) {
            let mut assembler = Assembler::default();
            let _ = assembler.handle_part(&bytes);
            let _ = assembler.handle_part(&part("a", number, of, &bytes));
        }
    }

    #[test]
    fn another_id_begins_anew() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.handle_part(&part("snap-12", 1, 2, b"old")), Ok(None));
        assert_eq!(assembler.handle_part(&part("snap-13", 2, 2, b"new")), Ok(None));
        assert_eq!(assembler.progress(), Some(("snap-13", 1, 2)));
        assert_eq!(assembler.handle_part(&part("snap-13", 1, 2, b"the ")), whole("snap-13", b"the new"));
        assert_eq!(assembler.handle_part(&part("delta-14", 1, 1, b"x")), whole("delta-14", b"x"));
    }

    #[test]
    fn a_part_that_cannot_be_used_harms_nothing() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.handle_part(&part("a", 1, 2, b"one")), Ok(None));
        let cases = [
            (part("a", 2, 3, b""), "the parts of \"a\" are 2 in one message and 3 in another"),
            (part("b", 0, 2, b""), "part 0 of 2; parts are numbered from 1, and there are at most 4096"),
            (part("b", 3, 2, b""), "part 3 of 2; parts are numbered from 1, and there are at most 4096"),
            (part("b", 1, 4097, b""), "part 1 of 4097; parts are numbered from 1, and there are at most 4096"),
            (
                br#"{"v":2,"id":"b","part":1,"of":1,"data":""}"#.to_vec(),
                "a part in version 2; this software reads version 1",
            ),
            (b"{}".to_vec(), "no part of credentials: missing field `v` at line 1 column 2"),
        ];
        for (bytes, words) in cases {
            assert_eq!(assembler.handle_part(&bytes).unwrap_err().to_string(), words);
        }
        let torn = br#"{"v":1,"id":"b","part":1,"of":1,"data":"a"}"#;
        assert!(matches!(assembler.handle_part(torn), Err(PartError::Format(_))));
        assert_eq!(assembler.handle_part(&part("a", 2, 2, b" two")), whole("a", b"one two"));
    }

    #[test]
    fn more_than_fits_is_given_up() {
        let mut assembler = Assembler::default();
        let half = vec![7; WHOLE_MAX / 2];
        assert_eq!(assembler.handle_part(&part("a", 1, 3, &half)), Ok(None));
        assert_eq!(assembler.handle_part(&part("a", 2, 3, &half)), Ok(None));
        assert_eq!(assembler.handle_part(&part("a", 3, 3, b"x")), Err(PartError::Size { id: "a".to_owned() }));
        assert_eq!(assembler.progress(), None);
    }
}
