//! `wiegand/1`: bits to cards by the formats that readers commonly send, and back.

use gatehouse_rules::access::wiegand::{Bits, Card, Format, InvalidBits, WiegandError};
use serde_json::{Value, json};

use super::same::expected_class;
use super::{Bench, Outcome, bytes, same_fields, text};

pub(super) fn run(_: &Bench, vector: &Value) -> Outcome {
    let format = format(text(vector, "format")?)?;
    let right = expected_class(vector)?;
    let bits = match (bits(vector)?, right) {
        (Ok(bits), _) => bits,
        (Err(InvalidBits::Length(_)), Some("bad_length")) => return Ok(()),
        (Err(why), _) => return Err(format!("bits: {why}")),
    };
    match (format.decode(bits), right) {
        (Ok(card), None) => {
            same_fields(&vector["decoded"], &json!({ "facility": card.facility, "card": card.number }))?;
            same_bits(&format, card, bits)
        }
        (Ok(card), Some(right)) => Err(format!("is the card {} where {right} is right", card.number)),
        (Err(why), Some(right)) if class(why) == right => match &vector["decoded"] {
            Value::Null => Ok(()),
            decoded => Err(format!("names {decoded}, and expects {right}")),
        },
        (Err(why), right) => Err(format!("was refused as {}: {why}; {} is right", class(why), right.unwrap_or("ok"))),
    }
}

/// The bits, which are the same in every notation that the vector has.
fn bits(vector: &Value) -> Result<Result<Bits, InvalidBits>, String> {
    let written = text(vector, "bits")?;
    let bits = match Bits::parse(written) {
        Ok(bits) => bits,
        Err(why) => return Ok(Err(why)),
    };
    let count = u64::from(bits.count());
    let nbits = &vector["nbits"];
    if !nbits.is_null() && *nbits != count {
        return Err(format!("nbits is {nbits}, and bits has {count}"));
    }
    if !vector["left_aligned_hex"].is_null() {
        let left = Bits::from_left_aligned(&bytes(vector, "left_aligned_hex")?, written.len());
        let left = left.map_err(|why| format!("left_aligned_hex: {why}"))?;
        if left != bits {
            return Err(format!("left_aligned_hex is read as {left} where {bits} is right"));
        }
    }
    if !vector["right_aligned_hex"].is_null() {
        let right = u128::from_str_radix(text(vector, "right_aligned_hex")?, 16);
        let right = right.map_err(|why| format!("right_aligned_hex: {why}"))?;
        if right != bits.value() {
            return Err(format!("right_aligned_hex is {right:X}, and bits is {:X}", bits.value()));
        }
    }
    Ok(Ok(bits))
}

fn same_bits(format: &Format, card: Card, bits: Bits) -> Outcome {
    match format.encode(card) {
        Ok(encoded) if encoded == bits => Ok(()),
        Ok(encoded) => Err(format!("is encoded as {encoded}")),
        Err(why) => Err(format!("cannot be encoded: {why}")),
    }
}

fn format(name: &str) -> Result<Format, String> {
    let formats = Format::built_in();
    let names: Vec<_> = formats.iter().map(Format::name).collect();
    let unknown = format!("there is no format {name:?}; there are {}", names.join(", "));
    formats.into_iter().find(|format| format.name() == name).ok_or(unknown)
}

fn class(why: WiegandError) -> &'static str {
    match why {
        WiegandError::BadLength { .. } => "bad_length",
        WiegandError::BadParity { .. } => "bad_parity",
        WiegandError::TooLarge => "too_large",
    }
}
