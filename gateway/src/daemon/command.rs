//! Commands from people: what the line reports of them, in the documents of the API.

use std::time::Duration;

use gatehouse_config::{Device, Station};
use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{Mono, NoData, PointIx, PointReading, Reading, RegisterRow, Value};
use gatehouse_drivers::line::{CommandRefusal, CommandResult};

use super::device::{parse_value, point_by_name, point_doc};
use crate::api::{Refusal, doc};

/// How long a person's command may wait for its turn.
pub const COMMAND_TTL: Duration = Duration::from_secs(10);

/// The action that writes `text` to a point.
///
/// # Errors
/// A refusal that says what would do.
pub fn write_action(device: &Device, point: &str, text: &str) -> Result<(PointIx, Action), Refusal> {
    let ix = point_by_name(device, point)?;
    let config = device.points.get(usize::from(ix.0));
    let spec = config.map(|p| &p.spec).filter(|spec| spec.is_writable());
    let spec = spec.ok_or_else(|| {
        Refusal::new(409, "read_only", format!("{} {point} cannot be written: its profile says read-only", device.id))
    })?;
    Ok((ix, Action::Write(ix, parse_value(spec.kind(), text)?)))
}

/// The answer to a read.
///
/// # Errors
/// A refusal when the command never reached the device.
pub fn read_answer(
    device: &Device,
    at: Mono,
    asked: &[PointIx],
    result: CommandResult,
) -> Result<doc::ReadAnswer, Refusal> {
    let every: Vec<PointIx> = (0u16..).map(PointIx).take(device.points.len()).collect();
    let asked = if asked.is_empty() { &every } else { asked };
    let readings: Vec<(PointIx, Result<Value, NoData>)> = match result {
        CommandResult::Read(readings) => readings.into_iter().map(|r| (r.point, r.value)).collect(),
        CommandResult::Failed(why) | CommandResult::Unknown(why, _) => asked.iter().map(|ix| (*ix, Err(why))).collect(),
        other => return Err(not_done(&other)),
    };
    let points = readings.into_iter().filter_map(|(ix, value)| point_doc(device, ix, Some(&Reading { at, value }), at));
    Ok(doc::ReadAnswer { device: device.id.to_string(), points: points.collect() })
}

/// The answer to a question for registers. That the device gives none is an answer too.
///
/// # Errors
/// A refusal when the command never reached the device, or the registers may show who was at a reader.
pub fn registers_answer(
    device: &Device,
    row: RegisterRow,
    result: CommandResult,
) -> Result<doc::RegistersAnswer, Refusal> {
    if device.is_personal() {
        let text = format!(
            "registers of {} show who was at a reader, and are shown to nobody: take its `[[reader]]` out of the site file \
             while it is set up",
            device.id
        );
        return Err(Refusal::new(409, "personal", text));
    }
    let word = |reading: PointReading| u16::try_from(reading.value.ok()?.to_decimal()?.mantissa).ok();
    let (registers, missing) = match result {
        CommandResult::Read(readings) => (readings.into_iter().filter_map(word).collect(), None),
        CommandResult::Failed(why) | CommandResult::Unknown(why, _) => (Vec::new(), Some(why.to_string())),
        CommandResult::Refused(CommandRefusal::Action(why @ ActionError::BeyondLimits(_))) => {
            (Vec::new(), Some(why.to_string()))
        }
        other => return Err(not_done(&other)),
    };
    let (table, first) = (row.table().as_str().to_owned(), row.first());
    Ok(doc::RegistersAnswer { device: device.id.to_string(), table, first, registers, missing })
}

/// The answer to an identification: the device's objects by name (Modbus application protocol, 6.21).
///
/// # Errors
/// A refusal when the device does not tell.
pub fn identify_answer(device: &Device, result: CommandResult) -> Result<doc::IdentifyAnswer, Refusal> {
    const NAMES: [&str; 7] =
        ["vendor", "product_code", "revision", "vendor_url", "product_name", "model_name", "user_application_name"];
    let readings = match result {
        CommandResult::Read(readings) => readings,
        CommandResult::Failed(why) | CommandResult::Unknown(why, _) => {
            let text = format!("device {} does not say who it is ({why}); many devices cannot", device.id);
            return Err(Refusal::new(502, "not_identified", text));
        }
        other => return Err(not_done(&other)),
    };
    let objects = readings.into_iter().filter_map(|reading| {
        let number = reading.point.0;
        let known = match &device.station {
            Station::Dlt645(_) => gatehouse_drivers::dlt645::object_name(number),
            Station::Cjt188(_) => gatehouse_drivers::cjt188::object_name(number),
            Station::Modbus(_) | Station::Osdp(_) | Station::Uhppote(_) | Station::Own(_) => {
                NAMES.get(usize::from(number)).copied()
            }
        };
        let name = known.map_or_else(|| format!("object_{number}"), str::to_owned);
        Some((name, reading.value.ok()?.to_string()))
    });
    Ok(doc::IdentifyAnswer { device: device.id.to_string(), objects: objects.collect() })
}

/// The answer to a write.
pub fn write_answer(device: &Device, point: &str, result: CommandResult) -> doc::WriteAnswer {
    let is_personal = device.points.iter().any(|known| known.personal && known.spec.name == *point);
    let read = |back: &Option<Result<Value, NoData>>| back.as_ref().and_then(|r| r.as_ref().ok()).map(Value::to_string);
    let (outcome, detail, read_back) = match &result {
        CommandResult::Verified(value) => ("verified", None, Some(value.to_string())),
        CommandResult::Acknowledged(None) => {
            ("acknowledged", Some("the device confirmed it; the point cannot be read back".to_owned()), None)
        }
        CommandResult::Acknowledged(Some(Ok(value))) => (
            "failed",
            Some("the device confirmed the write, but reads another value".to_owned()),
            Some(value.to_string()),
        ),
        CommandResult::Acknowledged(Some(Err(why))) => {
            ("acknowledged", Some(format!("the device confirmed it; reading back gave: {why}")), None)
        }
        CommandResult::Sent => ("acknowledged", Some("sent to all; nobody answers a broadcast".to_owned()), None),
        CommandResult::Failed(why) => ("failed", Some(why.to_string()), None),
        CommandResult::Unknown(why, back) => {
            ("unknown", Some(format!("sent once, not confirmed ({why}): look before you try again")), read(back))
        }
        CommandResult::Expired => ("expired", Some(not_done(&result).message), None),
        CommandResult::Refused(_) | CommandResult::Read(_) => ("refused", Some(not_done(&result).message), None),
    };
    doc::WriteAnswer {
        device: device.id.to_string(),
        point: point.to_owned(),
        outcome: outcome.to_owned(),
        detail,
        read_back: read_back.map(|text| if is_personal { "personal".to_owned() } else { text }),
    }
}

/// Why a result is no answer to a question.
pub(super) fn not_done(result: &CommandResult) -> Refusal {
    match result {
        CommandResult::Expired => {
            Refusal::new(504, "expired", format!("the bus had no turn for it within {} s", COMMAND_TTL.as_secs()))
        }
        CommandResult::Refused(CommandRefusal::QueueFull) => {
            Refusal::new(503, "busy", CommandRefusal::QueueFull.to_string())
        }
        CommandResult::Refused(CommandRefusal::Action(error @ ActionError::Unrepresentable { .. })) => {
            Refusal::new(400, "bad_value", error.to_string())
        }
        CommandResult::Refused(refusal) => Refusal::new(409, "refused", refusal.to_string()),
        _ => Refusal::new(500, "unexpected", "the command ended in a way that it cannot"),
    }
}
