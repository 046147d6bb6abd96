//! Frames taken apart for people: which bytes are what.
//!
//! Each protocol has a `dissect` beside its codec; this is what they give.

use std::fmt;
use std::ops::Range;

use crate::cjt188::Traits;
use crate::dlt645::Edition;
use crate::modbus::Framing;

/// One field of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Which bytes.
    pub bytes: Range<usize>,
    /// The protocol's name for it.
    pub name: &'static str,
    /// What it says, in words.
    pub text: String,
}

impl Field {
    pub(crate) fn new(bytes: Range<usize>, name: &'static str, text: impl Into<String>) -> Field {
        Field { bytes, name, text: text.into() }
    }

    /// A sum over the frame, and whether it is right.
    pub(crate) fn check(bytes: Range<usize>, got: u8, expected: u8) -> Field {
        let text = match got == expected {
            true => format!("{got:02x}, right"),
            false => format!("{got:02x}, wrong: it should be {expected:02x}"),
        };
        Field::new(bytes, "checksum", text)
    }
}

impl fmt::Display for Field {
    /// Writes the name and what it says: `function 03 read holding registers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.text)
    }
}

/// How a frame is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Modbus, in this framing.
    Modbus(Framing),
    /// DL/T 645, in one of its editions.
    Dlt645(Edition),
    /// CJ/T 188, of a meter that differs from others in this.
    Cjt188(Traits),
    /// OSDP.
    Osdp,
    /// UHPPOTE.
    Uhppote,
}

impl Language {
    /// The name of Wireshark's dissector; `""` where it has none.
    pub fn dissector(self) -> &'static str {
        match self {
            Language::Modbus(Framing::Rtu) => "mbrtu",
            Language::Modbus(Framing::Tcp) => "mbtcp",
            Language::Modbus(Framing::Ascii)
            | Language::Dlt645(_)
            | Language::Cjt188(_)
            | Language::Osdp
            | Language::Uhppote => "",
        }
    }
}

/// The fields of a frame, in the order of its bytes. `is_request`: it was sent by the master. Where it is no sound frame,
/// the last field says so.
pub fn fields(language: Language, is_request: bool, bytes: &[u8]) -> Vec<Field> {
    match language {
        Language::Modbus(framing) => crate::modbus::dissect::fields(framing, is_request, bytes),
        Language::Dlt645(edition) => crate::dlt645::dissect::fields(edition, bytes),
        Language::Cjt188(traits) => crate::cjt188::dissect::fields(&traits, bytes),
        Language::Osdp => crate::osdp::dissect::fields(bytes),
        Language::Uhppote => crate::uhppote::dissect::fields(is_request, bytes),
    }
}

/// The fields of a frame of which some bytes are blotted out, as [`fields`] gives them; those that are in them say
/// `concealed` in place of what they hold.
pub fn concealed_fields(language: Language, is_request: bool, bytes: &[u8], concealed: &Range<usize>) -> Vec<Field> {
    let mut fields = match language {
        Language::Osdp => crate::osdp::dissect::fields(&crate::osdp::mended(bytes)),
        Language::Modbus(_) | Language::Dlt645(_) | Language::Cjt188(_) | Language::Uhppote => {
            fields(language, is_request, bytes)
        }
    };
    for field in
        fields.iter_mut().filter(|field| field.bytes.end > concealed.start && field.bytes.start < concealed.end)
    {
        // What stands before is left: how long a card is, and how it is written.
        field.text = match field.bytes.start < concealed.start {
            true => format!("{}, concealed", field.text),
            false => "concealed".to_owned(),
        };
    }
    fields
}

/// Whether there is a password, a key, a card or what was typed in the bytes, which nobody is to see: of a frame that
/// somebody else sent, since the line keeps its own out of its trace.
pub fn is_secret(language: Language, bytes: &[u8]) -> bool {
    match language {
        Language::Dlt645(_) => crate::dlt645::dissect::is_secret(bytes),
        Language::Osdp => crate::osdp::dissect::is_secret(bytes),
        Language::Modbus(_) | Language::Cjt188(_) | Language::Uhppote => false,
    }
}

/// Bytes in hexadecimal, with blanks.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let blank = if at == 0 { "" } else { " " };
        text.push_str(blank);
        // Writing to a text cannot fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
    }
    text
}

/// All fields in one line; each must lie within the bytes and behind the one before.
#[cfg(test)]
pub(crate) fn told_in_order(fields: &[Field], bytes: &[u8]) -> String {
    let mut at = 0;
    for field in fields {
        assert!(field.bytes.start >= at && field.bytes.end <= bytes.len(), "{field:?}");
        at = field.bytes.end;
    }
    fields.iter().map(Field::to_string).collect::<Vec<_>>().join("; ")
}
