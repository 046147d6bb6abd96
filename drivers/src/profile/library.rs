//! All known profiles: those in the binary, and those that were added from a folder.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::keys::nearest;
use super::parse::ProfileError;
use super::{Profile, embedded};

/// A profile that is part of the binary; read when it is first asked for.
#[derive(Debug)]
pub struct Embedded {
    /// The name that site files use.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
    parsed: OnceLock<Arc<Profile>>,
}

impl Embedded {
    pub(super) const fn new(name: &'static str, text: &'static str) -> Self {
        Embedded { name, text, parsed: OnceLock::new() }
    }

    /// The profile.
    ///
    /// # Panics
    /// Never in a binary that passed its tests, which read every embedded profile.
    pub fn profile(&self) -> &Arc<Profile> {
        self.parsed.get_or_init(|| match Profile::parse(self.name, self.text) {
            Ok(profile) => Arc::new(profile),
            #[expect(clippy::panic, reason = "a test reads every embedded profile")]
            Err(errors) => panic!("the embedded profile {} is broken: {errors:?}", self.name),
        })
    }
}

/// Whether an added profile took the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The name was free.
    New,
    /// A profile of that name was there; the added one counts from now on.
    Replaced,
}

/// Profiles by name. Those of the binary are always there; an added one of the same name goes before.
#[derive(Debug, Clone, Default)]
pub struct Library {
    added: BTreeMap<String, Arc<Profile>>,
}

impl Library {
    /// The profiles of the binary, and no others.
    pub fn new() -> Self {
        Library::default()
    }

    /// Adds a profile.
    pub fn add(&mut self, profile: Profile) -> Added {
        let name = profile.name.to_string();
        let known = embedded().iter().any(|embedded| embedded.name == name);
        let before = self.added.insert(name, Arc::new(profile));
        if known || before.is_some() { Added::Replaced } else { Added::New }
    }

    /// Reads a profile's text and adds it.
    ///
    /// # Errors
    /// Every mistake of the text; nothing is added then.
    pub fn add_text(&mut self, file_name: &str, text: &str) -> Result<Added, Vec<ProfileError>> {
        Ok(self.add(Profile::parse(file_name, text)?))
    }

    /// The profile of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<Profile>> {
        let embedded = || embedded().iter().find(|embedded| embedded.name == name).map(Embedded::profile);
        self.added.get(name).or_else(embedded)
    }

    /// Every name, in alphabetical order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = embedded().iter().map(|embedded| embedded.name).collect();
        names.extend(self.added.keys().map(String::as_str));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// True when the profile came from outside the binary.
    pub fn is_added(&self, name: &str) -> bool {
        self.added.contains_key(name)
    }

    /// The name that was probably meant.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.names())
    }
}
