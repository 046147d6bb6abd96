//! `gatehouse check`: every problem of a site file in one run.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use gatehouse_config::{Problem, Severity, Site, load};
use gatehouse_drivers::profile::Library;
use serde_json::{Value, json};

use super::{DEFAULT_CONFIG, exit, print_json};

/// Arguments of `gatehouse check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site file.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "GATEHOUSE_CONFIG")]
    config: PathBuf,
    /// Prints one JSON document: ok, problems (file, line, column, code, severity, message, help) and what the site has.
    #[arg(long)]
    json: bool,
    /// Refuses the file for warnings too.
    #[arg(long)]
    strict: bool,
}

/// Checks the file and prints what was found.
pub(crate) fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (site, problems) = match load(&args.config, &Library::new()) {
        Ok(loaded) => (Some(loaded.site), loaded.warnings),
        Err(problems) => (None, problems.0),
    };
    let ok = site.is_some() && !(args.strict && !problems.is_empty());
    if args.json {
        let summary = site.as_ref().map(summary);
        let problems: Vec<Value> = problems.iter().map(document).collect();
        print_json(out, &json!({ "ok": ok, "problems": problems, "site": summary }))?;
    } else {
        write!(out, "{}", gatehouse_config::render(&problems))?;
        writeln!(out, "{}", verdict(&args, site.as_ref(), &problems))?;
    }
    Ok(ExitCode::from(if ok { exit::OK } else { exit::CONFIGURATION }))
}

/// One problem as JSON.
pub(super) fn document(problem: &Problem) -> Value {
    let (line, column) = problem.position();
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "file": problem.file(), "line": line, "column": column, "code": problem.code, "severity": severity,
        "message": problem.message, "help": problem.help,
    })
}

fn summary(site: &Site) -> Value {
    let points: usize = site.devices.iter().map(|device| device.points.len()).sum();
    json!({ "id": site.id.as_str(), "buses": site.buses.len(), "devices": site.devices.len(), "points": points })
}

fn verdict(args: &Args, site: Option<&Site>, problems: &[Problem]) -> String {
    let file = args.config.display();
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let warnings = match count(Severity::Warning) {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    match site {
        None => {
            let errors = count(Severity::Error);
            let s = if errors == 1 { "" } else { "s" };
            format!("{file}: refused for {errors} error{s}{warnings}")
        }
        Some(_) if args.strict && !problems.is_empty() => format!("{file}: refused because of --strict{warnings}"),
        Some(site) => {
            let points: usize = site.devices.iter().map(|device| device.points.len()).sum();
            let (buses, devices) = (site.buses.len(), site.devices.len());
            format!("{file}: sound. Site {}: buses {buses}, devices {devices}, points {points}{warnings}", site.id)
        }
    }
}
