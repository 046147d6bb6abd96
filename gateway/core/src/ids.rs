//! Names that people write, and the small indexes that stand for them inside.

use std::fmt;
use std::sync::Arc;

/// A checked identifier: 1 to 64 characters of `a-z`, `0-9`, `_`, `-` and `.`, beginning with a letter or a digit.
///
/// It is safe as an MQTT topic level, a file name and a metric label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text cannot be a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("a name has at least one character")]
    Empty,
    /// The text has more than 64 characters.
    #[error("a name has at most 64 characters, this one has {0}")]
    TooLong(usize),
    /// A character that names do not have, and where it stands (counted from 0).
    #[error("{0:?} cannot stand in a name: use a-z, 0-9, '_', '-' and '.', beginning with a letter or a digit")]
    Character(char, usize),
}

impl Name {
    /// Checks `text` and takes it as a name.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule is broken.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        let bad = text.char_indices().find(|&(at, c)| {
            let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
            !(plain || at > 0 && matches!(c, '_' | '-' | '.'))
        });
        if let Some((at, c)) = bad {
            return Err(InvalidName::Character(c, at));
        }
        if text.len() > 64 {
            return Err(InvalidName::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The same name in memory of its own; a clone shares it.
    pub fn detached(&self) -> Name {
        Name(Arc::from(&*self.0))
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// Position of a device in the site's list of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIx(pub u32);

/// Position of a point in its device's list of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointIx(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_topics_files_and_labels() {
        assert_eq!(Name::new("meter-101.a_2").unwrap().as_str(), "meter-101.a_2");
        assert_eq!(Name::new(""), Err(InvalidName::Empty));
        assert_eq!(Name::new("-a"), Err(InvalidName::Character('-', 0)));
        assert_eq!(Name::new("a/b"), Err(InvalidName::Character('/', 1)));
        assert_eq!(Name::new("Meter"), Err(InvalidName::Character('M', 0)));
        assert_eq!(Name::new(&"a".repeat(65)), Err(InvalidName::TooLong(65)));
    }
}
