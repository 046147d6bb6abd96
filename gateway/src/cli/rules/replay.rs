//! `gatehouse rules replay`: recorded readings against the rules as they are now.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, NoData, PointReading, Stamp, Wall};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::{DEFAULT_CONFIG, Failure, exit, load_site, print_json, table};
use super::order::Merged;
use super::records::{Happened, Records, Tally};
use super::stage::Stage;

/// Arguments of `gatehouse rules replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site file whose rules are tried.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "GATEHOUSE_CONFIG")]
    site: PathBuf,
    /// Files of `records` payloads, one JSON document a line, as `mosquitto_sub` writes them; `-` is standard input.
    #[arg(value_name = "RECORD", required = true)]
    records: Vec<PathBuf>,
    /// Prints one JSON document: every transition, the alarms by class, and what was left out of the records.
    #[arg(long)]
    json: bool,
}

/// One time that a condition held.
#[derive(Debug, Serialize)]
struct Episode {
    alarm: String,
    priority: String,
    from: String,
    /// Seconds; `None` while it still holds at the end.
    lasted_s: Option<u64>,
    /// Times that it came: more than once while it chattered.
    times: u64,
    message: String,
    /// The alarm that explains it, so that nobody was told of it.
    suppressed_by: Option<String>,
    #[serde(skip)]
    since: Mono,
}

/// What a class of alarms came to.
#[derive(Debug, Default, Serialize)]
struct Class {
    /// How urgent.
    priority: String,
    /// Things that it was raised for.
    sources: u64,
    /// Times that a person would have been told.
    occurrences: u64,
    /// Seconds that the condition held, of all its alarms together.
    held_s: u64,
    /// The longest time that it held, seconds.
    longest_s: u64,
}

/// The fields of an `alarm` event that are shown here.
#[derive(Debug, Deserialize)]
struct Told {
    alarm: String,
    active: bool,
    priority: String,
    message: String,
    to: String,
    cause: Option<String>,
    #[serde(default)]
    collapsed: u64,
}

/// Replays the records and prints what would have happened.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let site = load_site(&args.site)?;
    let mut records = Records::default();
    for path in &args.records {
        let name = path.display();
        let bad = |why: String| Failure::error(exit::CONFIGURATION, format!("{name}: {why}"));
        let lines = open(path).map_err(|why| bad(format!("cannot be read: {why}")))?;
        records.take(lines, &site.id, &site.rules.catalog).map_err(bad)?;
    }
    let Records { order, tally, .. } = records;
    let mut happened = order.merge()?;
    let Some(start) = happened.peek() else {
        let message = "there is nothing to replay: no record of a device of this site, and no event about one";
        tell_tally(&tally);
        return Err(Failure::error(exit::CONFIGURATION, message));
    };
    let mut stage = Stage::new(&site.rules, start)?;
    let (end, events) = play(&mut stage, &mut happened, start)?;
    let mut diary = Diary::default();
    for (at, event) in &events {
        diary.note(at, &event.json)?;
    }
    diary.end(&stage);
    if args.json {
        let transitions = events.iter().map(|(at, event)| {
            let data: Value = serde_json::from_str(&event.json)?;
            Ok(json!({ "time": time(at.wall), "event": event.kind, "data": data }))
        });
        let transitions = transitions.collect::<anyhow::Result<Vec<_>>>()?;
        let (from, to) = (time(start), time(end));
        let document = json!({
            "from": from, "to": to, "transitions": transitions, "alarms": diary.episodes, "classes": diary.classes,
            "records": tally,
        });
        print_json(out, &document)?;
    } else {
        diary.show(out, (start, end), &tally)?;
        tell_tally(&tally);
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(std::fs::File::open(path)?)))
}

/// Has everything happen at its time; when the last thing happened, and the events of alarms.
fn play(
    stage: &mut Stage,
    happened: &mut Merged,
    start: Wall,
) -> anyhow::Result<(Wall, Vec<(Stamp, gatehouse_core::Event)>)> {
    let mut end = start;
    while let Some((at, now)) = happened.next()? {
        end = at;
        let micros = u64::try_from(at.0.saturating_sub(start.0)).unwrap_or(0);
        stage.advance(Mono(micros.saturating_mul(1000)))?;
        match now {
            Happened::Link(up) => stage.link(up),
            Happened::Device(device, online, why) => stage.online(device, online, &why),
            Happened::Sample(device, readings) => sample(stage, device, readings),
        }
        if happened.peek().is_none_or(|next| next > at) {
            stage.finish_instant()?;
        }
    }
    Ok((end, stage.take_events()))
}

/// A sample also tells whether the device answers, for records without the audit lane.
fn sample(stage: &mut Stage, device: DeviceIx, readings: Vec<PointReading>) {
    let answers = readings.iter().any(|reading| reading.value.is_ok());
    let lost = readings.iter().all(|reading| reading.value == Err(NoData::DeviceOffline));
    match (stage.is_online(device), answers, lost) {
        (None | Some(false), true, _) => stage.online(device, true, ""),
        (None | Some(true), _, true) => stage.online(device, false, "device_offline"),
        (None | Some(true), _, false) | (Some(false), false, _) => {}
    }
    stage.sample(device, readings);
}

