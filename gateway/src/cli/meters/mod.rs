//! `gatehouse meters`: what bills are made of.

mod enter;
mod export;
mod load;
mod sheets;
mod swap;

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::{Where, block_on, print_json, table};
use crate::api::client;

/// Arguments of `gatehouse meters`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    at: Where,
    /// Prints the daemon's document as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Records that a meter was replaced, or has another ratio: asks for what it is not told.
    Swap(swap::Args),
    /// Enters a reading that somebody took from a meter's display.
    Enter(enter::Args),
    /// Lists what a meter recorded itself at regular times: its load records.
    Load(load::Args),
    /// Writes a month's account: readings, segments, what is missing and why, masters against their submeters.
    Export(export::Args),
}

/// Lists the meters, or does what the word says.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.what {
        Some(What::Swap(swap)) => swap::run(swap, out),
        Some(What::Enter(enter)) => enter::run(enter, out),
        Some(What::Load(load)) => load::run(load, out),
        Some(What::Export(export)) => export::run(export, out),
        None => {
            let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/meters", None).await?) })?;
            if args.json {
                print_json(out, &answer)?;
            } else {
                show(&answer, out)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(super) fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn list<'v>(of: &'v Value, key: &str) -> &'v [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn show(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let mut shown = table(&["DEVICE", "SERIAL", "RATIO", "SINCE", "POINT", "VALUE", "READ", "FLAGS"]);
    for meter in list(answer, "meters") {
        let current = list(meter, "installations").last().filter(|one| one.get("to").is_none_or(Value::is_null));
        let said = |key: &str| match current.map(|one| text(one, key)).filter(|text| !text.is_empty()) {
            Some(text) => text.to_owned(),
            None => "-".to_owned(),
        };
        for register in list(meter, "registers") {
            let flags: Vec<&str> = list(register, "flags").iter().filter_map(Value::as_str).collect();
            shown.add_row([
                text(meter, "device").to_owned(),
                said("serial"),
                said("multiplier"),
                said("from").chars().take(10).collect(),
                text(register, "point").to_owned(),
                format!("{} {}", text(register, "value"), text(register, "unit")).trim().to_owned(),
                text(register, "at").to_owned(),
                flags.join(","),
            ]);
        }
    }
    writeln!(out, "{shown}")?;
    for (key, what) in [("owed", "fixed-clock readings"), ("load_owed", "load records")] {
        match answer.get(key).and_then(Value::as_u64).unwrap_or_default() {
            0 => {}
            owed => writeln!(out, "{owed} {what} are still to be fetched")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn meters_are_shown_with_the_installation_that_is_there() {
        let answer = json!({ "owed": 2, "load_owed": 96, "meters": [{
            "device": "main", "registers": [
                { "point": "import_energy", "unit": "kWh", "value": "12345.60", "at": "2026-11-26T00:00:00.000Z",
                  "flags": ["reset", "swapped"] },
                { "point": "export_energy", "unit": "kWh", "value": null, "at": null, "flags": [] },
            ],
            "installations": [
                { "serial": "1001", "multiplier": "30", "from": "2026-01-05T08:00:00.000Z", "to": "2026-11-01T08:00:00.000Z" },
                { "serial": "2002", "multiplier": "40", "from": "2026-11-01T08:00:00.000Z", "to": null },
            ],
        }] });
        let mut out = Vec::new();
        show(&answer, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        let wanted = ["main", "2002", "40", "2026-11-01", "import_energy", "12345.60", "kWh"];
        assert_eq!(row[..7], wanted, "{shown}");
        assert_eq!(row[8], "reset,swapped");
        let owed = "2 fixed-clock readings are still to be fetched\n96 load records are still to be fetched\n";
        assert!(shown.ends_with(owed), "{shown}");
    }
}
