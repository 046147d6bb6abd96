//! `gatehouse rules test`: made-up readings in, expected alarms out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gatehouse_config::units::duration_text;
use gatehouse_core::{Mono, Wall};
use gatehouse_rules::alarm::AlarmView;
use gatehouse_rules::engine::Setup;
use gatehouse_rules::words::{AlarmId, AlarmState};
use serde::Serialize;
use serde_json::json;

use super::super::{exit, load_site, print_json};
use super::scenario::{Act, Action, Expect, Instant, Scenarios, Test};
use super::stage::Stage;

/// Tests begin at 2026-01-01T00:00:00Z.
const START: Wall = Wall(1_767_225_600_000_000);

/// Arguments of `gatehouse rules test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files of tests; docs/rules.md describes them.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Prints one JSON document: ok, and each file's tests with what they found.
    #[arg(long)]
    json: bool,
}

/// One expectation that was not met.
#[derive(Debug, Serialize)]
struct Difference {
    at: String,
    what: String,
    expected: String,
    got: String,
    /// What the rule looks at, as it was then.
    values: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    name: String,
    ok: bool,
    differences: Vec<Difference>,
}

/// Runs all tests of all files.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.files {
        files.push((path, play_file(path)?));
    }
    let all = files.iter().flat_map(|(_, verdicts)| verdicts);
    let (total, failed) = (all.clone().count(), all.filter(|verdict| !verdict.ok).count());
    if args.json {
        let files: Vec<_> =
            files.iter().map(|(path, tests)| json!({ "file": path.display().to_string(), "tests": tests })).collect();
        print_json(out, &json!({ "ok": failed == 0, "files": files }))?;
    } else {
        for (path, verdicts) in &files {
            writeln!(out, "{}", path.display())?;
            verdicts.iter().try_for_each(|verdict| show(verdict, out))?;
        }
        let tests = if total == 1 { "test" } else { "tests" };
        writeln!(out, "{total} {tests}: {} ok, {failed} failed", total - failed)?;
    }
    Ok(ExitCode::from(if failed == 0 { exit::OK } else { exit::UNEXPECTED }))
}

fn play_file(path: &Path) -> anyhow::Result<Vec<Verdict>> {
    let scenarios = Scenarios::read(path)?;
    let site = load_site(&scenarios.site(path))?;
    let fresh = Stage::new(&site.rules, START)?;
    let alarms: Vec<AlarmId> = fresh.engine.alarms().list().map(|view| view.id).collect();
    let tests = scenarios.tests(&site.rules.catalog, &alarms)?;
    tests.iter().map(|test| play(test, &site.rules)).collect()
}

fn show(verdict: &Verdict, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "  {}  {}", if verdict.ok { "ok    " } else { "FAILED" }, verdict.name)?;
    for Difference { at, what, expected, got, values } in &verdict.differences {
        writeln!(out, "          at {at}, {what}: expected {expected}, got {got}")?;
        for value in values {
            writeln!(out, "            {value}")?;
        }
    }
    Ok(())
}

/// Plays one test from its first instant to its last. Devices answer and the link is up where the test says nothing.
fn play(test: &Test, setup: &std::sync::Arc<Setup>) -> anyhow::Result<Verdict> {
    let mut stage = Stage::new(setup, START)?;
    let told = test.instants.get(&Mono(0)).map(|first| &first.online);
    for (device, _) in setup.catalog.devices_with_ix() {
        if told.is_none_or(|told| !told.contains_key(&device)) {
            stage.online(device, true, "");
        }
    }
    let mut differences = Vec::new();
    for (at, instant) in &test.instants {
        stage.advance(*at)?;
        happen(&mut stage, instant);
        stage.finish_instant()?;
        for act in &instant.acts {
            if let Err(why) = perform(&mut stage, act) {
                let what = format!("{} {}", act.action.as_str(), act.alarm);
                let (expected, got) = ("that it is done".to_owned(), format!("a refusal: {why}"));
                differences.push(Difference { at: time(*at), what, expected, got, values: Vec::new() });
            }
        }
        stage.finish_instant()?;
        for expect in &instant.expects {
            compare(&stage, setup, *at, expect, &mut differences);
        }
    }
    Ok(Verdict { name: test.name.clone(), ok: differences.is_empty(), differences })
}

fn happen(stage: &mut Stage, instant: &Instant) {
    if let Some(up) = instant.link {
        stage.link(up);
    }
    for (device, online) in &instant.online {
        stage.online(*device, *online, "timeout");
    }
    for (device, readings) in &instant.readings {
        stage.sample(*device, readings.clone());
    }
}

