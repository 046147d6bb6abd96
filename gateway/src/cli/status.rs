//! `gatehouse status`, `spool` and `reload`: what a running daemon says of itself.

use std::io::Write;
use std::process::ExitCode;

use super::{Where, block_on, human_age, human_bytes, print_json, table};
use crate::api::{client, doc};

/// Arguments of `gatehouse status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    at: Where,
    /// Prints the document of `GET /api/v1/status`.
    #[arg(long)]
    json: bool,
}

/// Arguments of `gatehouse spool`.
#[derive(Debug, clap::Args)]
pub(crate) struct SpoolArgs {
    #[command(flatten)]
    at: Where,
    /// Prints the document of `GET /api/v1/spool`.
    #[arg(long)]
    json: bool,
}

/// Arguments of `gatehouse reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    at: Where,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Shows buses, devices, spool and link.
pub(crate) fn status(args: &StatusArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/status", None).await?) })?;
    if args.json {
        print_json(out, &answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status: doc::Status = serde_json::from_value(answer)?;
    writeln!(
        out,
        "{} {}  gatehouse {}, up {}",
        status.box_id,
        status.title,
        status.version,
        human_age(status.uptime_s)
    )?;
    writeln!(out, "clock {} ({})\n", status.clock.time, status.clock.trust)?;
    write_buses(&status, out)?;
    write_devices(&status, out)?;
    if let Some(link) = &status.uplink {
        let error = link.error.as_deref().map(|e| format!("; last trouble: {e}")).unwrap_or_default();
        writeln!(out, "link {} for {}: {}{error}", link.state, human_age(link.since_s), link.broker)?;
    }
    write_spool(&status.spool, out)?;
    write_controllers(&status, out)?;
    for wish in &status.wishes {
        writeln!(out, "{}", wish_line(wish))?;
    }
    for message in &status.guard {
        writeln!(out, "{}", guard_line(message))?;
    }
    for trouble in &status.troubles {
        writeln!(out, "! {trouble}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `!! P0 ticket 17: Somebody is trapped in lift 2 (3, basement) - Call the fire brigade`
fn guard_line(message: &doc::GuardMessage) -> String {
    let part = |before: &str, text: &str, after: &str| {
        if text.is_empty() { String::new() } else { format!("{before}{text}{after}") }
    };
    let drill = if message.drill { "DRILL: " } else { "" };
    let also = if message.message == message.title { "" } else { &message.message };
    format!(
        "!! {drill}{} ticket {}: {}{}{}{}",
        message.priority.to_uppercase(),
        message.ticket,
        message.title,
        part(": ", also, ""),
        part(" (", &message.place, ")"),
        part(" - ", &message.instruction, ""),
    )
}

/// `wish: meter-101 on again (permit), by desk-3, until 2026-11-26T12:00:00.000Z: it waits for its device`
fn wish_line(wish: &doc::Wish) -> String {
    let doc::Wish { device, how, issuer, asked, refusals, until } = wish;
    let told = match (asked, refusals) {
        (true, _) => "it was told, and nobody knows yet".to_owned(),
        (false, 0) => "it waits for its device".to_owned(),
        (false, refusals) => format!("it has refused, {refusals} times so far"),
    };
    format!("wish: {device} on again ({how}), by {issuer}, until {until}: {told}")
}

fn write_controllers(status: &doc::Status, out: &mut dyn Write) -> anyhow::Result<()> {
    if status.controllers.is_empty() {
        return Ok(());
    }
    let mut controllers = table(&["CONTROLLER", "EVENTS", "WAITING", "LOST", "FAILURES", "CARDS"]);
    for controller in &status.controllers {
        controllers.add_row([
            controller.controller.clone(),
            controller.taken.map_or_else(|| "-".to_owned(), |taken| taken.to_string()),
            controller.waiting.to_string(),
            controller.lost.to_string(),
            controller.failures.to_string(),
            controller.cards.as_ref().map_or_else(|| "kept by others".to_owned(), cards_text),
        ]);
    }
    writeln!(out, "{controllers}")?;
    Ok(())
}

/// `walking at 120, 100 of 412 of version 17, not expressible: schedule 3`
fn cards_text(list: &doc::CardList) -> String {
    let mut text = list.state.clone();
    for part in [list.place.map(|place| format!(" at {place}")), list.why.as_ref().map(|why| format!(" ({why})"))] {
        text.extend(part);
    }
    if let Some(version) = list.version {
        text.push_str(&format!(", {} of {} of version {version}", list.listed, list.cards));
    }
    for (count, what) in [(list.refused, "not taken"), (list.stay, "not let go")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if !list.not_expressible.is_empty() {
        let reasons: Vec<String> = list.not_expressible.iter().map(|(why, count)| format!("{why} {count}")).collect();
        text.push_str(&format!(", not expressible: {}", reasons.join(", ")));
    }
    text
}

fn write_buses(status: &doc::Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut buses = table(&["BUS", "PORT", "STATE", "LOAD", "REQUESTS", "TIMEOUTS", "REJECTED", "LATE", "SKIPPED"]);
    for bus in &status.buses {
        let state =
            if bus.open { "open".to_owned() } else { bus.error.clone().unwrap_or_else(|| "opening".to_owned()) };
        buses.add_row([
            bus.id.clone(),
            bus.port.clone(),
            state,
            format!("{:.0} %", bus.load_percent),
            bus.transactions.to_string(),
            bus.timeouts.to_string(),
            bus.rejected.values().sum::<u64>().to_string(),
            bus.late.to_string(),
            bus.skipped.to_string(),
        ]);
    }
    writeln!(out, "{buses}\n")?;
    Ok(())
}

fn write_devices(status: &doc::Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut devices = table(&["DEVICE", "BUS", "ADDRESS", "STATE", "FOR", "SAMPLES", "TITLE"]);
    for device in &status.devices {
        let why = device.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        devices.add_row([
            device.id.clone(),
            if device.bus.is_empty() { "-".to_owned() } else { device.bus.clone() },
            if device.address.is_empty() { "-".to_owned() } else { device.address.clone() },
            format!("{}{why}", device.state),
            human_age(device.since_s),
            device.samples.to_string(),
            device.title.clone(),
        ]);
    }
    writeln!(out, "{devices}\n")?;
    Ok(())
}

/// Shows what is held.
pub(crate) fn spool(args: &SpoolArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/spool", None).await?) })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        write_spool(&serde_json::from_value(answer)?, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_spool(spool: &doc::Spool, out: &mut dyn Write) -> anyhow::Result<()> {
    let free = spool.free_bytes.map(|b| format!(", {} free on the disk", human_bytes(b))).unwrap_or_default();
    writeln!(out, "spool {} of {} used{free}", human_bytes(spool.bytes), human_bytes(spool.max_bytes))?;
    let mut lanes = table(&["LANE", "HELD", "OLDEST", "NEWEST", "LOST"]);
    for lane in &spool.lanes {
        lanes.add_row([
            lane.lane.clone(),
            lane.held.to_string(),
            lane.oldest.clone().unwrap_or_else(|| "-".to_owned()),
            lane.newest.to_string(),
            lane.lost.to_string(),
        ]);
    }
    writeln!(out, "{lanes}")?;
    Ok(())
}

/// Makes the daemon load its site file anew.
pub(crate) fn reload(args: &ReloadArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let body = Some(serde_json::json!({}));
    let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/reload", body).await?) })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        writeln!(out, "{}", answer.get("message").and_then(|m| m.as_str()).unwrap_or("reloaded"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cards_and_a_wish_are_one_line_each() {
        let mut list = doc::CardList {
            state: "walking".to_owned(),
            why: None,
            version: Some(17),
            cards: 412,
            listed: 100,
            refused: 0,
            stay: 0,
            place: Some(120),
            not_expressible: [("schedule".to_owned(), 3)].into(),
        };
        assert_eq!(cards_text(&list), "walking at 120, 100 of 412 of version 17, not expressible: schedule 3");
        (list.state, list.place, list.refused) = ("unequal".to_owned(), None, 2);
        list.not_expressible.clear();
        assert_eq!(cards_text(&list), "unequal, 100 of 412 of version 17, 2 not taken");
        (list.state, list.why, list.version, list.refused) =
            ("unsaid".to_owned(), Some("clock_unset".to_owned()), None, 0);
        assert_eq!(cards_text(&list), "unsaid (clock_unset)");
        let wish = doc::Wish {
            device: "meter-101".to_owned(),
            how: "permit".to_owned(),
            issuer: "desk-3".to_owned(),
            asked: false,
            refusals: 0,
            until: "2026-11-26T12:00:00.000Z".to_owned(),
        };
        let told =
            "wish: meter-101 on again (permit), by desk-3, until 2026-11-26T12:00:00.000Z: it waits for its device";
        assert_eq!(wish_line(&wish), told);
    }

    #[test]
    fn a_message_for_the_guard_is_one_line_with_place_and_instruction() {
        let mut message = doc::GuardMessage {
            ticket: 17,
            priority: "p0".to_owned(),
            title: "Somebody is trapped in a lift".to_owned(),
            message: "lift 2 calls".to_owned(),
            instruction: "Call the lift service".to_owned(),
            place: "3, basement".to_owned(),
            since: "2026-11-23T10:00:00.000Z".to_owned(),
            drill: false,
        };
        let expected =
            "!! P0 ticket 17: Somebody is trapped in a lift: lift 2 calls (3, basement) - Call the lift service";
        assert_eq!(guard_line(&message), expected);
        message = doc::GuardMessage {
            message: message.title.clone(),
            instruction: String::new(),
            place: String::new(),
            drill: true,
            ..message
        };
        assert_eq!(guard_line(&message), "!! DRILL: P0 ticket 17: Somebody is trapped in a lift");
    }
}
