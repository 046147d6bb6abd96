//! A command as it comes: its JSON, checked once.
//!
//! ```json
//! {"v":1,"id":"c-2f81","target":"gate:garage-entry","action":"open","args":{"override":"true"},
//!  "issuer":"desk-3","reason_code":"resident_request",
//!  "issued_at":"2026-11-23T10:00:00Z","expires_at":"2026-11-23T10:00:10Z","signature":"<base64url>"}
//! {"v":1,"id":"c-2f82","target":"device:board-1","point":"relay1","value":"on","issuer":"desk-3",
//!  "issued_at":"2026-11-23T10:00:00Z","expires_at":"2026-11-23T10:00:10Z"}
//! ```
//!
//! | field | what |
//! |---|---|
//! | `v` | 1 |
//! | `id` | names the command for ever: 1 to 64 characters of `A-Z a-z 0-9 . _ -` |
//! | `target` | see [`Target`] |
//! | `action` | a [`Name`]; `args` adds to it: up to 16 texts under [`Name`]s |
//! | `point`, `value` | in place of an action, for a device: the point to write and the value as text (`"12.5"`) |
//! | `issuer` | who asks: up to 128 bytes |
//! | `reason_code` | why, optional: a [`Name`] |
//! | `issued_at`, `expires_at` | RFC 3339; the second is later than the first |
//! | `signature` | optional: see [`super::Signing`] |
//!
//! Texts are plain: no line breaks, no other control characters. Other fields are refused. A message has at most
//! 8,192 bytes. Everything but the signature goes into the audit trail, so that `args` are no place for secrets.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gatehouse_core::{InvalidName, Name, Wall};
use serde::{Deserialize, Serialize};

use super::signature::{read_base64url, write_base64url};
use super::target::{InvalidTarget, Target};

/// The longest message, in bytes.
pub const MAX_BYTES: usize = 8192;
const MAX_ARGS: usize = 16;
const MAX_ISSUER: usize = 128;
const MAX_VALUE: usize = 256;
const MAX_ARG: usize = 1024;

/// Names one command for ever: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, chosen by its issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// Takes a text as an id, if it is one.
    pub fn new(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| CommandId(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for CommandId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An action that the target knows by name.
    Act {
        /// The action: `open`, `acknowledge`, ...
        action: Name,
        /// What it takes.
        args: BTreeMap<Name, Box<str>>,
    },
    /// A value for a point of a device.
    Write {
        /// The point.
        point: Name,
        /// The value, as text.
        value: Box<str>,
    },
}

impl What {
    /// The action's name; `write` for a write.
    pub fn action(&self) -> &str {
        match self {
            What::Act { action, .. } => action,
            What::Write { .. } => "write",
        }
    }
}

/// A command as somebody asked for it; made by [`Request::parse`] only, so that its parts are known to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Its name for ever.
    pub id: CommandId,
    /// What it is aimed at.
    pub target: Target,
    /// What is to be done.
    pub what: What,
    /// Who asks, in the asker's own words.
    pub issuer: Box<str>,
    /// Why.
    pub reason_code: Option<Name>,
    /// When it was asked for.
    pub issued_at: Wall,
    /// Not begun by then, it is not done at all. Later than `issued_at`.
    pub expires_at: Wall,
    /// An Ed25519 signature, not checked yet.
    pub signature: Option<[u8; 64]>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has so many bytes.
    #[error("the command has {0} bytes: at most 8192 fit")]
    TooLong(usize),
    /// It is not JSON, or not the JSON of a command.
    #[error("not a command: {0}")]
    Json(String),
    /// It is of another version.
    #[error("version {0} of commands is not known here: write \"v\":1")]
    Version(u64),
    /// Its id is none.
    #[error("an id has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'")]
    Id,
    /// Its target is none.
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    /// A field that holds a name holds none.
    #[error("{field}: {why}")]
    Name {
        /// The field.
        field: &'static str,
        /// The rule that is broken.
        why: InvalidName,
    },
    /// A text is empty, too long or not plain.
    #[error("{field} takes 1 to {longest} bytes of text without line breaks and other control characters")]
    Text {
        /// The field.
        field: &'static str,
        /// How many bytes fit.
        longest: usize,
    },
    /// It has neither an action nor a write, or both.
    #[error("write either an action, with its args, or a point and its value")]
    What,
    /// It writes to something else than a device.
    #[error("only devices have points to write: the target of a write is device:ID")]
    NotADevice,
    /// It has so many args.
    #[error("the command has {0} args: at most 16 fit")]
    Args(usize),
    /// A field that holds a time holds none.
    #[error("{0} takes a time such as 2026-11-23T10:00:00Z")]
    Time(&'static str),
    /// It expires before it was issued.
    #[error("expires_at has to be later than issued_at")]
    Order,
    /// Its signature has not the form of one.
    #[error("a signature has 86 characters of base64url, without padding")]
    Signature,
}

/// A message that is no command, with its id where that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Malformed {
    /// The id that it gives, if it gives one.
    pub id: Option<CommandId>,
    /// What is wrong.
    pub fault: Fault,
}

