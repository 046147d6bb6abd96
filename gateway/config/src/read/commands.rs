//! `[commands]`: whose commands from afar count, and which of them have to be signed.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gatehouse_core::Name;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Keys, did_you_mean};
use gatehouse_rules::command::{Settings, TargetClass};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Context, READ_HELP, reason};
use crate::code;
use crate::units::duration;

/// Each signed command may be tried against every key.
const MOST_KEYS: usize = 8;
/// No public key's file is longer.
const MOST_BYTES: u64 = 4096;
/// What stands before an ed25519 key in its DER forms (RFC 8410): public, and private.
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PRIVATE: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

const KEY_HELP: &str = "write its 32 bytes in base64 (44 characters), or { file = \"core.pem\" } with what \
                        `openssl pkey -pubout` prints";

const CLASSES: [(&str, TargetClass); 6] = [
    ("gate", TargetClass::Gate),
    ("device", TargetClass::Device),
    ("alarm", TargetClass::Alarm),
    ("ticket", TargetClass::Ticket),
    ("access", TargetClass::Access),
    ("site", TargetClass::Site),
];

/// The actions that need no profile: of gates, alarms, tickets, access, the site, and `write` to a point.
const ACTIONS: [&str; 23] = [
    "open",
    "close",
    "stop",
    "hold_open",
    "release_hold",
    "lock_lane",
    "unlock_lane",
    "reset_fire",
    "acknowledge",
    "shelve",
    "unshelve",
    "reset",
    "remove_from_service",
    "return_to_service",
    "begin_drill",
    "end_drill",
    "vouch_clock",
    "accept",
    "clear_anti_passback",
    "count",
    "trip",
    "reconnect",
    "write",
];

