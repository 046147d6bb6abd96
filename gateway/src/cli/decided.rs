//! `gatehouse alarms`, `tickets`, `gates` and `mode`: what the running daemon has decided.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::{Where, block_on, print_json, table};
use crate::api::client;

/// Arguments of the lists.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// Prints the daemon's document as JSON.
    #[arg(long)]
    json: bool,
}

/// What is listed: the path of the API, and the columns by their keys there.
pub(crate) struct List {
    path: &'static str,
    none: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

pub(crate) const ALARMS: List = List {
    path: "/api/v1/alarms",
    none: "no alarm",
    columns: &[
        ("ALARM", "alarm"),
        ("STATE", "state"),
        ("PENDING", "pending"),
        ("OCCURRENCE", "occurrence"),
        ("PRIORITY", "priority"),
        ("MESSAGE", "message"),
        ("DO", "instruction"),
    ],
};

pub(crate) const TICKETS: List = List {
    path: "/api/v1/tickets",
    none: "no ticket",
    columns: &[
        ("TICKET", "ticket"),
        ("STATE", "state"),
        ("PRIORITY", "priority"),
        ("CATEGORY", "category"),
        ("TIMES", "occurrences"),
        ("CORE", "core_number"),
        ("ASSIGNEE", "assignee"),
        ("TITLE", "title"),
    ],
};

pub(crate) const GATES: List = List {
    path: "/api/v1/gates",
    none: "the site has no gate",
    columns: &[
        ("GATE", "id"),
        ("KIND", "kind"),
        ("STATE", "state"),
        ("HELD BY", "held_by"),
        ("LOCKED BY", "locked_by"),
        ("CONDITIONS", "conditions"),
    ],
};

/// Prints a list.
pub(crate) fn run(list: &List, args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = block_on(async { Ok(client::call(&args.at.socket(), list.path, None).await?) })?;
    if args.json {
        print_json(out, &answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        writeln!(out, "{}", list.none)?;
        return Ok(ExitCode::SUCCESS);
    }
    let heads: Vec<&str> = list.columns.iter().map(|(head, _)| *head).collect();
    let mut shown = table(&heads);
    for row in rows {
        shown.add_row(list.columns.iter().map(|(_, key)| cell(row.get(*key))));
    }
    writeln!(out, "{shown}")?;
    Ok(ExitCode::SUCCESS)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(on)) => if *on { "yes" } else { "-" }.to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "-".to_owned(),
        Some(Value::Array(list)) => list.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

/// Prints whether the core can be reached, and since when not.
pub(crate) fn mode(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/mode", None).await?) })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        writeln!(out, "{}", cell(answer.get("mode")))?;
    }
    Ok(ExitCode::SUCCESS)
}
