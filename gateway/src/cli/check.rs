//! `gatehouse check`: every problem of a site file in one run.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use gatehouse_config::{Problem, Severity, Site, load};
use gatehouse_drivers::profile::Library;
use serde_json::{Value, json};

use super::{DEFAULT_CONFIG, degraded, exit, print_json};

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
    let ok = site.is_some() && (problems.is_empty() || !args.strict);
    if args.json {
        let summary = site.as_ref().map(summary);
        let problems: Vec<Value> = problems.iter().map(document).collect();
        print_json(out, &json!({ "ok": ok, "problems": problems, "site": summary }))?;
    } else {
        write!(out, "{}", gatehouse_config::render(&problems))?;
        writeln!(out, "{}", verdict(&args, site.as_ref(), &problems))?;
        if let Some(site) = &site {
            degraded::write(&site.degraded(), out)?;
        }
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
    json!({
        "id": site.id.as_str(), "buses": site.buses.len(), "devices": site.devices.len(), "points": points,
        "degraded": degraded::document(&site.degraded()),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, strict: bool) -> (String, Value) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("site.toml");
        std::fs::write(&config, text).unwrap();
        let mut out = Vec::new();
        let code = run(Args { config, json: true, strict }, &mut out).unwrap();
        (format!("{code:?}"), serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn every_problem_has_its_place_and_code() {
        let (code, report) = checked("[site]\nid = \"a\"\ncolour = 1\n[[bus]]\nid = \"b\"\ntcp = \"h:0\"\n", false);
        assert_eq!(code, format!("{:?}", ExitCode::from(exit::CONFIGURATION)));
        let problems = report["problems"].as_array().unwrap();
        let found: Vec<_> =
            problems.iter().map(|p| (p["line"].as_u64().unwrap(), p["code"].as_str().unwrap())).collect();
        assert!(found.contains(&(3, "gatehouse::config::unknown_key")), "{found:?}");
        assert!(found.contains(&(6, "gatehouse::config::bad_value")), "{found:?}");
    }

    #[test]
    fn a_warning_refuses_a_file_only_when_that_is_asked_for() {
        let text =
            "[site]\nid = \"a\"\n[[bus]]\nid = \"b\"\ntcp = \"h\"\n[[device]]\nid = \"d\"\nprofile = \"xy-md02\"\n";
        let (code, report) = checked(text, false);
        assert_eq!((code, &report["site"]["points"]), (format!("{:?}", ExitCode::SUCCESS), &json!(4)));
        assert_eq!(report["problems"][0]["severity"], "warning");
        let (code, _) = checked(text, true);
        assert_eq!(code, format!("{:?}", ExitCode::from(exit::CONFIGURATION)));
    }
}
