//! `protocol-vectors/1` of `osdp-2.2`: single frames; `osdp-session/1`: whole conversations, replayed as the control panel.

use std::fmt::Write as _;

use gatehouse_drivers::osdp::channel::{Channel, answers};
use gatehouse_drivers::osdp::command::{Blink, BuzzerControl, LedControl, OutputControl, TextControl};
use gatehouse_drivers::osdp::frame::{Found, Frame, START, find};
use gatehouse_drivers::osdp::reply::{code, nak_meaning};
use gatehouse_drivers::osdp::secure::Handshake;
use gatehouse_drivers::osdp::{Command, Key, KeyKind, Reply, WireError};
use serde_json::{Map, Value, json};

use super::delivery::waits_for_the_last;
use super::same::{Refused, expected_class, verdict};
use super::{Bench, Outcome, bytes, list, same_fields, text};

/// Runs one single frame.
pub(super) fn run_frame(_: &Bench, vector: &Value) -> Outcome {
    let received = bytes(vector, "hex")?;
    let from_reader = match vector["direction"].as_str() {
        Some("req") => false,
        Some("rsp") => true,
        _ => return Err("`direction` is neither req nor rsp".to_owned()),
    };
    let asked = match &vector["request_hex"] {
        Value::Null => None,
        _ => {
            let asked = bytes(vector, "request_hex")?;
            let request = frame_in(&asked).map_err(|why| format!("request_hex was refused: {why}"))?;
            Some((request.address, request.sequence))
        }
    };
    if received.is_empty() {
        return verdict(vector, &Err(Refused::nothing()), label);
    }
    waits_for_the_last(vector, &received, |bytes| {
        frame_sent(bytes, from_reader).is_ok_and(|frame| frame.from_reader == from_reader)
    })?;
    let decoded = frame_sent(&received, from_reader).and_then(|frame| {
        if let Some((address, sequence)) = asked {
            answers(&frame, address, sequence)?;
        }
        if frame.from_reader == from_reader { document(&frame, frame.data) } else { Err(WireError::WrongDirection) }
    });
    let refused = |why: WireError| match why {
        // A mark alone begins nothing.
        WireError::Truncated { .. } if !received.contains(&START) => Refused::from(why.class()).or("no_frame"),
        _ => Refused::from(why.class()),
    };
    verdict(vector, &decoded.map_err(refused), label)
}

/// What a refusal means is told by its code.
fn label(field: &str, expected: &str, _: &str) -> bool {
    field == "meaning" && (0..=u8::MAX).all(|code| nak_meaning(code) != expected)
}

/// The first sound frame of a direction; one of the other direction where there is no other. A panel may hear its own
/// command before the reply.
fn frame_sent(bytes: &[u8], from_reader: bool) -> Result<Frame<'_>, WireError> {
    let first = frame_in(bytes)?;
    if first.from_reader == from_reader {
        return Ok(first);
    }
    let after = (1..bytes.len()).filter_map(|at| frame_in(&bytes[at..]).ok());
    Ok(after.into_iter().find(|frame| frame.from_reader == from_reader).unwrap_or(first))
}

/// The first sound frame, or why the last start of one is none.
fn frame_in(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
    let (mut rest, mut refused) = (bytes, None);
    while !rest.is_empty() {
        match find(rest) {
            Found::Frame { frame, .. } => return Ok(frame),
            Found::Incomplete { missing } => return Err(refused.unwrap_or(WireError::Truncated { missing })),
            Found::Skip { bytes, why } => {
                if why != WireError::NoFrame {
                    refused = refused.or(Some(why));
                }
                rest = &rest[bytes..];
            }
        }
    }
    Err(refused.unwrap_or(WireError::NoFrame))
}