/// Reads `[commands]`, for the box of this id.
pub(super) fn read(
    context: &mut Context<'_>,
    table: Option<(&DeTable<'_>, Range<usize>)>,
    box_id: Option<&Name>,
) -> Option<Settings> {
    let (mut settings, (table, span)) = match (box_id, table) {
        (box_id, None) => return box_id.cloned().map(Settings::new),
        // The file is refused for the missing id; the rest of the table is looked at all the same.
        (box_id, Some(at)) => (Settings::new(box_id.cloned().or_else(|| Name::new("box").ok())?), at),
    };
    let mut keys = Keys::new(table, span);
    if let Some(at) = keys.table("keys") {
        settings.signing.keys = core_keys(context, at);
    }
    if let Some(found) = duration(&mut keys, "max_life", Duration::from_secs(10)..=Duration::from_secs(86_400)) {
        settings.longest_life = found.value;
    }
    if let Some(found) = duration(&mut keys, "skew", Duration::ZERO..=Duration::from_secs(600)) {
        settings.skew = found.value;
    }
    settings.signing.classes = classes(&mut keys);
    if keys.has("grave") {
        settings.signing.grave = actions(context, &mut keys, "grave");
    }
    if keys.has("local_only") {
        settings.local_only = actions(context, &mut keys, "local_only");
    }
    if let (true, Some(key)) = (!keys.has("keys"), ["signed", "grave"].into_iter().find(|key| keys.has(key))) {
        let message = "without `keys` nobody can sign: such commands of the core are refused as `no_key`";
        let help = "add keys = { core-1 = \"...\" }, the public key that the core signs with";
        context.sink.warn(code::UNUSED, keys.span_of(key), message, help);
    }
    context.end(keys);
    box_id.map(|_| settings)
}

/// The classes of targets whose every command has to be signed.
fn classes(keys: &mut Keys<'_, '_>) -> BTreeSet<TargetClass> {
    let mut classes = BTreeSet::new();
    for value in keys.list("signed") {
        let Some(text) = value.get_ref().as_str() else {
            keys.error(Rule::WrongType, value.span(), "`signed` lists kinds of targets, in quotes", "");
            continue;
        };
        match CLASSES.iter().find(|(name, _)| *name == text) {
            Some((_, class)) => {
                classes.insert(*class);
            }
            None => {
                let known = CLASSES.map(|(name, _)| name);
                let message = format!("commands have no targets of the kind {text:?}");
                keys.error(Rule::BadValue, value.span(), message, did_you_mean(text, &known));
            }
        }
    }
    classes
}

/// A list of actions. One that nothing knows is most likely misspelt, and would leave the one that is meant open.
fn actions(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, key: &'static str) -> BTreeSet<Name> {
    let profiles = context.library.names().into_iter().filter_map(|name| context.library.find(name)).cloned();
    let profiles: Vec<_> = profiles.collect();
    let of_profiles = profiles.iter().flat_map(|profile| profile.commands.iter().map(|command| &*command.name));
    let known: BTreeSet<&str> = ACTIONS.into_iter().chain(of_profiles).collect();
    let mut actions = BTreeSet::new();
    for value in keys.list(key) {
        let Some(action) = value.get_ref().as_str().and_then(|text| Name::new(text).ok()) else {
            keys.error(Rule::WrongType, value.span(), format!("`{key}` lists actions, for example [\"open\"]"), "");
            continue;
        };
        if !known.contains(&*action) {
            let message = format!("nothing on this site knows the action `{action}`");
            let all: Vec<&str> = known.iter().copied().collect();
            context.sink.warn(code::UNUSED, value.span(), message, did_you_mean(&action, &all));
        }
        actions.insert(action);
    }
    actions
}

/// The core's public keys, by names that are for people alone.
fn core_keys(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> Vec<[u8; 32]> {
    let mut keys: Vec<[u8; 32]> = Vec::new();
    for (id, value) in table {
        let name = id.get_ref().as_ref();
        if let Err(why) = Name::new(name) {
            context.sink.error(code::BAD_VALUE, id.span(), format!("{name:?} is not a name: {why}"), "");
        }
        let Some(key) = core_key(context, name, value) else { continue };
        if keys.contains(&key) {
            let message = format!("the key `{name}` is there already under another name");
            context.sink.error(code::DUPLICATE, value.span(), message, "take one of them out");
        } else {
            keys.push(key);
        }
    }
    if keys.len() > MOST_KEYS {
        let message = format!("{} keys are too many: at most {MOST_KEYS} may sign", keys.len());
        context.sink.error(code::BAD_VALUE, span, message, "take out those that the core has given up");
    }
    keys
}

/// An ed25519 public key: its base64, or the file that has it.
pub(super) fn core_key(context: &mut Context<'_>, name: &str, value: &Spanned<DeValue<'_>>) -> Option<[u8; 32]> {
    let (text, written) = match value.get_ref() {
        DeValue::String(text) => (text.to_string(), true),
        DeValue::Table(table) => {
            let mut keys = Keys::new(table, value.span());
            if !keys.has("file") {
                keys.missing("file", KEY_HELP);
            }
            let path = context.path(&mut keys, "file");
            context.end(keys);
            let path = path?;
            match read_file(&path.value) {
                Ok(text) => (text, false),
                Err(why) => {
                    let message = format!("the key `{name}`: {} cannot be read: {why}", path.value.display());
                    context.sink.warn(code::FILE_ABSENT, path.span, message, READ_HELP);
                    return None;
                }
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            let message = format!("the key `{name}` must be a text in quotes, or a file");
            context.sink.error(code::WRONG_TYPE, value.span(), message, KEY_HELP);
            return None;
        }
    };
    match decode(&text) {
        Ok(key) => Some(key),
        Err(Mistake::Private) => {
            if written {
                context.sink.hide(value.span());
            }
            let message = format!("the key `{name}` is a private one: it belongs to the core, and nowhere else");
            let help =
                "give the public one (`openssl pkey -pubout`), and the core a new pair: this one was readable here";
            context.sink.error(code::LITERAL_SECRET, value.span(), message, help);
            None
        }
        Err(Mistake::Other(what)) => {
            let message = format!("the key `{name}` is no public ed25519 key: {what}");
            context.sink.error(code::BAD_VALUE, value.span(), message, KEY_HELP);
            None
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    read.map_err(|why| reason(&why))?;
    String::from_utf8(bytes).map_err(|_| "it is not text".to_owned())
}

/// Why a text is no public key.
#[derive(Debug, PartialEq, Eq)]
enum Mistake {
    Private,
    Other(String),
}

/// Reads base64 in either alphabet, padded or not, or PEM: the 32 bytes themselves, or their DER form.
fn decode(text: &str) -> Result<[u8; 32], Mistake> {
    if text.contains("PRIVATE KEY") {
        return Err(Mistake::Private);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let digits: String = lines.collect::<String>().replace('-', "+").replace('_', "/");
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(digits);
    let bytes = bytes.map_err(|_| Mistake::Other("this is not base64".to_owned()))?;
    if bytes.starts_with(&PRIVATE) || bytes.len() == 64 {
        return Err(Mistake::Private);
    }
    let key = bytes.strip_prefix(&PUBLIC).unwrap_or(&bytes);
    match <[u8; 32]>::try_from(key) {
        Ok(key) if key.iter().all(|byte| *byte == 0) => Err(Mistake::Other("it is all zeros".to_owned())),
        Ok(key) => Ok(key),
        Err(_) => Err(Mistake::Other(format!("it has {} bytes instead of 32", key.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of RFC 8032 section 7.1, test 1.
    const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn a_key_is_read_in_each_spelling_that_people_have_it_in() {
        let key = decode(KEY).unwrap();
        assert_eq!((key[0], key[31]), (0xd7, 0x1a));
        assert_eq!(decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), Ok(key), "base64url without padding");
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                   -----END PUBLIC KEY-----\n";
        assert_eq!(decode(pem), Ok(key), "as openssl writes it");
    }

    #[test]
    fn what_is_no_public_key_says_why() {
        let why = |text: &str| decode(text).unwrap_err();
        assert_eq!(why("core.pem"), Mistake::Other("this is not base64".to_owned()));
        assert_eq!(why("AAECAw=="), Mistake::Other("it has 4 bytes instead of 32".to_owned()));
        assert_eq!(why(&"A".repeat(43)), Mistake::Other("it is all zeros".to_owned()));
        let private = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        assert_eq!(why(private), Mistake::Private);
        assert_eq!(
            why(&format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----")),
            Mistake::Private
        );
    }
}
