//! `protocol-vectors/1` of `modbus-rtu relay boards`: frames to commands of a profile, and back.

use gatehouse_drivers::modbus::{Framing, decode_request};
use gatehouse_drivers::profile::{Argument, Call, Command, Payload, Profile};
use serde_json::{Map, Value};

use super::modbus::upper_hex;
use super::same::expected_class;
use super::{Bench, Outcome, bytes, same_fields};

pub(super) fn run(bench: &Bench, vector: &Value) -> Outcome {
    if vector["direction"] != "req" {
        return Err("`direction` is not req: only requests are commands".to_owned());
    }
    let received = bytes(vector, "hex")?;
    let frame = match (decode_request(Framing::Rtu, &received), expected_class(vector)?) {
        (Ok(frame), None) => frame,
        (Err(why), Some(class)) if class == why.class() => return Ok(()),
        (Err(why), _) => return Err(format!("was refused as {}: {why}", why.class())),
        (Ok(_), Some(class)) => return Err(format!("is a sound frame where {class:?} is right")),
    };
    let expected = &vector["decoded"];
    let device = expected["device"].as_str().ok_or("`decoded` has no device")?;
    let profile = bench.relay_board(device)?;
    let mut pdu = Vec::new();
    frame.request.encode(&mut pdu);
    let (command, call) = profile.call_of(&pdu).ok_or("is no command of the board's profile")?;
    let mut decoded = call_json(device, command, call);
    decoded.insert("unit".to_owned(), frame.unit.into());
    let decoded = Value::Object(decoded);
    same_fields(expected, &decoded)?;
    if let Some(extra) = decoded.as_object().into_iter().flatten().find(|(name, _)| {
        let name = name.as_str();
        name != "unit" && expected.get(name).is_none()
    }) {
        return Err(format!("{} is {} where the vector has none", extra.0, extra.1));
    }
    same_request(profile, expected, &pdu)
}

impl Bench {
    /// Commands are in the built-in profiles alone; register maps tell them in prose.
    fn relay_board(&self, name: &str) -> Result<&Profile, String> {
        let profile = self.profiles.find(name).ok_or_else(|| format!("there is no profile of {name}"))?;
        if profile.commands.is_empty() {
            return Err(format!("the profile of {name} has no commands"));
        }
        Ok(profile)
    }
}

fn call_json(device: &str, command: &Command, call: Call) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("device".to_owned(), device.into());
    json.insert("command".to_owned(), command.name.as_str().into());
    if let Some(channel) = call.channel {
        json.insert("channel".to_owned(), channel.into());
    }
    let (name, value): (_, Value) = match call.argument {
        // No command of a relay board has a time of day.
        Argument::None | Argument::At(_) => return json,
        Argument::Units(units) => match unit_ms(command) {
            1000 => ("seconds", units.into()),
            unit_ms => ("ms", (u64::from(units) * u64::from(unit_ms)).into()),
        },
        Argument::Value(value) => ("value", value.into()),
        Argument::On(on) => ("on", on.into()),
        Argument::Count(count) => ("count", count.into()),
    };
    json.insert(name.to_owned(), value);
    json
}

fn unit_ms(command: &Command) -> u32 {
    match command.payload {
        Payload::Timed { unit_ms, .. } => unit_ms,
        _ => 1,
    }
}

/// The command that the vector names must encode to the frame's PDU.
fn same_request(profile: &Profile, expected: &Value, pdu: &[u8]) -> Outcome {
    let name = expected["command"].as_str().ok_or("`decoded` has no command")?;
    let command = profile.command(name).ok_or_else(|| format!("the profile has no command {name}"))?;
    let number = |field: &str| expected[field].as_u64();
    let word = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
    let ms = number("ms").or(number("seconds").map(|seconds| seconds * 1000));
    let argument = match (ms, number("value"), number("count"), expected["on"].as_bool()) {
        (Some(ms), ..) => Argument::Units(word(ms / u64::from(unit_ms(command)))),
        (_, Some(value), ..) => Argument::Value(value),
        (_, _, Some(count), _) => Argument::Count(word(count)),
        (_, _, _, Some(on)) => Argument::On(on),
        _ => Argument::None,
    };
    let mut encoded = Vec::new();
    let call = Call { channel: number("channel").map(word), argument };
    command.encode(call, &mut encoded).map_err(|why| format!("cannot be encoded: {why}"))?;
    if encoded == pdu { Ok(()) } else { Err(format!("is encoded as {}", upper_hex(&encoded))) }
}
