//! What a scan found, for people and for programs.

use std::io::Write;
use std::path::Path;

use gatehouse_drivers::line::Characters;
use gatehouse_drivers::scan::{Channel, Clash, Finding, Found, Model, Station};
use serde_json::{Value, json};

use super::drive::{Ending, Outcome};
use super::target::Target;
use super::{Written, shown};
use crate::cli::{human_age, print_json};

/// One finding in one line, as it is made.
pub(super) fn line(finding: &Finding) -> String {
    match finding {
        Finding::Found(found) => {
            let at = found.characters.map(|line| format!(" at {line}")).unwrap_or_default();
            format!("found: {} {}{at}", found.station.protocol().as_str(), found.station)
        }
        Finding::Clash(clash) => clash_text(clash),
    }
}

/// What a clash is and what to do. Door controllers have no line and no address that one could give them.
pub(super) fn clash_text(clash: &Clash) -> String {
    match clash.station {
        Station::Uhppote(serial) => format!(
            "two controllers answer with the serial number {serial}, which is to be one board's alone: each would do what the \
             other is told. Compare the labels of the boards, take the one with the wrong number off the network, and scan again"
        ),
        Station::Modbus(_) | Station::Dlt645(..) | Station::Cjt188 { .. } | Station::Osdp { .. } => clash.to_string(),
    }
}

