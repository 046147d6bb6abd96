//! `gatehouse meters enter`: a reading that somebody took from a display.

use std::io::Write;
use std::process::ExitCode;

use gatehouse_rules::billing::Entry;
use serde_json::Value;

use super::text;
use crate::api::client;
use crate::cli::{Where, block_on, check_device_id, print_json};

/// Arguments of `gatehouse meters enter`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device.
    device: String,
    /// The billing point.
    point: String,
    /// The digits of the display.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Why it is entered by hand.
    #[arg(long)]
    reason: String,
    /// Who read the meter.
    #[arg(long, value_name = "NAME")]
    who: String,
    /// The day that it is for; today, if it is not given.
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// The fixed-clock reading that it stands in for, for example `daily`.
    #[arg(long, value_name = "NAME")]
    reading: Option<String>,
    /// Prints the record as JSON.
    #[arg(long)]
    json: bool,
}

/// Enters a reading.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check_device_id(&args.device)?;
    let entry = Entry {
        point: args.point.clone(),
        value: args.value.clone(),
        who: args.who.clone(),
        reason: args.reason.clone(),
        day: args.day.clone(),
        reading: args.reading.clone(),
    };
    let path = format!("/api/v1/meters/{}/enter", args.device);
    let body = serde_json::to_value(&entry)?;
    let kept = block_on(async { Ok(client::call(&args.at.socket(), &path, Some(body)).await?) })?;
    if args.json {
        print_json(out, &kept)?;
    } else {
        let value = kept.get("values").and_then(|values| values.get(&args.point));
        let digits = value.map(|value| text(value, "value")).unwrap_or_default();
        let (day, by) = (text(&kept, "day"), text(&kept, "by"));
        writeln!(out, "{} {} of {day} is {digits}, read by {by}", args.device, args.point)?;
        let flags = value.and_then(|value| value.get("flags")).and_then(Value::as_array);
        for flag in flags.into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("gatehouse: it is flagged as {flag}: look at the display again");
        }
    }
    Ok(ExitCode::SUCCESS)
}
