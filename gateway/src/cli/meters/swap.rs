//! `gatehouse meters swap`: walks the installer through replacing a meter, or giving it another ratio.
//!
//! The old meter is read while it still answers, then the new one; what cannot be read is asked for. Everything can be
//! given on the command line as well; then nothing is asked.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use gatehouse_core::Decimal;
use gatehouse_rules::billing::{Given, Swap};
use serde_json::{Value, json};

use super::{list, text};
use crate::api::client;
use crate::cli::{Failure, Where, block_on, check_device_id, exit, print_json};

/// Arguments of `gatehouse meters swap`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device.
    device: String,
    /// Who does it.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// The serial number of the meter that is there from now on; of the present one, when only its ratio changes.
    #[arg(long)]
    serial: Option<String>,
    /// The ratio of its current and voltage transformers; as before, if it is not given.
    #[arg(long, value_name = "RATIO")]
    multiplier: Option<String>,
    /// The last reading of the old meter; once for each billing point.
    #[arg(long, value_name = "POINT=DIGITS")]
    closing: Vec<String>,
    /// The first reading of the new meter; once for each billing point.
    #[arg(long, value_name = "POINT=DIGITS")]
    opening: Vec<String>,
    /// Asks nothing and reads nothing: what is not given stays open.
    #[arg(long)]
    yes: bool,
    /// Prints the record as JSON; asks nothing.
    #[arg(long)]
    json: bool,
}

/// Records a swap.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check_device_id(&args.device)?;
    let socket = args.at.socket();
    let quiet = args.yes || args.json || !std::io::stdin().is_terminal();
    let swap = if quiet {
        given(args)?
    } else {
        let mut ask = Talk { input: &mut std::io::stdin().lock(), talk: &mut std::io::stderr() };
        let read = |points: &[String]| read_now(&socket, &args.device, points);
        walk(args, &meter(&socket, &args.device)?, &mut ask, &read)?
    };
    let path = format!("/api/v1/meters/{}/swap", args.device);
    let body = serde_json::to_value(&swap)?;
    let record = block_on(async { Ok(client::call(&socket, &path, Some(body)).await?) })?;
    if args.json {
        print_json(out, &record)?;
    } else {
        let version = record.get("version").and_then(Value::as_u64).unwrap_or_default();
        let (serial, ratio) = (text(&record, "serial"), text(&record, "multiplier"));
        writeln!(
            out,
            "{}: installation {version}, serial {serial}, times {ratio}, by {}",
            args.device,
            text(&record, "by")
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn usage(message: String) -> anyhow::Error {
    Failure::error(exit::USAGE, message)
}

/// What the command line says alone.
fn given(args: &Args) -> anyhow::Result<Swap> {
    let needed = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| usage(format!("{flag} is missing: give it, or run this at a terminal to be asked")))
    };
    Ok(Swap {
        who: needed(&args.who, "--who")?,
        reason: needed(&args.reason, "--reason")?,
        serial: needed(&args.serial, "--serial")?,
        multiplier: args.multiplier.clone(),
        closing: pairs(&args.closing, "--closing")?,
        opening: pairs(&args.opening, "--opening")?,
    })
}

fn pairs(texts: &[String], flag: &str) -> anyhow::Result<BTreeMap<String, Given>> {
    let pair = |text: &String| {
        let (point, digits) = text.split_once('=')?;
        Some((point.to_owned(), Given { value: Decimal::parse(digits.trim()).ok()?, live: false }))
    };
    let read = |text| {
        pair(text)
            .ok_or_else(|| usage(format!("{flag} {text:?}: write POINT=DIGITS, for example import_energy=12345.60")))
    };
    texts.iter().map(read).collect()
}

/// The daemon's document of the meter.
fn meter(socket: &Path, device: &str) -> anyhow::Result<Value> {
    let answer = block_on(async { Ok(client::call(socket, "/api/v1/meters", None).await?) })?;
    let found = list(&answer, "meters").iter().find(|meter| text(meter, "device") == device).cloned();
    found.ok_or_else(|| usage(format!("{device} has no billing points: it is no meter that bills are made of")))
}

