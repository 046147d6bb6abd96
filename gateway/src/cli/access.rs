//! `gatehouse access`: the credentials in force, and codes for visitors.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};

use super::{Failure, Where, block_on, exit, print_json, table};
use crate::api::client;

/// Arguments of `gatehouse access`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    #[command(subcommand)]
    what: Option<What>,
    /// Prints the daemon's document as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes a code for a visitor that proves itself, also while the core cannot be reached: a picture to show at a
    /// reader. It opens once.
    Code {
        /// A gate that it opens; may be given several times.
        #[arg(long = "gate", value_name = "ID", required_unless_present = "groups")]
        gates: Vec<String>,
        /// A group of gates that it opens; may be given several times.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// How long it is valid: `4h`, `90m`, `2d`; at most 31 days.
        #[arg(long = "for", value_name = "TIME", default_value = "24h")]
        valid: String,
    },
    /// Makes ten digits for a keypad, valid for three to four hours at gates that take visitors' PINs. They open once.
    Pin,
}

/// Shows the credentials in force, or makes a code.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (path, body) = match &args.what {
        None => ("/api/v1/access", None),
        Some(What::Pin) => ("/api/v1/access/codes", Some(json!({ "form": "pin" }))),
        Some(What::Code { gates, groups, valid }) => {
            let body = json!({ "form": "signed", "gates": gates, "groups": groups, "for_s": seconds(valid)? });
            ("/api/v1/access/codes", Some(body))
        }
    };
    let answer = block_on(async { Ok(client::call(&args.at.socket(), path, body).await?) })?;
    if args.json {
        print_json(out, &answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    match &args.what {
        None => show(&answer, out)?,
        Some(What::Pin) => {
            writeln!(out, "{}", text(&answer, "text"))?;
            writeln!(out, "{} until {}: opens once", text(&answer, "who"), local(&answer))?;
        }
        Some(What::Code { .. }) => {
            let code = text(&answer, "text");
            if let Ok(picture) = QrCode::new(code) {
                writeln!(out, "{}", picture.render::<Dense1x2>().build())?;
            }
            writeln!(out, "{code}")?;
            writeln!(out, "{} until {}: opens once", text(&answer, "who"), local(&answer))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A time of at least a minute, in seconds.
fn seconds(text: &str) -> anyhow::Result<u64> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    match parsed.map(|time| time.as_secs()).filter(|seconds| *seconds >= 60) {
        Some(seconds) => Ok(seconds),
        None => {
            let message = format!("--for {text:?} is no time of a minute or more: write 90m, 4h or 48h");
            Err(Failure::error(exit::USAGE, message))
        }
    }
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The end of a code in this machine's zone.
fn local(answer: &Value) -> String {
    let second = answer.get("until").and_then(Value::as_i64).unwrap_or_default();
    let time = jiff::Timestamp::from_second(second).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn show(answer: &Value, out: &mut dyn Write) -> std::io::Result<()> {
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
    match answer.get("version").and_then(Value::as_u64) {
        None => writeln!(out, "no credentials: nobody can be let in by a card, plate or code")?,
        Some(version) => {
            let (made, end) = (text(answer, "created"), text(answer, "expires_at"));
            writeln!(out, "version {version}: {} credentials, made {made}, too old from {end}", number("credentials"))?;
        }
    }
    let zones = answer.get("zones").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !zones.is_empty() {
        let mut shown = table(&["ZONE", "INSIDE", "CAPACITY"]);
        for zone in zones {
            let number = |key: &str| zone.get(key).and_then(Value::as_u64).map_or("-".to_owned(), |n| n.to_string());
            shown.add_row([text(zone, "zone").to_owned(), number("inside"), number("capacity")]);
        }
        writeln!(out, "{shown}")?;
    }
    let closed = answer.get("closed_readers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for reader in closed.iter().filter_map(Value::as_str) {
        writeln!(out, "closed for codes, because somebody guesses: {reader}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_code_is_read_or_refused_with_what_to_write() {
        assert_eq!(seconds("90m").unwrap(), 5400);
        assert_eq!(seconds("48h").unwrap(), 172_800);
        let why = seconds("soon").unwrap_err().to_string();
        assert_eq!(why, "--for \"soon\" is no time of a minute or more: write 90m, 4h or 48h");
        assert!(seconds("-4h").is_err() && seconds("5s").is_err());
    }

    #[test]
    fn credentials_are_shown_with_zones_and_closed_readers() {
        let answer = json!({
            "version": 12, "credentials": 3, "created": "2026-11-23T10:00:00Z", "expires_at": "2026-12-23T10:00:00Z",
            "zones": [{ "zone": "garage", "inside": 4, "capacity": 120 }], "closed_readers": ["lobby"],
        });
        let mut out = Vec::new();
        show(&answer, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.starts_with("version 12: 3 credentials, made 2026-11-23T10:00:00Z"), "{shown}");
        assert!(shown.contains("garage") && shown.contains("120"), "{shown}");
        assert!(shown.ends_with("closed for codes, because somebody guesses: lobby\n"), "{shown}");
    }
}