/// Replays one conversation: each command must come out of the panel's own state byte for byte, each reply must be taken.
pub(super) fn run_session(_: &Bench, session: &Value) -> Outcome {
    let frames = list(session, "frames")?;
    let first = frames.first().ok_or("the session has no frames")?;
    let sent = bytes(first, "hex")?;
    let frame = frame_in(&sent).map_err(|why| format!("the first frame was refused: {why}"))?;
    let mut panel = Panel {
        channel: Channel::new(frame.address, frame.crc, sent.first() == Some(&0xFF)),
        address: frame.address,
        key: key_of(&session["scbk"])?,
        kind: KeyKind::Own,
        challenge: [0; 8],
        handshake: None,
        new_key: None,
    };
    for (at, vector) in frames.iter().enumerate() {
        let outcome = match vector["direction"].as_str() {
            Some("req") => panel.ask(vector),
            Some("rsp") => panel.hear(vector),
            _ => Err("`direction` is neither req nor rsp".to_owned()),
        };
        let id = vector["id"].as_str().map_or_else(|| format!("frame {at}"), str::to_owned);
        outcome.map_err(|why| format!("{id}: {why}"))?;
    }
    Ok(())
}

struct Panel {
    channel: Channel,
    address: u8,
    key: Option<Key>,
    kind: KeyKind,
    challenge: [u8; 8],
    handshake: Option<Handshake>,
    new_key: Option<Key>,
}

impl Panel {
    fn ask(&mut self, vector: &Value) -> Outcome {
        let expected = bytes(vector, "hex")?;
        let repeats = self.channel.waits_for().is_some() && self.channel.frame() == expected;
        if repeats {
            return Ok(());
        }
        let decoded = &vector["decoded"];
        let command = self.command(decoded)?;
        match &command {
            Command::Challenge(random) => {
                self.challenge = *random;
                self.kind = if decoded["key_select"] == "SCBK-D" { KeyKind::Default } else { KeyKind::Own };
            }
            Command::SetKey(key) => self.new_key = Some(Key::new(*key)),
            _ => {}
        }
        if decoded["seq"] == 0 {
            self.channel.restart();
        }
        self.channel.ask(&command, self.kind);
        let got = self.channel.frame();
        if got == expected {
            Ok(())
        } else {
            Err(format!("encoded as {} where {} is right", upper(got), upper(&expected)))
        }
    }

    fn hear(&mut self, vector: &Value) -> Outcome {
        let received = bytes(vector, "hex")?;
        let frame = frame_in(&received).map_err(|why| format!("was refused as {}", why.class()))?;
        let mut data = Vec::new();
        let answer = match (self.channel.judge(&frame, &mut data), expected_class(vector)?) {
            (Ok(answer), None) => answer,
            (Err(why), Some(class)) if class == why.class() => return Ok(()),
            (Err(why), _) => return Err(format!("was refused as {}", why.class())),
            (Ok(_), Some(class)) => return Err(format!("was taken where {class:?} is right")),
        };
        let mut got = document(&frame, &data).map_err(|why| format!("was refused as {}", why.class()))?;
        if answer.code != code::BUSY {
            // A reader that is busy is sent the same bytes again.
            self.channel.take(answer);
        }
        let reply = Reply::decode(answer.code, &data).map_err(|why| why.to_string())?;
        match reply {
            Reply::ClientCryptogram { random, cryptogram, .. } => {
                let key = if self.kind == KeyKind::Default { Some(&Key::DEFAULT) } else { self.key.as_ref() };
                let handshake = Handshake::new(key.ok_or("the session has no key")?, self.challenge, random);
                if handshake.reader_cryptogram() == cryptogram {
                    self.handshake = Some(handshake);
                } else {
                    got["security"] = "sc_12_bad_cryptogram".into();
                }
            }
            Reply::InitialMac(mac) => {
                let handshake = self.handshake.take().ok_or("no cryptogram came before")?;
                if mac != handshake.initial_mac() {
                    return Err("the first MAC is another".to_owned());
                }
                self.channel.set_secure(handshake.into_channel());
            }
            Reply::Ack => self.key = self.new_key.take().or(self.key.take()),
            _ => {}
        }
        same_fields(&vector["decoded"], &got)
    }