/// The JSON of a command, as it travels and as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wire {
    v: u64,
    id: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    point: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<String, String>,
    issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason_code: Option<String>,
    issued_at: String,
    expires_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

/// The one field that is looked for in a message that is no command.
#[derive(Deserialize)]
struct IdOnly {
    id: String,
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it, for the one who wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_BYTES {
            return Err(Malformed { id: None, fault: Fault::TooLong(bytes.len()) });
        }
        let read = serde_json::from_slice(bytes).map_err(|e| Fault::Json(e.to_string())).and_then(Request::from_wire);
        read.map_err(|fault| {
            let id = serde_json::from_slice(bytes).ok().and_then(|IdOnly { id }| CommandId::new(&id));
            Malformed { id, fault }
        })
    }

    /// True for a STOP of a gate: it waits for nothing, and twice does no harm.
    pub fn is_urgent(&self) -> bool {
        matches!(self.target, Target::Gate(_)) && self.what.action() == "stop"
    }

    pub(crate) fn from_wire(wire: Wire) -> Result<Self, Fault> {
        if wire.v != 1 {
            return Err(Fault::Version(wire.v));
        }
        let signature = wire.signature.as_deref().map(|text| read_base64url(text).ok_or(Fault::Signature));
        let request = Request {
            id: CommandId::new(&wire.id).ok_or(Fault::Id)?,
            target: Target::try_from(wire.target)?,
            what: what(wire.action, wire.point, wire.value, wire.args)?,
            issuer: plain("issuer", wire.issuer, MAX_ISSUER)?,
            reason_code: wire.reason_code.map(|text| name("reason_code", &text)).transpose()?,
            issued_at: time("issued_at", &wire.issued_at)?,
            expires_at: time("expires_at", &wire.expires_at)?,
            signature: signature.transpose()?,
        };
        if matches!(request.what, What::Write { .. }) && !matches!(request.target, Target::Device(_)) {
            return Err(Fault::NotADevice);
        }
        if request.expires_at <= request.issued_at {
            return Err(Fault::Order);
        }
        Ok(request)
    }

    pub(crate) fn to_wire(&self) -> Wire {
        let (action, args, point, value) = match &self.what {
            What::Act { action, args } => {
                let args = args.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
                (Some(action.to_string()), args, None, None)
            }
            What::Write { point, value } => (None, BTreeMap::new(), Some(point.to_string()), Some(value.to_string())),
        };
        let time = |wall: Wall| jiff::Timestamp::from_microsecond(wall.0).unwrap_or_default().to_string();
        Wire {
            v: 1,
            id: self.id.to_string(),
            target: self.target.to_string(),
            action,
            point,
            value,
            args,
            issuer: self.issuer.to_string(),
            reason_code: self.reason_code.as_ref().map(ToString::to_string),
            issued_at: time(self.issued_at),
            expires_at: time(self.expires_at),
            signature: self.signature.as_ref().map(write_base64url),
        }
    }
}

fn what(
    action: Option<String>,
    point: Option<String>,
    value: Option<String>,
    args: BTreeMap<String, String>,
) -> Result<What, Fault> {
    match (action.as_deref(), point, value) {
        (None | Some("write"), Some(point), Some(value)) if args.is_empty() => {
            Ok(What::Write { point: name("point", &point)?, value: plain("value", value, MAX_VALUE)? })
        }
        (Some("write"), ..) => Err(Fault::What),
        (Some(action), None, None) => {
            if args.len() > MAX_ARGS {
                return Err(Fault::Args(args.len()));
            }
            let arg = |(key, text): (String, String)| -> Result<_, Fault> {
                Ok((name("args", &key)?, plain("args", text, MAX_ARG)?))
            };
            Ok(What::Act {
                action: name("action", action)?,
                args: args.into_iter().map(arg).collect::<Result<_, _>>()?,
            })
        }
        _ => Err(Fault::What),
    }
}

fn name(field: &'static str, text: &str) -> Result<Name, Fault> {
    Name::new(text).map_err(|why| Fault::Name { field, why })
}

fn plain(field: &'static str, text: String, longest: usize) -> Result<Box<str>, Fault> {
    if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
        return Err(Fault::Text { field, longest });
    }
    Ok(text.into())
}

