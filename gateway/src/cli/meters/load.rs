//! `gatehouse meters load`: what a meter recorded itself at regular times.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use gatehouse_core::LocalTime;

use crate::api::client::{self, ClientError};
use crate::api::doc::{LoadAnswer, LoadRecord};
use crate::api::server::LoadBody;
use crate::cli::{Failure, Where, block_on, check_device_id, exit, load_site, print_json, table};
use crate::daemon::direct;

/// Records of one question: at 2400 baud an answer takes some three seconds.
const AT_ONCE: u8 = 4;
/// Most records that are listed: 62 days of quarters of an hour.
const MOST: usize = 5952;
const MINUTE: Duration = Duration::from_secs(60);

/// Arguments of `gatehouse meters load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The meter, of DL/T 645-2007.
    device: String,
    /// Points; all that the meter records when none is named.
    points: Vec<String>,
    /// The first moment, by the meter's clock.
    #[arg(long, value_name = "YYYY-MM-DDThh:mm", value_parser = moment)]
    from: LocalTime,
    /// The last moment; the meter's latest record, if it is not given.
    #[arg(long, value_name = "YYYY-MM-DDThh:mm", value_parser = moment)]
    to: Option<LocalTime>,
    /// Prints the records as JSON.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<LocalTime, String> {
    LocalTime::parse_minute(text).ok_or_else(|| "write it as 2026-11-26T00:15".to_owned())
}

/// Lists records through the running daemon, or directly when none runs.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check_device_id(&args.device)?;
    if args.to.is_some_and(|to| to < args.from) {
        return Err(Failure::error(exit::USAGE, "--to is before --from".to_owned()));
    }
    let listed = async { Ok(gather(args.from, args.to, async |from: LocalTime| ask(args, from).await).await) };
    let (records, end) = block_on(listed)?;
    let answer = LoadAnswer { device: args.device.clone(), records };
    let end = match end {
        // Nothing is lost with it: the reason says by itself how it is to be taken.
        End::Broken(error) if answer.records.is_empty() => return Err(error),
        end => end,
    };
    if args.json {
        print_json(out, &answer)?;
    } else {
        show(&answer.records, out)?;
    }
    match (end, answer.records.last()) {
        (End::Broken(error), Some(last)) => {
            let text = format!("the records end with {}, though there may be later ones: {error:#}", last.at);
            return Err(Failure::error(exit::DEVICE, text));
        }
        (End::Most, Some(last)) => {
            eprintln!("gatehouse: {MOST} records are the most of one list: go on with --from behind {}", last.at);
        }
        (End::Whole | End::Most | End::Broken(_), _) => {}
    }
    if answer.records.is_empty() {
        eprintln!("gatehouse: device {} has no load record of {} or later", args.device, args.from);
        return Ok(ExitCode::from(exit::DEVICE));
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &Args, from: LocalTime) -> anyhow::Result<LoadAnswer> {
    let path = format!("/api/v1/devices/{}/load", args.device);
    let body = LoadBody { points: args.points.clone(), from: from.to_string(), count: AT_ONCE };
    match client::call(&args.at.socket(), &path, Some(serde_json::to_value(&body)?)).await {
        Ok(answer) => Ok(serde_json::from_value(answer)?),
        Err(ClientError::NoDaemon(_)) => direct::load_records(&load_site(&args.at.config)?, &args.device, &body).await,
        Err(error) => Err(error.into()),
    }
}

/// Why a list ends.
#[derive(Debug)]
enum End {
    /// The last moment is there, or the meter has no later record.
    Whole,
    /// At [`MOST`].
    Most,
    /// A question failed, or was answered with records of no time: there may be later ones.
    Broken(anyhow::Error),
}

/// Asks on until the meter has no later record, each record once and in the order of time. What was read before a
/// question failed is kept.
async fn gather(
    from: LocalTime,
    to: Option<LocalTime>,
    ask: impl AsyncFn(LocalTime) -> anyhow::Result<LoadAnswer>,
) -> (Vec<LoadRecord>, End) {
    let mut records = Vec::new();
    let mut next = Some(from);
    while let Some(first) = next.filter(|first| to.is_none_or(|to| *first <= to)) {
        if records.len() >= MOST {
            records.truncate(MOST);
            return (records, End::Most);
        }
        let answer = match ask(first).await {
            Ok(answer) => answer,
            Err(error) => return (records, End::Broken(error)),
        };
        let came = answer.records.len();
        let mut fresh: Vec<(LocalTime, LoadRecord)> =
            answer.records.into_iter().filter_map(|one| Some((LocalTime::parse_minute(&one.at)?, one))).collect();
        if came > 0 && fresh.is_empty() {
            let text = format!("device {} gave {came} records from {first} on, none with a time", answer.device);
            return (records, End::Broken(Failure::error(exit::DEVICE, text)));
        }
        fresh.retain(|(at, _)| *at >= first);
        fresh.sort_by_key(|(at, _)| *at);
        fresh.dedup_by_key(|(at, _)| *at);
        next = fresh.last().and_then(|(at, _)| at.after(MINUTE));
        records.extend(fresh.into_iter().filter(|(at, _)| to.is_none_or(|to| *at <= to)).map(|(_, one)| one));
    }
    (records, End::Whole)
}