    /// The command that a vector's `decoded` describes.
    fn command(&self, decoded: &Value) -> Result<Command, String> {
        let byte = |value: &Value| value.as_u64().and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
        let half = |value: &Value| value.as_u64().and_then(|value| u16::try_from(value).ok()).unwrap_or(0);
        let field = |name: &str| byte(&decoded[name]);
        let blink = |value: &Value| Blink {
            control: byte(&value["control"]),
            on: byte(&value["on"]),
            off: byte(&value["off"]),
            on_colour: byte(&value["on_color"]),
            off_colour: byte(&value["off_color"]),
        };
        let output = |value: &Value| OutputControl {
            number: byte(&value["no"]),
            control: byte(&value["control"]),
            timer: half(&value["timer_100ms"]),
        };
        let led = |value: &Value| LedControl {
            reader: byte(&value["reader"]),
            led: byte(&value["led"]),
            temporary: blink(&value["temp"]),
            timer: half(&value["temp"]["timer_100ms"]),
            permanent: blink(&value["perm"]),
        };
        Ok(match text(decoded, "name")? {
            "POLL" => Command::Poll,
            "ID" => Command::Id,
            "CAP" => Command::Capabilities,
            "LSTAT" => Command::LocalStatus,
            "ISTAT" => Command::InputStatus,
            "OSTAT" => Command::OutputStatus,
            "RSTAT" => Command::ReaderStatus,
            "OUT" => Command::Outputs(list(decoded, "outputs")?.iter().map(output).collect()),
            "LED" => Command::Leds(list(decoded, "leds")?.iter().map(led).collect()),
            "BUZ" => Command::Buzzer(BuzzerControl {
                reader: field("reader"),
                tone: field("tone"),
                on: field("on"),
                off: field("off"),
                count: field("count"),
            }),
            "TEXT" => Command::Text(TextControl {
                reader: field("reader"),
                command: field("command"),
                seconds: field("temp_time"),
                row: field("row"),
                column: field("col"),
                text: text(decoded, "text")?.to_owned(),
            }),
            "COMSET" => Command::Communication {
                address: decoded["address_new"].as_u64().map_or(self.address, |_| field("address_new")),
                baud: decoded["baud"].as_u64().and_then(|baud| u32::try_from(baud).ok()).unwrap_or(0),
            },
            "KEYSET" => Command::SetKey(exact(decoded, "key")?),
            "CHLNG" => Command::Challenge(exact(decoded, "cp_random")?),
            "SCRYPT" => Command::Cryptogram(self.handshake.as_ref().ok_or("there is no handshake")?.panel_cryptogram()),
            other => return Err(format!("nothing sends {other}")),
        })
    }
}

fn key_of(scbk: &Value) -> Result<Option<Key>, String> {
    if scbk.is_null() {
        return Ok(None);
    }
    exact(&json!({ "scbk": scbk }), "scbk").map(|key| Some(Key::new(key)))
}

fn exact<const N: usize>(vector: &Value, field: &str) -> Result<[u8; N], String> {
    bytes(vector, field)?.try_into().map_err(|_| format!("{field} is not {N} bytes long"))
}

