//! Load records of meters for people: what is asked, and the document of the answer.

use gatehouse_config::Device;
use gatehouse_core::driver::{Action, ActionError};
use gatehouse_core::{LoadRecord, LocalTime, Mono, PointIx, Reading};
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

#[cfg(test)]
mod tests {
    use gatehouse_core::driver::LOAD_TIME;
    use gatehouse_core::{Decimal, NoData, PointReading, Value};
    use gatehouse_drivers::profile::Library;

    use super::*;

    fn meter() -> Device {
        let text = "[site]\nid = \"box\"\n[[bus]]\nid = \"riser\"\nserial = \"/dev/null\"\n[[device]]\nid = \"meter\"\n\
                    protocol = \"dlt645-2007\"\naddress = \"000000001234\"\n\
                    [[device.point]]\nname = \"energy\"\ndi = \"00010000\"\n\
                    [[device.point]]\nname = \"power\"\ndi = \"02030000\"\n";
        let checked = gatehouse_config::check("site.toml", text, std::path::Path::new(""), &Library::new()).unwrap();
        Device::clone(&checked.site.devices[0])
    }

    fn body(points: &[&str], from: &str, count: u8) -> LoadBody {
        LoadBody { points: points.iter().map(|&name| name.to_owned()).collect(), from: from.to_owned(), count }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_with_what_can() {
        let asked = |points: &[&str], from, count| load_action(&meter(), &body(points, from, count));
        let refused = |points: &[&str], from, count| asked(points, from, count).unwrap_err().message;
        let from = LocalTime::parse_minute("2026-11-26T00:15").unwrap();
        let all = Action::LoadRecords { points: vec![PointIx(0), PointIx(1)], from, count: 4 };
        assert_eq!(asked(&[], "2026-11-26T00:15", 4).unwrap(), all);
        assert!(refused(&["powre"], "2026-11-26T00:15", 4).contains("did you mean \"power\"?"));
        assert!(refused(&[], "26.11.2026", 4).contains("2026-11-26T00:15"));
        assert!(refused(&[], "2026-11-26T00:15", 0).contains("1 to 99"));
    }

    #[test]
    fn records_are_told_with_units_and_without_an_age_and_none_is_an_answer() {
        let energy = Decimal { mantissa: 1234, exponent: -2 };
        let readings = vec![
            PointReading::new(PointIx(0), Ok(Value::Decimal(energy))),
            PointReading::new(PointIx(1), Err(NoData::NotAvailable)),
            PointReading::new(LOAD_TIME, Ok(Value::Text("2026-11-26T00:15".into()))),
        ];
        let answer = load_answer(&meter(), CommandResult::Read(readings)).unwrap();
        let [record] = &answer.records[..] else { panic!("{answer:?}") };
        let [energy, power] = &record.points[..] else { panic!("{record:?}") };
        assert_eq!((record.at.as_str(), energy.value.as_deref()), ("2026-11-26T00:15", Some("12.34")));
        assert_eq!((energy.unit.as_str(), energy.age_s), ("kWh", None));
        assert_eq!(power.missing.as_deref(), Some("not_available"));
        assert!(load_answer(&meter(), CommandResult::Read(Vec::new())).unwrap().records.is_empty());
    }

    #[test]
    fn an_answer_that_is_no_row_of_records_is_not_taken_for_one() {
        let broken = vec![PointReading::new(LOAD_TIME, Err(NoData::BadReply))];
        assert_eq!(load_answer(&meter(), CommandResult::Read(broken)).unwrap_err().code, "bad_reply");
        let silent = load_answer(&meter(), CommandResult::Failed(NoData::Timeout)).unwrap_err();
        assert!(silent.message.contains("timeout"), "{}", silent.message);
        let busy = load_answer(&meter(), CommandResult::Failed(NoData::Exception(1))).unwrap_err();
        assert_eq!(busy.code, "no_load_records", "it may have some, but does not give them now");
        let refusal = CommandRefusal::Action(ActionError::Unsupported);
        let unsupported = load_answer(&meter(), CommandResult::Refused(refusal)).unwrap_err();
        assert!(unsupported.message.contains("DL/T 645-2007"), "{}", unsupported.message);
    }
}
