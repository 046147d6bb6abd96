//! `gatehouse-hil bench`: one table of what the gateway does on this machine, beside its bars and its best peers.
//!
//! One file per group of measures; each function measures and returns its rows. Nothing here fails on a slow machine:
//! a row that misses its bar says so, and only a measure that could not be run makes the command fail.

mod access;
pub mod decode;
mod identity;
mod outage;
mod process;
mod rules;
mod serial;
mod size;
mod spool;
mod stage;
mod tcp;
mod wear;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::demo::time;
use crate::rig::binary;

/// Measures speed and size, and prints one table.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Groups of measures to run: serial, fast-serial, tcp, tcp-slow, flat-out, outage, size, spool, wear, rules, access, decode; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How long each steady measure lasts; the default gives steady figures.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "20s")]
    seconds: Duration,
    /// How long the broker is away in the outage measures.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    outage: Duration,
    /// Prints the rows as JSON.
    #[arg(long)]
    json: bool,
    /// The gateway's binary; built from the sources by default.
    #[arg(long, value_name = "FILE", env = "GATEHOUSE_BIN")]
    gateway: Option<PathBuf>,
}

/// What every measure needs to know.
struct Bench {
    /// The gateway's binary, if one is named.
    named: Option<PathBuf>,
    gateway: OnceLock<PathBuf>,
    /// Length of a steady measure.
    steady: Duration,
    /// Length of an outage.
    outage: Duration,
}

impl Bench {
    /// The gateway's binary, built when a measure asks for it first.
    fn gateway(&self) -> anyhow::Result<&Path> {
        if let Some(built) = self.gateway.get() {
            return Ok(built);
        }
        let path = binary(self.named.clone())?;
        Ok(self.gateway.get_or_init(|| path))
    }
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    /// What is measured.
    measure: String,
    /// What came out.
    figure: String,
    /// What it has to reach.
    bar: &'static str,
    /// What the best peer reaches, as measured on a machine like the one the bars were set on.
    peer: &'static str,
    /// Whether it does; `None` where there is no bar.
    ok: Option<bool>,
}

impl Row {
    fn new(
        measure: impl Into<String>,
        figure: impl Into<String>,
        bar: &'static str,
        peer: &'static str,
        ok: bool,
    ) -> Self {
        Row { measure: measure.into(), figure: figure.into(), bar, peer, ok: Some(ok) }
    }

    /// A row that only informs.
    fn told(measure: impl Into<String>, figure: impl Into<String>) -> Self {
        Row { measure: measure.into(), figure: figure.into(), bar: "", peer: "", ok: None }
    }
}

type Group = fn(&Bench) -> anyhow::Result<Vec<Row>>;

const GROUPS: [(&str, Group); 12] = [
    ("serial", serial::slow_lines),
    ("fast-serial", serial::fast_line),
    ("tcp", tcp::prompt_slaves),
    ("tcp-slow", tcp::slow_slaves),
    ("flat-out", tcp::flat_out),
    ("outage", outage::all),
    ("size", size::all),
    ("spool", spool::bytes_per_reading),
    ("wear", wear::bytes_per_day),
    ("rules", rules::all),
    ("access", access::card_to_open),
    ("decode", decode::all),
];

/// Runs the bench. The exit code is 1 when a measure could not be run, 2 for an unknown name.
///
/// # Errors
/// When the table cannot be printed.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let known = |name: &str| GROUPS.iter().any(|(known, _)| *known == name);
    if let Some(name) = args.names.iter().find(|name| !known(name)) {
        let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no measure {name:?}; there are {}", names.join(", "));
        return Ok(ExitCode::from(2));
    }
    let bench = Bench { named: args.gateway, gateway: OnceLock::new(), steady: args.seconds, outage: args.outage };
    let (mut rows, mut failed) = (Vec::new(), false);
    for (name, measure) in GROUPS {
        if !args.names.is_empty() && !args.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("measuring {name} ...");
        match measure(&bench) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                failed = true;
                rows.push(Row { ok: Some(false), ..Row::told(name, format!("could not be measured: {error:#}")) });
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", table(&rows));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(["measure", "figure", "bar", "peer", "ok"]);
    for row in rows {
        let ok = row.ok.map_or("", |ok| if ok { "yes" } else { "NO" });
        table.add_row([row.measure.as_str(), &row.figure, row.bar, row.peer, ok]);
    }
    table
}