/// What happened to each alarm.
#[derive(Debug, Default)]
struct Diary {
    episodes: Vec<Episode>,
    /// The episode of each alarm whose condition holds.
    open: BTreeMap<String, usize>,
    classes: BTreeMap<String, Class>,
}

impl Diary {
    fn note(&mut self, at: &Stamp, json: &str) -> anyhow::Result<()> {
        let document: Value = serde_json::from_str(json)?;
        // Floods and the beginning and end of chattering are no change of one alarm.
        if document.get("change").is_none() {
            return Ok(());
        }
        let told: Told = serde_json::from_value(document)?;
        let open = self.open.get(&told.alarm).copied().and_then(|ix| self.episodes.get_mut(ix));
        match (open, told.active) {
            (Some(episode), true) => {
                episode.times += told.collapsed / 2;
                episode.suppressed_by = told.cause.filter(|_| told.to == "suppressed");
            }
            (Some(episode), false) => {
                episode.lasted_s = Some(at.mono.since(episode.since).as_secs());
                self.open.remove(&told.alarm);
            }
            (None, true) => {
                self.open.insert(told.alarm.clone(), self.episodes.len());
                self.episodes.push(Episode {
                    suppressed_by: told.cause.filter(|_| told.to == "suppressed"),
                    alarm: told.alarm,
                    priority: told.priority,
                    from: time(at.wall),
                    lasted_s: None,
                    times: 1 + told.collapsed / 2,
                    message: told.message,
                    since: at.mono,
                });
            }
            (None, false) => {}
        }
        Ok(())
    }

    /// Sums up, with the exact counts of the engine.
    fn end(&mut self, stage: &Stage) {
        let now = stage.stamp().mono;
        for episode in &self.episodes {
            let class = episode.alarm.split('/').next().unwrap_or_default().to_owned();
            let class = self.classes.entry(class).or_default();
            let held = episode.lasted_s.unwrap_or_else(|| now.since(episode.since).as_secs());
            class.priority.clone_from(&episode.priority);
            class.held_s += held;
            class.longest_s = class.longest_s.max(held);
        }
        for view in stage.engine.alarms().list().filter(|view| view.occurrences > 0) {
            if let Some(class) = self.classes.get_mut(&view.id.class) {
                class.sources += 1;
                class.occurrences += view.occurrences;
            }
        }
    }

    fn show(&self, out: &mut dyn Write, (start, end): (Wall, Wall), tally: &Tally) -> anyhow::Result<()> {
        writeln!(out, "{} records from {} to {}\n", tally.replayed, time(start), time(end))?;
        if self.episodes.is_empty() {
            writeln!(out, "no alarm")?;
            return Ok(());
        }
        let mut alarms = table(&["FROM", "LASTED", "PRIORITY", "ALARM", "TIMES", "MESSAGE"]);
        for episode in &self.episodes {
            let lasted = episode.lasted_s.map_or_else(|| "still on".to_owned(), span);
            let message = match &episode.suppressed_by {
                Some(cause) => format!("{} (explained by {cause})", episode.message),
                None => episode.message.clone(),
            };
            let times = episode.times.to_string();
            alarms.add_row([&episode.from, &lasted, &episode.priority, &episode.alarm, &times, &message]);
        }
        writeln!(out, "{alarms}\n")?;
        let mut classes = table(&["CLASS", "PRIORITY", "SOURCES", "OCCURRENCES", "HELD", "LONGEST"]);
        for (name, class) in &self.classes {
            let (sources, times) = (class.sources.to_string(), class.occurrences.to_string());
            classes.add_row([name, &class.priority, &sources, &times, &span(class.held_s), &span(class.longest_s)]);
        }
        writeln!(out, "{classes}")?;
        Ok(())
    }
}

/// Tells on stderr what was left out.
fn tell_tally(tally: &Tally) {
    let tell = |count: u64, what: &str| {
        if count > 0 {
            eprintln!("left out: {count} {what}");
        }
    };
    tell(tally.repeated, "records that came twice");
    tell(tally.other_boxes, "messages of other boxes");
    tell(tally.gaps, "gaps, where the box had lost records");
    tell(tally.without_time, "records from before the box knew the time");
    tell(tally.bad_values, "values that are none for their point");
    for (name, count) in &tally.unknown_devices {
        tell(*count, &format!("records of `{name}`, which the site does not have"));
    }
    for (name, count) in &tally.unknown_points {
        tell(*count, &format!("values of `{name}`, which the site does not have"));
    }
}

fn time(at: Wall) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |time| format!("{time:.0}"))
}

/// Seconds as `1h02m03s`.
fn span(seconds: u64) -> String {
    let whole = Duration::from_secs(seconds).as_secs();
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, s) => format!("{h}h{m:02}m{s:02}s"),
    }
}