/// What a frame says, `data` being its opened data.
fn document(frame: &Frame<'_>, data: &[u8]) -> Result<Value, WireError> {
    let mut fields = Map::new();
    let security = frame.block.map_or_else(|| "clear".to_owned(), |block| format!("sc_{:02x}", block.kind));
    for (name, value) in [
        ("address", json!(frame.address)),
        ("reply", json!(frame.from_reader)),
        ("seq", json!(frame.sequence)),
        ("crc", json!(frame.crc)),
        ("security", json!(security)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    if let Some([select]) = frame.block.map(|block| block.data) {
        fields.insert("key_select".to_owned(), json!(if *select == 0 { "SCBK-D" } else { "SCBK" }));
    }
    let said = if frame.from_reader {
        reply(Reply::decode(frame.code, data)?)
    } else {
        let bad = WireError::BadPayload { code: frame.code, got: data.len() };
        command(&Command::decode(frame.code, data).ok_or(bad)?)
    };
    fields.extend(said.as_object().cloned().unwrap_or_default());
    Ok(Value::Object(fields))
}

fn command(command: &Command) -> Value {
    match command {
        Command::Poll => json!({ "name": "POLL" }),
        Command::Id => json!({ "name": "ID", "param": 0 }),
        Command::Capabilities => json!({ "name": "CAP", "param": 0 }),
        Command::LocalStatus => json!({ "name": "LSTAT" }),
        Command::InputStatus => json!({ "name": "ISTAT" }),
        Command::OutputStatus => json!({ "name": "OSTAT" }),
        Command::ReaderStatus => json!({ "name": "RSTAT" }),
        Command::Outputs(outputs) => {
            let output = |output: &OutputControl| json!({ "no": output.number, "control": output.control, "timer_100ms": output.timer });
            json!({ "name": "OUT", "outputs": outputs.iter().map(output).collect::<Vec<_>>() })
        }
        Command::Leds(leds) => json!({ "name": "LED", "leds": leds.iter().map(led).collect::<Vec<_>>() }),
        Command::Buzzer(b) => json!({
            "name": "BUZ", "reader": b.reader, "tone": b.tone, "on": b.on, "off": b.off, "count": b.count,
        }),
        Command::Text(t) => json!({
            "name": "TEXT", "reader": t.reader, "command": t.command, "temp_time": t.seconds, "row": t.row,
            "col": t.column, "text": t.text,
        }),
        Command::Communication { address, baud } => json!({ "name": "COMSET", "address_new": address, "baud": baud }),
        Command::SetKey(key) => json!({ "name": "KEYSET", "key_type": 1, "length": 16, "key": lower(key) }),
        Command::Challenge(random) => json!({ "name": "CHLNG", "cp_random": lower(random) }),
        Command::Cryptogram(cryptogram) => json!({ "name": "SCRYPT", "cp_cryptogram": lower(cryptogram) }),
        Command::Other { code, data } => json!({ "name": format!("{code:02X}"), "data": lower(data) }),
    }
}

fn led(led: &LedControl) -> Value {
    let blink = |blink: &Blink| {
        json!({
            "control": blink.control, "on": blink.on, "off": blink.off, "on_color": blink.on_colour,
            "off_color": blink.off_colour,
        })
    };
    let mut temporary = blink(&led.temporary);
    temporary["timer_100ms"] = led.timer.into();
    json!({ "reader": led.reader, "led": led.led, "temp": temporary, "perm": blink(&led.permanent) })
}

fn reply(reply: Reply<'_>) -> Value {
    match reply {
        Reply::Ack => json!({ "name": "ACK" }),
        Reply::Nak(code) => json!({ "name": "NAK", "nak": code, "meaning": nak_meaning(code) }),
        Reply::Id(id) => {
            let [major, minor, build] = id.firmware;
            json!({
                "name": "PDID", "vendor": lower(&id.vendor), "model": id.model, "version": id.version,
                "serial": id.serial, "firmware": format!("{major}.{minor}.{build}"),
            })
        }
        Reply::Capabilities(rows) => json!({ "name": "PDCAP", "capabilities": rows }),
        Reply::Local { tamper, power } => json!({ "name": "LSTATR", "tamper": tamper, "power": power }),
        Reply::Inputs(states) => json!({ "name": "ISTATR", "states": states }),
        Reply::Outputs(states) => json!({ "name": "OSTATR", "states": states }),
        Reply::Readers(states) => json!({ "name": "RSTATR", "states": states }),
        Reply::Card(card) => json!({
            "name": "RAW", "reader": card.reader, "format": card.format, "bits": card.count, "data": lower(card.data),
            "value_bits": card.bits().map(|bit| if bit { '1' } else { '0' }).collect::<String>(),
        }),
        Reply::FormattedCard { reader, direction, text } => json!({
            "name": "FMT", "reader": reader, "direction": direction, "text": String::from_utf8_lossy(text),
        }),
        Reply::Keypad { reader, keys } => {
            json!({ "name": "KEYPAD", "reader": reader, "count": keys.len(), "digits": lower(keys) })
        }
        Reply::Communication { address, baud } => json!({ "name": "COM", "address_new": address, "baud": baud }),
        Reply::ClientCryptogram { uid, random, cryptogram } => json!({
            "name": "CCRYPT", "cuid": lower(&uid), "pd_random": lower(&random), "pd_cryptogram": lower(&cryptogram),
        }),
        Reply::InitialMac(mac) => json!({ "name": "RMAC_I", "rmac_i": lower(&mac) }),
        Reply::Busy => json!({ "name": "BUSY" }),
        Reply::Other { code, data } => json!({ "name": format!("{code:02X}"), "data": lower(data) }),
    }
}

fn lower(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn upper(bytes: &[u8]) -> String {
    lower(bytes).to_uppercase()
}
