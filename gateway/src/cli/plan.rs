//! `gatehouse plan`: the requests, the load of every bus and the bytes of the link, before anything runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use gatehouse_config::forecast::{self, Assumptions, BusForecast, Changes, LinkForecast, RequestForecast};
use gatehouse_config::units::duration_text;
use gatehouse_config::{Bus, PortKind, Site};
use gatehouse_drivers::summary::Asked;
use gatehouse_rules::report::Policy;
use serde_json::{Value, json};

use super::{DEFAULT_CONFIG, exit, human_bytes, load_site, print_json, table};

/// A bus that is busier than this share of the time gets a warning.
const BUSY: f64 = 0.8;
/// A link that takes more bytes than this in a month gets advice.
const COSTLY: f64 = 1e9;

/// Arguments of `gatehouse plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site file.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "GATEHOUSE_CONFIG")]
    config: PathBuf,
    /// Predicts each bus also with this many dead devices: those whose loss costs most.
    #[arg(long, value_name = "K", default_value_t = 1)]
    dead: usize,
    /// How often points with a deadband or reported on change move, in percent of their polls.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = percent)]
    moves: f64,
    /// Accepts a bus that cannot do all its polls; some are then skipped, evenly.
    #[arg(long)]
    allow_overload: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches('%').parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("0 to 100 is wanted".to_owned()) }
}

/// Prints the plan; refuses a bus with more polls than time.
pub(crate) fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let site = load_site(&args.config)?;
    let buses: Vec<_> = (0..site.buses.len()).filter_map(|at| forecast::bus(&site, at, args.dead)).collect();
    let link = forecast::link(&site, Assumptions { moves: args.moves / 100.0 });
    let troubles: Vec<(bool, String)> =
        site.buses.iter().zip(&buses).filter_map(|(bus, forecast)| trouble(bus, forecast)).collect();
    let over = troubles.iter().any(|(over, _)| *over) && !args.allow_overload;
    if args.json {
        let documents: Vec<Value> =
            site.buses.iter().zip(&buses).map(|(bus, forecast)| bus_document(&site, bus, forecast)).collect();
        let warnings: Vec<&str> = troubles.iter().map(|(_, text)| text.as_str()).collect();
        let link = link.as_ref().map(|link| link_document(link, args.moves, advice(&site, link)));
        print_json(out, &json!({ "ok": !over, "warnings": warnings, "buses": documents, "link": link }))?;
    } else {
        for (bus, forecast) in site.buses.iter().zip(&buses) {
            write_bus(&site, bus, forecast, out)?;
        }
        write_link(&site, link.as_ref(), args.moves, out)?;
        for (_, text) in &troubles {
            eprintln!("gatehouse: {text}");
        }
        if over {
            eprintln!("gatehouse: refused; with --allow-overload it is only a warning");
        }
    }
    Ok(ExitCode::from(if over { exit::CONFIGURATION } else { exit::OK }))
}

/// What is wrong with a bus, and whether it is refused for it.
fn trouble(bus: &Bus, forecast: &BusForecast) -> Option<(bool, String)> {
    let load = forecast.load.max(forecast.load_with_dead);
    if load <= BUSY {
        return None;
    }
    let percent = load * 100.0;
    let advice = match (&bus.port, bus.wire) {
        (PortKind::Serial { .. }, Some(wire)) if wire.baud < 19_200 => {
            "read less often, fewer points, split the bus, or raise the baud rate"
        }
        _ => "read less often, fewer points, or split the bus",
    };
    let text = if load > 1.0 {
        format!("bus {}: its polls need {percent:.0} % of its time and some will be skipped: {advice}", bus.id)
    } else {
        format!("bus {}: busy {percent:.0} % of its time, little is left for repeats and commands: {advice}", bus.id)
    };
    Some((load > 1.0, text))
}

fn write_bus(site: &Site, bus: &Bus, forecast: &BusForecast, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "bus {} at {}{}", bus.id, bus.port, speed(bus))?;
    let mut rows = table(&["DEVICE", "ADDRESS", "EVERY", "REQUEST", "POINTS", "BYTES", "TIME"]);
    for device in &forecast.devices {
        let Some(config) = site.devices.get(device.device) else { continue };
        for request in &device.requests {
            rows.add_row([
                config.id.as_str(),
                &config.station.to_string(),
                &duration_text(request.interval),
                &request.step.asked.to_string(),
                &request.step.points.len().to_string(),
                &format!("{} + {}", request.step.request_bytes, request.step.reply_bytes),
                &millis(request.time),
            ]);
        }
    }
    writeln!(out, "{rows}")?;
    if let Some(Changes { settings, guard, per_second, load }) = forecast.changes {
        let (guard, load) = (millis(guard), load * 100.0);
        let often = match per_second * 60.0 {
            minute if minute < 10.0 => format!("{minute:.1}"),
            minute => format!("{minute:.0}"),
        };
        writeln!(
            out,
            "{settings} line settings on one pair: {settings} changes of {guard} in a round, at most {often} a minute, \
             {load:.1} % of the line"
        )?;
    }
    writeln!(out, "load {:.1} %, everything once in {}", forecast.load * 100.0, millis(forecast.round))?;
    if forecast.dead > 0 {
        let (dead, load) = (forecast.dead, forecast.load_with_dead * 100.0);
        let hold_up = millis(forecast.hold_up);
        writeln!(out, "with {dead} dead: load {load:.1} %, held up for {hold_up} in all until that is known")?;
    }
    writeln!(out)?;
    Ok(())
}