/// Values of a device, read now; empty where it does not answer.
fn read_now(socket: &Path, device: &str, points: &[String]) -> BTreeMap<String, Decimal> {
    let path = format!("/api/v1/devices/{device}/read");
    let asked = block_on(async { Ok(client::call(socket, &path, Some(json!({ "points": points }))).await?) });
    let answer = asked.unwrap_or_default();
    let read = list(&answer, "points").iter();
    read.filter_map(|point| Some((text(point, "name").to_owned(), Decimal::parse(text(point, "value")).ok()?)))
        .collect()
}

/// The person at the terminal.
struct Talk<'a> {
    input: &'a mut dyn BufRead,
    talk: &'a mut dyn Write,
}

impl Talk<'_> {
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.talk, "{text}")?;
        Ok(())
    }

    /// Asks until something is answered; what stands in brackets is taken for nothing.
    fn ask(&mut self, question: &str, usual: Option<&str>) -> anyhow::Result<String> {
        loop {
            match usual {
                Some(usual) => write!(self.talk, "{question} [{usual}]: ")?,
                None => write!(self.talk, "{question}: ")?,
            }
            self.talk.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(usage("the questions were not answered: nothing is recorded".to_owned()));
            }
            match (line.trim(), usual) {
                ("", Some(usual)) => return Ok(usual.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// Asks for the digits of a display; `-` leaves them open.
    fn digits(&mut self, point: &str) -> anyhow::Result<Option<Given>> {
        loop {
            let answer = self.ask(&format!("  {point}, digits of the display, or -"), None)?;
            if answer == "-" {
                return Ok(None);
            }
            match Decimal::parse(&answer) {
                Ok(value) => return Ok(Some(Given { value, live: false })),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
    }

    /// The readings of a meter: live where it answers, else as somebody reads them.
    fn readings(
        &mut self,
        points: &[String],
        live: &BTreeMap<String, Decimal>,
    ) -> anyhow::Result<BTreeMap<String, Given>> {
        let mut all = BTreeMap::new();
        for point in points {
            let one = match live.get(point) {
                Some(value) => {
                    self.say(&format!("  {point} = {value}"))?;
                    Some(Given { value: *value, live: true })
                }
                None => self.digits(point)?,
            };
            all.extend(one.map(|one| (point.clone(), one)));
        }
        Ok(all)
    }
}

type Read<'a> = dyn Fn(&[String]) -> BTreeMap<String, Decimal> + 'a;

/// Walks through a swap.
fn walk(args: &Args, meter: &Value, talk: &mut Talk<'_>, read: &Read<'_>) -> anyhow::Result<Swap> {
    let points: Vec<String> = list(meter, "registers").iter().map(|one| text(one, "point").to_owned()).collect();
    let current = list(meter, "installations").last();
    let (serial, ratio) = current.map_or(("", "1"), |one| (text(one, "serial"), text(one, "multiplier")));
    talk.say(&format!("{}: serial {serial:?}, times {ratio}. The present meter is read now.", args.device))?;
    let mut closing = pairs(&args.closing, "--closing")?;
    if closing.is_empty() {
        let live = read(&points);
        if live.is_empty() {
            talk.say(
                "It does not answer. Type what its display shows; what is left open closes with the last good reading.",
            )?;
        }
        closing = talk.readings(&points, &live)?;
    }
    let asked = |value: &Option<String>, talk: &mut Talk<'_>, question: &str, usual: Option<&str>| match value {
        Some(value) => Ok(value.clone()),
        None => talk.ask(question, usual),
    };
    let who = asked(&args.who, talk, "Who does it", None)?;
    let reason = asked(&args.reason, talk, "Why", None)?;
    let usual = Some(serial).filter(|serial| !serial.is_empty());
    let next = asked(&args.serial, talk, "Serial number of the meter from now on", usual)?;
    let multiplier = asked(&args.multiplier, talk, "Ratio of current and voltage transformers", Some(ratio))?;
    let mut opening = pairs(&args.opening, "--opening")?;
    if opening.is_empty() && next != serial {
        talk.ask("Replace the meter and give it the old one's address. Then press Enter", Some("done"))?;
        let live = read(&points);
        if live.is_empty() {
            talk.say("It does not answer. Type what its display shows; what is left open begins with the first good reading.")?;
        }
        opening = talk.readings(&points, &live)?;
    }
    let answer = talk.ask("Record it (yes or no)", None)?;
    if answer != "yes" && answer != "y" {
        return Err(usage("nothing is recorded".to_owned()));
    }
    Ok(Swap { who, reason, serial: next, multiplier: Some(multiplier), closing, opening })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(more: &[&str]) -> Args {
        Cli::try_parse_from([&["swap", "main"], more].concat()).unwrap().args
    }

    fn dec(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn document() -> Value {
        json!({
            "device": "main", "registers": [{ "point": "energy" }, { "point": "reverse" }],
            "installations": [{ "serial": "1001", "multiplier": "30" }],
        })
    }

    #[test]
    fn the_installer_is_asked_for_what_the_meter_does_not_say() {
        let answers = "\n7.25\nWang\nbroken\n2002\n\n\n0\n-\nyes\n";
        let mut talk = Vec::new();
        let calls = std::cell::Cell::new(0);
        // The old meter answers with one register, the new one does not answer at all.
        let read = |_: &[String]| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 { BTreeMap::from([("energy".to_owned(), dec("500.10"))]) } else { BTreeMap::new() }
        };
        let mut ask = Talk { input: &mut answers.as_bytes(), talk: &mut talk };
        let swap = walk(&args(&[]), &document(), &mut ask, &read).unwrap();
        assert_eq!(swap.closing["energy"], Given { value: dec("500.10"), live: true });
        assert_eq!(swap.closing["reverse"], Given { value: dec("7.25"), live: false });
        assert_eq!((&*swap.who, &*swap.serial, swap.multiplier.as_deref()), ("Wang", "2002", Some("30")));
        let opening: Vec<_> = swap.opening.iter().map(|(point, given)| (point.as_str(), given.value)).collect();
        assert_eq!(opening, [("energy", dec("0"))], "what is left open opens with the first reading");
        let said = String::from_utf8(talk).unwrap();
        assert!(said.contains("energy = 500.10") && said.contains("It does not answer."), "{said}");
    }

    #[test]
    fn a_script_gives_everything_and_what_is_missing_is_named() {
        let given_args = args(&["--who", "w", "--reason", "r", "--serial", "2", "--closing", "energy=5.00", "--json"]);
        let swap = given(&given_args).unwrap();
        assert_eq!((swap.closing["energy"].value, swap.opening.len()), (dec("5.00"), 0));
        let why = given(&args(&["--who", "w", "--serial", "2"])).unwrap_err().to_string();
        assert_eq!(why, "--reason is missing: give it, or run this at a terminal to be asked");
        let why = given(&args(&["--who", "w", "--reason", "r", "--serial", "2", "--opening", "energy"])).unwrap_err();
        assert!(why.to_string().starts_with("--opening \"energy\": write POINT=DIGITS"), "{why}");
    }

    #[test]
    fn whoever_goes_away_or_says_no_records_nothing() {
        for answers in ["Wang\n", "Wang\nr\n1001\n40\nno\n"] {
            let mut ask = Talk { input: &mut answers.as_bytes(), talk: &mut std::io::sink() };
            let read = |points: &[String]| points.iter().map(|point| (point.clone(), dec("1"))).collect();
            assert!(walk(&args(&[]), &document(), &mut ask, &read).is_err(), "{answers:?}");
        }
    }
}
