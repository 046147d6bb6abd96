//! Load records of meters for people: what is asked, and the document of the answer.

use gatehouse_config::Device;
use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{LoadRecord, LocalTime, Mono, NoData, PointIx, Reading};
use gatehouse_drivers::dlt645::words::says_no_data;
use gatehouse_drivers::line::{CommandRefusal, CommandResult};

use super::command::not_done;
use super::device::{point_doc, points_by_name};
use crate::api::server::LoadBody;
use crate::api::{Refusal, doc};

/// The action that reads load records.
///
/// # Errors
/// A refusal that says what would do.
pub(super) fn load_action(device: &Device, body: &LoadBody) -> Result<Action, Refusal> {
    let from = LocalTime::parse_minute(&body.from).ok_or_else(|| {
        let text = format!("{:?} is no time: write it as the meter's clock has it, 2026-11-26T00:15", body.from);
        Refusal::new(400, "bad_time", text)
    })?;
    if !(1..=99).contains(&body.count) {
        return Err(Refusal::new(400, "bad_value", format!("{} records cannot be asked for, but 1 to 99", body.count)));
    }
    let mut points = points_by_name(device, &body.points)?;
    if points.is_empty() {
        points = (0u16..).map(PointIx).take(device.points.len()).collect();
    }
    Ok(Action::LoadRecords { points, from, count: body.count })
}

/// The answer to a question for load records.
///
/// # Errors
/// A refusal when the device gives none, or never heard the question.
pub(super) fn load_answer(device: &Device, result: CommandResult) -> Result<doc::LoadAnswer, Refusal> {
    let id = &device.id;
    let records = match result {
        CommandResult::Read(readings) => LoadRecord::from_readings(&readings).ok_or_else(|| {
            Refusal::new(502, "bad_reply", format!("device {id} answered, but not with load records of DL/T 645-2007"))
        })?,
        CommandResult::Failed(NoData::Exception(code)) if says_no_data(code) => Vec::new(),
        CommandResult::Failed(why) | CommandResult::Unknown(why, _) => {
            let text = format!("device {id} gave no load records ({why})");
            return Err(Refusal::new(502, "no_load_records", text));
        }
        CommandResult::Refused(CommandRefusal::Action(ActionError::Unsupported)) => {
            let text = format!(
                "device {id} records none of these points: load records are of meters of DL/T 645-2007, and have totals of \
                 energy, voltages, currents, powers, factors, frequency and demands"
            );
            return Err(Refusal::new(409, "no_load_records", text));
        }
        other => return Err(not_done(&other)),
    };
    let told = |record: LoadRecord| {
        let readings = record.readings.into_iter();
        let reading = |value| Reading { at: Mono(0), value };
        let points = readings.filter_map(|r| point_doc(device, r.point, Some(&reading(r.value)), Mono(0)));
        // How old it is, only the meter's own time can tell.
        let points = points.map(|point| doc::Point { age_s: None, ..point });
        doc::LoadRecord { at: record.at.to_string(), points: points.collect() }
    };
    Ok(doc::LoadAnswer { device: id.to_string(), records: records.into_iter().map(told).collect() })
}