fn speed(bus: &Bus) -> String {
    let turnaround = duration_text(bus.turnaround);
    match &bus.wire {
        Some(wire) => format!(", {} baud, {} bits a character, turnaround {turnaround}", wire.baud, wire.char_bits),
        None => format!(", Modbus TCP, round trip {turnaround}"),
    }
}

fn millis(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 10.0 => format!("{s:.0} s"),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.1} ms", s * 1e3),
    }
}

fn write_link(site: &Site, link: Option<&LinkForecast>, moves: f64, out: &mut dyn Write) -> anyhow::Result<()> {
    let (Some(link), Some(settings)) = (link, &site.uplink) else {
        writeln!(out, "link: none, there is no [uplink]")?;
        return Ok(());
    };
    writeln!(
        out,
        "link: {:.1} MB a month ({:.1} MB payload), {:.0} messages with {:.0} records",
        link.bytes / 1e6,
        link.payload_bytes / 1e6,
        link.messages,
        link.records
    )?;
    writeln!(
        out,
        "      taken: no outage, points with deadbands or on change move in {moves} % of their polls (--moves)"
    )?;
    if let Some(budget) = settings.daily_telemetry_bytes {
        let daily = whole(link.telemetry_bytes / 30.0);
        let verdict = if daily > budget { "more than" } else { "within" };
        let (daily, budget) = (human_bytes(daily), human_bytes(budget));
        writeln!(out, "      telemetry takes {daily} a day, {verdict} its budget of {budget}")?;
    }
    if let Some(advice) = advice(site, link) {
        writeln!(out, "      {advice}")?;
    }
    Ok(())
}