fn perform(stage: &mut Stage, act: &Act) -> Result<(), String> {
    let occurrence = stage.engine.alarms().view(&act.alarm).and_then(|view| view.occurrence);
    let args = match (act.action, act.minutes) {
        (Action::Acknowledge, _) => {
            let occurrence = occurrence.ok_or("it was never raised")?;
            json!({ "occurrence": occurrence.0.to_string() })
        }
        (Action::Shelve, minutes) => json!({ "minutes": minutes.unwrap_or_default().to_string() }),
        (Action::Reset | Action::Unshelve | Action::RemoveFromService | Action::ReturnToService, _) => json!({}),
    };
    stage.command(&format!("alarm:{}", act.alarm), act.action.as_str(), &args)
}

fn compare(stage: &Stage, setup: &Setup, at: Mono, expect: &Expect, differences: &mut Vec<Difference>) {
    match expect {
        Expect::Alarm { id, state, message, pending, occurrences } => {
            let Some(view) = stage.engine.alarms().view(id) else { return };
            let mut differ = |what: &str, expected: String, got: String| {
                let what = format!("{what} of {id}");
                differences.push(Difference {
                    at: time(at),
                    what,
                    expected,
                    got,
                    values: values(stage, setup, at, id),
                });
            };
            if let Some(state) = state.filter(|state| *state != view.state) {
                let pending = if view.pending { " (its condition holds, its on-delay runs)" } else { "" };
                differ("state", word(state), format!("{}{pending}", word(view.state)));
            }
            if let Some(message) = message.as_ref().filter(|message| **message != view.message) {
                differ("message", format!("{message:?}"), format!("{:?}", view.message));
            }
            if let Some(pending) = pending.filter(|pending| *pending != view.pending) {
                differ("pending", pending.to_string(), view.pending.to_string());
            }
            if let Some(count) = occurrences.filter(|count| *count != view.occurrences) {
                differ("occurrences", count.to_string(), view.occurrences.to_string());
            }
        }
        Expect::All(ids) => {
            let list = stage.engine.alarms().list();
            // At rest under a parent's alarm is at rest.
            let at_rest = |view: &AlarmView| {
                view.state == AlarmState::Normal || view.state == AlarmState::Suppressed && !view.active
            };
            let got: Vec<AlarmId> = list.filter(|view| !at_rest(view)).map(|view| view.id).collect();
            if got != *ids {
                let names = |ids: &[AlarmId]| {
                    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                };
                let values = got.iter().chain(ids).flat_map(|id| values(stage, setup, at, id)).collect();
                let what = "alarms that are not normal".to_owned();
                differences.push(Difference { at: time(at), what, expected: names(ids), got: names(&got), values });
            }
        }
    }
}

/// What the rule of an alarm looks at, as it is now.
fn values(stage: &Stage, setup: &Setup, now: Mono, id: &AlarmId) -> Vec<String> {
    let rule = setup.rules.iter().filter(|rule| rule.alarm.class == id.class).flat_map(|rule| &rule.instances);
    let Some(rule) = rule.into_iter().find(|rule| rule.source == id.source) else { return Vec::new() };
    let inputs =
        rule.when.inputs().points.iter().chain(rule.clear_when.iter().flat_map(|clear| &clear.inputs().points));
    let points: std::collections::BTreeSet<_> = inputs.collect();
    let shown = |at: &gatehouse_rules::PointRef| {
        let (device, point) = (setup.catalog.device(at.device)?, setup.catalog.point(*at)?);
        let name = format!("{}/{}", device.id, point.name);
        let Some(reading) = stage.engine.latest().reading(*at) else { return Some(format!("{name}: not read yet")) };
        let ago = now.since(reading.at);
        let age = if ago.is_zero() { "read then".to_owned() } else { format!("read {} before", duration_text(ago)) };
        Some(match &reading.value {
            Ok(value) if point.unit.is_empty() => format!("{name} = {value}, {age}"),
            Ok(value) => format!("{name} = {value} {}, {age}", point.unit),
            Err(why) => format!("{name}: no value ({why}), {age}"),
        })
    };
    points.into_iter().filter_map(shown).collect()
}

fn time(at: Mono) -> String {
    let total = Duration::from_nanos(at.0);
    let (minutes, rest) = (total.as_secs() / 60, total - Duration::from_secs(total.as_secs() / 60 * 60));
    match (minutes, rest.is_zero()) {
        (0, _) => duration_text(rest),
        (_, true) => format!("{minutes}m"),
        (_, false) => format!("{minutes}m{}", duration_text(rest)),
    }
}

fn word(state: AlarmState) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