/// The table.
pub(super) fn table(outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = crate::cli::table(&["PROTOCOL", "ADDRESS", "LINE", "PROFILE", "SAYS OF ITSELF"]);
    for finding in &outcome.findings {
        let (station, line, profile, says) = match finding {
            Finding::Found(found) => (found.station, found.characters, model(&found.model), identity(found)),
            Finding::Clash(clash) => (clash.station, clash.characters, clash.in_short().to_owned(), String::new()),
        };
        let line = line.map_or("-".to_owned(), |line| line.to_string());
        table.add_row([station.protocol().as_str().to_owned(), station.to_string(), line, profile, says]);
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// The model in one word or few.
pub(super) fn model(model: &Model) -> String {
    match model {
        Model::Known(name) => (*name).to_owned(),
        Model::OneOf(names) => names.join(" or "),
        Model::Unknown => "unknown".to_owned(),
        Model::NotAsked => "not asked for yet".to_owned(),
    }
}

/// What a device says of itself.
pub(super) fn identity(found: &Found) -> String {
    let texts = found.identity.iter().map(|(name, text)| format!("{name} {text}"));
    plain(&texts.collect::<Vec<_>>().join(", "))
}

/// A text without what would steer a terminal or break a line of a file: a device may say anything, and a path be anything.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The whole outcome as a document.
pub(super) fn json(target: &Target, outcome: &Outcome, file: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<()> {
    let devices: Vec<Value> = outcome.findings.iter().filter_map(device).collect();
    let clashes: Vec<Value> = outcome.findings.iter().filter_map(clash).collect();
    print_json(
        out,
        &json!({
            "target": target.to_string(),
            "framing": outcome.channel.and_then(framing),
            "ending": ending(&outcome.ending),
            "elapsed_s": outcome.elapsed.as_secs_f64(),
            "remaining_s": outcome.remaining.as_secs_f64(),
            "unasked": outcome.unasked.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "devices": devices,
            "clashes": clashes,
            "file": file.map(shown),
        }),
    )
}

/// How a host carries what is asked, as `--framing` has it; `None`: it is no host.
fn framing(channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Serial => None,
        Channel::Tcp => Some("tcp"),
        Channel::Raw => Some("raw"),
    }
}

fn ending(ending: &Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::Interrupted => "interrupted",
        Ending::ForeignMaster { .. } => "foreign-master",
        Ending::Unquiet { .. } => "unquiet",
        Ending::Lost(_) => "lost",
    }
}

fn device(finding: &Finding) -> Option<Value> {
    let Finding::Found(Found { station, characters, identity, model, .. }) = finding else { return None };
    let (profile, candidates) = match model {
        Model::Known(name) => (Some(*name), Vec::new()),
        Model::OneOf(names) => (None, names.clone()),
        Model::Unknown | Model::NotAsked => (None, Vec::new()),
    };
    let identity: serde_json::Map<String, Value> =
        identity.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    Some(json!({
        "protocol": station.protocol().as_str(), "address": station.to_string(), "line": settings(*characters),
        "profile": profile, "candidates": candidates, "identity": identity,
    }))
}

fn clash(finding: &Finding) -> Option<Value> {
    let Finding::Clash(clash @ Clash { station, characters, .. }) = finding else { return None };
    Some(json!({
        "protocol": station.protocol().as_str(), "address": station.to_string(), "line": settings(*characters),
        "message": clash_text(clash),
    }))
}

fn settings(characters: Option<Characters>) -> Option<String> {
    characters.map(|line| line.to_string())
}

/// How it ended and what to do next. Who does not hear it has the file.
pub(super) fn say(target: &Target, outcome: &Outcome, file: Option<&Written>) {
    let mut lines = vec![end(target, outcome)];
    match file {
        Some(Written { path, devices: 0 }) => lines.push(format!(
            "{} was written. Nothing in it can be polled as it stands: each # says what is missing. Look at it, complete it, then \
             `gatehouse check --config {0}`",
            shown(path)
        )),
        Some(Written { path, .. }) => {
            lines.push(format!("{} was written: look at it, then `gatehouse check --config {0}`", shown(path)));
        }
        None if outcome.ending == Ending::Finished => lines.push(nothing(target).to_owned()),
        None => {}
    }
    for line in lines {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn end(target: &Target, outcome: &Outcome) -> String {
    let seconds = human_age(outcome.elapsed.as_secs_f64());
    match &outcome.ending {
        Ending::Finished => format!("{target}: all was tried, in {seconds}"),
        Ending::Interrupted => {
            format!("{target}: broken off after {seconds}; {}", left(outcome))
        }
        Ending::ForeignMaster { protocol, characters } => {
            let at = characters.map(|line| format!(" at {line}")).unwrap_or_default();
            format!(
                "{target}: another master asks on this line already, in {}{at}: nothing more was sent. Two masters garble each \
                 other: find it (a building controller, a meter reader's box), take it off the line, and scan again",
                protocol.as_str()
            )
        }
        Ending::Unquiet { bytes } => format!(
            "{target}: {bytes} bytes came though nobody asked, and they are no known frames: nothing more was sent. Either another \
             master is on the line, at a speed or in a protocol that is not known here: take it off the line. Or the line \
             floats: look for the terminating resistor and the bias, and for swapped wires"
        ),
        Ending::Lost(why) => format!("{why}: the scan ended after {seconds}; {}", left(outcome)),
    }
}

/// What was not tried, as far as that can be said in a line, and how long it would take.
fn left(outcome: &Outcome) -> String {
    let time = human_age(outcome.remaining.as_secs_f64());
    match outcome.unasked.as_slice() {
        [] => format!("what was not tried would take about {time}"),
        some => {
            let whom: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("nobody has asked {}: what was not tried would take about {time}", whom.join("; "))
        }
    }
}

fn nothing(target: &Target) -> &'static str {
    match target {
        Target::Serial(_) => {
            "nothing answered: are the devices powered, A and B not swapped, the ends terminated, and is it the right port?"
        }
        Target::Tcp { .. } => {
            "nothing answered: it takes connections, but nobody is behind it, or it is neither a Modbus host nor a serial server. Of a \
             serial server: are its speed and parity those of the devices, A and B not swapped, and is it the right port?"
        }
        Target::Udp { .. } => {
            "nothing answered: broadcasts reach one network only; name the address that ends with .255 of the controllers' own"
        }
    }
}