/// What would make a costly link cheaper and is not used yet.
fn advice(site: &Site, link: &LinkForecast) -> Option<String> {
    let settings = site.uplink.as_ref().filter(|_| link.bytes > COSTLY)?;
    let mut points = site.devices.iter().flat_map(|device| &device.points);
    let bands = points.any(|point| matches!(point.report, Policy::DeadBand { .. }));
    let means = [
        (settings.batch_window.is_zero(), "batch_window = \"1m\" in [uplink]"),
        (!settings.compress, "compress = true in [uplink]"),
        (!bands, "a deadband for each unit in [report]"),
    ];
    let unused: Vec<&str> = means.iter().filter(|(unused, _)| *unused).map(|(_, means)| *means).collect();
    let list = unused.join(", ");
    (!unused.is_empty())
        .then(|| format!("more than 1 GB a month; what makes it less: {list} (examples/metered-link.toml)"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes for people")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

fn bus_document(site: &Site, bus: &Bus, forecast: &BusForecast) -> Value {
    let request = |request: &RequestForecast| {
        let mut document = json!({
            "points": request.step.points.len(), "request_bytes": request.step.request_bytes,
            "reply_bytes": request.step.reply_bytes, "interval_s": request.interval.as_secs_f64(),
            "time_s": request.time.as_secs_f64(),
        });
        match request.step.asked {
            Asked::Modbus { table, address, count } => {
                document["table"] = table.as_str().into();
                document["address"] = address.into();
                document["count"] = count.into();
            }
            Asked::Osdp { .. } => {}
            Asked::Uhppote { function } => document["function"] = function.into(),
            Asked::Dlt645 { .. } | Asked::Cjt188 { .. } => {
                document["identifier"] = request.step.asked.to_string().into();
            }
        }
        document
    };
    let devices = forecast.devices.iter().filter_map(|device| {
        let config = site.devices.get(device.device)?;
        let requests: Vec<Value> = device.requests.iter().map(request).collect();
        Some(json!({ "id": config.id.as_str(), "address": config.station.to_string(), "load": device.load, "requests": requests }))
    });
    json!({
        "id": bus.id.as_str(), "port": bus.port.to_string(), "load": forecast.load,
        "round_s": forecast.round.as_secs_f64(), "dead": forecast.dead, "load_with_dead": forecast.load_with_dead,
        "hold_up_s": forecast.hold_up.as_secs_f64(), "changes": forecast.changes.map(changes_document), "devices": devices.collect::<Vec<_>>(),
    })
}

fn changes_document(changes: Changes) -> Value {
    json!({
        "settings": changes.settings, "guard_s": changes.guard.as_secs_f64(), "per_second": changes.per_second,
        "load": changes.load,
    })
}

fn link_document(link: &LinkForecast, moves: f64, advice: Option<String>) -> Value {
    json!({
        "mb_per_month": link.bytes / 1e6, "payload_mb_per_month": link.payload_bytes / 1e6,
        "telemetry_mb_per_month": link.telemetry_bytes / 1e6, "messages_per_month": link.messages,
        "records_per_month": link.records, "moves_percent": moves, "advice": advice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: &str = r#"
[site]
id = "x"
[[bus]]
id = "slow"
usb = "0403:6001"
baud = 2400
[[device]]
id = "meter"
unit = 1
profile = "eastron-sdm630"
interval = "500ms"
"#;

    fn planned(text: &str, allow_overload: bool) -> (String, Value) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("site.toml");
        std::fs::write(&config, text).unwrap();
        let mut out = Vec::new();
        let args = Args { config, dead: 1, moves: 10.0, allow_overload, json: true };
        let code = run(args, &mut out).unwrap();
        (format!("{code:?}"), serde_json::from_slice(&out).unwrap())
    }

    fn code(code: u8) -> String {
        format!("{:?}", ExitCode::from(code))
    }

    #[test]
    fn a_bus_with_more_polls_than_time_is_refused_unless_that_is_allowed() {
        let (refused, plan) = planned(SLOW, false);
        assert_eq!((refused, &plan["ok"]), (code(exit::CONFIGURATION), &json!(false)));
        assert!(plan["warnings"][0].as_str().unwrap().contains("bus slow: its polls need"), "{plan}");
        let (allowed, plan) = planned(SLOW, true);
        assert_eq!((allowed, &plan["ok"]), (code(exit::OK), &json!(true)));
    }

    #[test]
    fn devices_that_differ_in_their_line_settings_cost_a_change_for_each_settings_and_round() {
        let one = SLOW.replace("500ms", "60s");
        assert_eq!(planned(&one, false).1["buses"][0]["changes"], Value::Null);
        let two = format!("{one}{}", one.split("[[device]]").nth(1).map(|d| format!("[[device]]{d}")).unwrap());
        let two = two.replacen("unit = 1", "unit = 2\nbaud = 9600\nparity = \"even\"", 1).replacen(
            "\"meter\"",
            "\"other\"",
            1,
        );
        let (_, plan) = planned(&two, false);
        let bus = &plan["buses"][0];
        let expected = json!({ "settings": 2, "guard_s": 0.05, "per_second": 2.0 / 60.0, "load": 0.1 / 60.0 });
        assert_eq!(bus["changes"], expected, "{plan}");
        let requests: f64 =
            bus["devices"].as_array().unwrap().iter().map(|device| device["load"].as_f64().unwrap()).sum();
        assert!((bus["load"].as_f64().unwrap() - requests - 0.1 / 60.0).abs() < 1e-9);
    }

    #[test]
    fn a_busy_bus_is_warned_of_and_a_quiet_one_is_not() {
        // 876.7 ms of requests: see the lengths in the plan.
        let (code_busy, plan) = planned(&SLOW.replace("500ms", "1s"), false);
        assert_eq!((code_busy, plan["warnings"].as_array().unwrap().len()), (code(exit::OK), 1));
        let (_, plan) = planned(&SLOW.replace("500ms", "10s"), false);
        assert_eq!(plan["warnings"], json!([]));
        assert_eq!(plan["buses"][0]["devices"][0]["requests"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_costly_link_is_told_what_it_does_not_use_yet() {
        let advice = |uplink: &str, interval: &str| {
            let text =
                SLOW.replace("[[bus]]", &format!("[uplink]\nbrokers = [\"mqtts://core.example\"]\n{uplink}\n[[bus]]"));
            planned(&text.replace("500ms", interval), true).1["link"]["advice"].clone()
        };
        let all = advice("", "500ms");
        let all = all.as_str().unwrap();
        assert!(all.contains("batch_window = ") && all.contains("compress = ") && all.contains("a deadband"), "{all}");
        let rest = advice("compress = true", "500ms");
        assert!(!rest.as_str().unwrap().contains("compress = "), "{rest}");
        assert_eq!(advice("", "10m"), Value::Null);
    }

    #[test]
    fn a_share_of_moves_is_a_percentage() {
        assert_eq!(percent("2.5%"), Ok(2.5));
        assert!(percent("101").is_err() && percent("much").is_err());
    }
}