fn show(records: &[LoadRecord], out: &mut dyn Write) -> std::io::Result<()> {
    let Some(first) = records.first() else { return Ok(()) };
    let named: Vec<String> =
        first.points.iter().map(|point| format!("{} {}", point.name, point.unit).trim().to_owned()).collect();
    let header: Vec<&str> = std::iter::once("TIME").chain(named.iter().map(String::as_str)).collect();
    let mut shown = table(&header);
    for record in records {
        let value = |point: &crate::api::doc::Point| {
            let missing = point.missing.as_ref().map(|why| format!("({why})"));
            point.value.clone().or(missing).unwrap_or_default()
        };
        shown.add_row(std::iter::once(record.at.clone()).chain(record.points.iter().map(value)));
    }
    writeln!(out, "{shown}")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn at(minute: u8) -> LocalTime {
        LocalTime::new(2026, 11, 26, 0, minute, 0).unwrap()
    }

    fn record(minute: u8) -> LoadRecord {
        let point = serde_json::json!({
            "name": "import_energy", "value": format!("{minute}.00"), "missing": null, "unit": "kWh", "age_s": null,
            "writable": false, "billing": true,
        });
        LoadRecord { at: at(minute).to_string(), points: vec![serde_json::from_value(point).unwrap()] }
    }

    fn gathered(
        from: LocalTime,
        to: Option<LocalTime>,
        ask: impl AsyncFn(LocalTime) -> anyhow::Result<LoadAnswer>,
    ) -> (Vec<LoadRecord>, End) {
        block_on(async { Ok(gather(from, to, ask).await) }).unwrap()
    }

    /// What is listed of a meter that records every five minutes up to 00:55 and gives two records at a time.
    fn listed(from: u8, to: Option<u8>) -> (Vec<String>, Vec<LocalTime>) {
        let asked = RefCell::new(Vec::new());
        let (records, end) = gathered(at(from), to.map(at), async |from: LocalTime| {
            asked.borrow_mut().push(from);
            let kept = (0..12).map(|step| 5 * step).filter(|minute| at(*minute) >= from);
            Ok(LoadAnswer { device: "m".to_owned(), records: kept.take(2).map(record).collect() })
        });
        assert!(matches!(end, End::Whole), "{end:?}");
        let times = records.into_iter().map(|one| one.at[14..].to_owned()).collect();
        (times, asked.into_inner())
    }

    #[test]
    fn records_are_asked_for_until_there_is_none_or_the_last_moment_is_there() {
        let (times, asked) = listed(41, None);
        assert_eq!(times, ["45", "50", "55"]);
        assert_eq!(asked, [at(41), at(51), at(56)], "each time from behind the last one on");
        assert_eq!(listed(3, Some(15)).0, ["05", "10", "15"]);
        assert_eq!(listed(56, None).0, [""; 0]);
    }

    #[test]
    fn a_meter_that_gives_earlier_records_is_not_asked_for_ever() {
        let asked = RefCell::new(0);
        let (records, _) = gathered(at(30), None, async |_: LocalTime| {
            *asked.borrow_mut() += 1;
            Ok(LoadAnswer { device: "m".to_owned(), records: vec![record(30), record(5), record(30)] })
        });
        assert_eq!((records.len(), asked.into_inner()), (1, 2));
    }

    #[test]
    fn a_question_that_fails_throws_no_record_away_that_came_before_and_is_told() {
        let (records, end) = gathered(at(0), None, async |from: LocalTime| {
            if from > at(30) {
                return Err(Failure::error(exit::DEVICE, "device m gave no load records (timeout)"));
            }
            Ok(LoadAnswer { device: "m".to_owned(), records: vec![record(from.minute + 5)] })
        });
        let End::Broken(error) = end else { panic!("{end:?}") };
        assert!(error.to_string().contains("timeout"), "{error}");
        assert_eq!(records.last().map(|last| last.at.as_str()), Some("2026-11-26T00:35"));
    }

    #[test]
    fn records_of_no_time_are_no_silent_end() {
        let (records, end) = gathered(at(0), None, async |from: LocalTime| {
            let undated = |one: LoadRecord| LoadRecord { at: if from > at(0) { String::new() } else { one.at }, ..one };
            Ok(LoadAnswer { device: "m".to_owned(), records: vec![undated(record(5))] })
        });
        let End::Broken(error) = end else { panic!("{end:?}") };
        assert!(error.to_string().contains("device m gave 1 records from 2026-11-26T00:06 on"), "{error}");
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn a_list_that_is_cut_at_its_bound_says_so() {
        let (records, end) = gathered(at(0), None, async |from: LocalTime| {
            let one = LoadRecord { at: from.to_string(), ..record(0) };
            Ok(LoadAnswer { device: "m".to_owned(), records: vec![one] })
        });
        assert!(matches!(end, End::Most), "{end:?}");
        assert_eq!(records.len(), MOST);
    }

    #[test]
    fn records_are_shown_with_the_units_of_their_points() {
        let mut out = Vec::new();
        show(&[record(5), record(10)], &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        let wanted =
            [vec!["TIME", "import_energy", "kWh"], vec!["2026-11-26T00:05", "5.00"], vec!["2026-11-26T00:10", "10.00"]];
        assert_eq!(lines, wanted, "{shown}");
    }
}