fn time(field: &'static str, text: &str) -> Result<Wall, Fault> {
    let time: jiff::Timestamp = text.parse().map_err(|_| Fault::Time(field))?;
    Ok(Wall(time.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn open() -> Value {
        json!({"v": 1, "id": "c-2f81", "target": "gate:garage-entry", "action": "open", "args": {"override": "true"},
               "issuer": "desk-3", "reason_code": "resident_request",
               "issued_at": "2026-11-23T10:00:00Z", "expires_at": "2026-11-23T10:00:10Z"})
    }

    fn with(key: &str, value: Value) -> Value {
        let mut message = open();
        message[key] = value;
        message
    }

    fn fault(message: &Value) -> Fault {
        let malformed = Request::parse(message.to_string().as_bytes()).unwrap_err();
        assert_eq!(malformed.to_string(), malformed.fault.to_string());
        malformed.fault
    }

    #[test]
    fn a_command_is_read_and_kept_without_loss() {
        let request = Request::parse(open().to_string().as_bytes()).unwrap();
        assert_eq!((request.target.to_string().as_str(), request.what.action()), ("gate:garage-entry", "open"));
        assert_eq!(request.expires_at.0 - request.issued_at.0, 10_000_000);
        assert_eq!(Request::from_wire(request.to_wire()), Ok(request));

        let write = json!({"v": 1, "id": "w", "target": "device:board-1", "point": "relay1", "value": "on", "issuer": "x",
                           "issued_at": "2026-11-23T10:00:00.000001+08:00", "expires_at": "2026-11-23T10:00:10Z",
                           "signature": "A".repeat(86)});
        let write = Request::parse(write.to_string().as_bytes()).unwrap();
        assert_eq!(write.what, What::Write { point: Name::new("relay1").unwrap(), value: "on".into() });
        assert_eq!(Request::from_wire(write.to_wire()), Ok(write));
    }

    #[test]
    fn each_mistake_is_named_for_the_one_who_made_it() {
        let name = |field, why| Fault::Name { field, why };
        let text = |field, longest| Fault::Text { field, longest };
        let cases = [
            (with("v", json!(2)), Fault::Version(2)),
            (with("id", json!("a/b")), Fault::Id),
            (with("id", json!("")), Fault::Id),
            (with("id", json!("a".repeat(65))), Fault::Id),
            (with("target", json!("garage")), Fault::Target(InvalidTarget)),
            (with("action", json!("Open")), name("action", InvalidName::Character('O', 0))),
            (with("action", Value::Null), Fault::What),
            (with("action", json!("write")), Fault::What),
            (with("point", json!("relay1")), Fault::What),
            (with("args", json!({"a b": "1"})), name("args", InvalidName::Character(' ', 1))),
            (with("args", json!({"a": "1\n2"})), text("args", 1024)),
            (with("args", (0..17).map(|i| (format!("a{i}"), json!("x"))).collect()), Fault::Args(17)),
            (with("issuer", json!("")), text("issuer", 128)),
            (with("issuer", json!("x".repeat(129))), text("issuer", 128)),
            (with("reason_code", json!("")), name("reason_code", InvalidName::Empty)),
            (with("issued_at", json!("yesterday")), Fault::Time("issued_at")),
            (with("expires_at", json!("2026-11-23T10:00:00Z")), Fault::Order),
            (with("signature", json!("AA==")), Fault::Signature),
        ];
        for (message, expected) in cases {
            assert_eq!(fault(&message), expected, "{message}");
        }
        let write = json!({"v": 1, "id": "w", "target": "gate:g", "point": "relay1", "value": "on", "issuer": "x",
                           "issued_at": "2026-11-23T10:00:00Z", "expires_at": "2026-11-23T10:00:10Z"});
        assert_eq!(fault(&write), Fault::NotADevice);
    }

    #[test]
    fn unknown_fields_and_other_types_are_refused_and_the_id_is_told_where_it_can_be_read() {
        let unknown = Request::parse(with("colour", json!("red")).to_string().as_bytes()).unwrap_err();
        assert_eq!(unknown.id, CommandId::new("c-2f81"));
        assert!(unknown.to_string().starts_with("not a command: unknown field `colour`, expected one of `v`, `id`"));
        assert!(fault(&with("args", json!({"n": 1}))).to_string().contains("expected a string"));
        let noise = Request::parse(b"open the gate").unwrap_err();
        assert_eq!(noise.id, None);
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(Request::parse(&long).unwrap_err().fault, Fault::TooLong(MAX_BYTES + 1));
        assert!(Request::parse(br#"{"v":1,"id":"a","id":"b"}"#).unwrap_err().to_string().contains("duplicate field"));
    }
}
