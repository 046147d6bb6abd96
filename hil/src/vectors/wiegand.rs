//! `wiegand/1`: bits to cards by the formats that readers commonly send, and back.

use gatehouse_rules::access::wiegand::{Bits, Card, Format, WiegandError};
use serde_json::{Value, json};

use super::{Bench, Outcome, bytes, same_fields, text};

pub(super) fn run(_: &Bench, vector: &Value) -> Outcome {
    let format = format(text(vector, "format")?)?;
    let bits = bits(vector)?;
    let right = text(vector, "expect")?;
    match format.decode(bits) {
        Ok(card) if right == "ok" => {
            same_fields(&vector["decoded"], &json!({ "facility": card.facility, "card": card.number }))?;
            same_bits(&format, card, bits)
        }
        Ok(card) => Err(format!("is the card {} where {right} is right", card.number)),
        Err(why) if class(why) == right => match &vector["decoded"] {
            Value::Null => Ok(()),
            decoded => Err(format!("names {decoded}, and expects {right}")),
        },
        Err(why) => Err(format!("was refused as {}: {why}; {right} is right", class(why))),
    }
}

/// The bits, which are the same in every notation that the vector has.
fn bits(vector: &Value) -> Result<Bits, String> {
    let written = text(vector, "bits")?;
    let bits = Bits::parse(written).map_err(|why| format!("bits: {why}"))?;
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
    Ok(bits)
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
