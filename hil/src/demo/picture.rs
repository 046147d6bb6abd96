//! The demo as a live picture of the site in the terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Table, Wrap};

use super::script::Script;
use super::site::{Device, GATES, LatestRecord, Role, Site};
use super::traffic::Account;
use super::watch::{gate_words, ticket_words};
use super::world::World;
use crate::receive::Tally;
use crate::rig::{Decided, Link, Status};
use crate::sim_clock::wall_us;

/// Time from one picture to the next.
const FRAME: Duration = Duration::from_millis(250);
const KEYS: &str = " c cut/mend the link   f freeze it   s silence the next device   u surge   o guard opens   r card at the \
                    door   x fire   a/b noise   q quit ";
/// Lines for the gates, alarms and tickets, with the frame.
const DECIDED: u16 = 11;
/// Tickets that are over are shown where there is room, the newest first.
const TICKETS: usize = 3;

/// Shows the picture until the time is over or `q` is pressed.
pub(super) fn show(world: &mut World, run_for: Option<Duration>) -> anyhow::Result<()> {
    let mut script = world.script(run_for);
    let mut terminal = ratatui::try_init()?;
    let mut rate = Rate::default();
    let result = loop {
        let over = run_for.is_some_and(|length| world.began.elapsed() >= length);
        if world.interrupted() || over && script.as_ref().is_none_or(Script::is_over) {
            break Ok(());
        }
        if let Some(script) = &mut script {
            script.play(world);
        }
        world.observe();
        rate.step(world);
        let (status, tally) = (world.status(), world.tally.with(|tally| tally.clone()));
        if let Err(error) = terminal.draw(|frame| draw(frame, world, &status, &tally, rate.per_second)) {
            break Err(error);
        }
        match event::poll(FRAME).and_then(|ready| if ready { event::read().map(Some) } else { Ok(None) }) {
            Ok(Some(Event::Key(key))) if handle_key(world, key) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    ratatui::restore();
    Ok(result?)
}

/// Acts on a key; true to quit.
fn handle_key(world: &mut World, key: KeyEvent) -> bool {
    if key.kind != KeyEventKind::Press {
        return false;
    }
    let link = world.proxy.link();
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('c') => world.set_link(if link == Link::Up { Link::Cut } else { Link::Up }),
        KeyCode::Char('f') => world.set_link(if link == Link::Frozen { Link::Up } else { Link::Frozen }),
        KeyCode::Char('s') => {
            let next = world.silenced.map_or(0, |at| at + 1);
            world.silence((next < world.site.devices.len()).then_some(next));
        }
        KeyCode::Char('u') => world.set_surge(!world.surging),
        KeyCode::Char('o') => world.call_guest(),
        KeyCode::Char('r') => world.call_card(),
        KeyCode::Char('x') => world.set_fire(!world.burning),
        KeyCode::Char('a') => world.set_noise(0, !world.is_noisy(0)),
        KeyCode::Char('b') => world.set_noise(1, !world.is_noisy(1)),
        _ => {}
    }
    false
}

/// Values per second over the last second or so.
#[derive(Default)]
struct Rate {
    at: Duration,
    values: u64,
    per_second: f64,
}

impl Rate {
    fn step(&mut self, world: &World) {
        let now = world.began.elapsed();
        let passed = (now - self.at).as_secs_f64();
        if passed >= 1.0 {
            let values = world.tally.with(|tally| tally.values);
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = (values - self.values) as f64 / passed;
            (self.at, self.values, self.per_second) = (now, values, rate);
        }
    }
}

fn draw(frame: &mut Frame<'_>, world: &World, status: &Status, tally: &Tally, rate: f64) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    let head = Line::from(vec![" Gatehouse ".bold().reversed(), " watch it: ".into(), world.watch_command().cyan()]);
    frame.render_widget(head, top);
    frame.render_widget(Line::from(KEYS).reversed(), bottom);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(44)]).areas(middle);
    let [devices, decided] = Layout::vertical([Constraint::Fill(1), Constraint::Length(DECIDED)]).areas(left);
    draw_devices(frame, devices, world, status);
    draw_decided(frame, decided, &world.decided(), &world.traffic.accounts());
    let buses = u16::try_from(status.buses.len()).unwrap_or(8);
    let [load, link, events] =
        Layout::vertical([Constraint::Length(buses + 2), Constraint::Length(13), Constraint::Fill(1)]).areas(right);
    draw_buses(frame, load, status);
    draw_delivery(frame, link, world, status, tally, rate);
    draw_events(frame, events, world, status);
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, world: &World, status: &Status) {
    let rows = world.site.devices.iter().map(|device| {
        let state = status.devices.iter().find(|known| known.id == device.id).map_or("", |known| &known.state);
        let colour = match state {
            "online" => Color::Green,
            "offline" => Color::Red,
            _ => Color::DarkGray,
        };
        let latest = world.latest.with(|latest| latest.get(device.id).cloned()).unwrap_or_default();
        let age =
            if latest.at_us == 0 { String::new() } else { format!("{} s", (wall_us() - latest.at_us) / 1_000_000) };
        Row::new([
            Cell::from(device.title),
            Cell::from(device.profile).dim(),
            Cell::from(device.bus.as_str()).dim(),
            Cell::from(Span::styled(state.to_owned(), Style::new().fg(colour))),
            Cell::from(values(device, &latest)),
            Cell::from(age),
        ])
    });
    let widths = [
        Constraint::Length(16),
        Constraint::Length(20),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Fill(1),
        Constraint::Length(5),
    ];
    let header = Row::new(["device", "profile", "bus", "state", "delivered last", "age"]).bold();
    let title = format!(" {} devices ", world.site.devices.len());
    frame.render_widget(Table::new(rows, widths).header(header).block(Block::bordered().title(title)), area);
}

/// What tells most of a device, in one line.
fn values(device: &Device, latest: &LatestRecord) -> String {
    if latest.values.is_empty() {
        return latest.missing.clone().unwrap_or_default();
    }
    if device.role == Role::Reader {
        let shown = |name: &str| latest.values.get(name).map_or("?", String::as_str);
        return format!("{} cards, {} dropped, secure {}", shown("cards"), shown("dropped"), shown("secure"));
    }
    if device.role != Role::Meter {
        let of = |title: &str, prefixes: [&str; 2]| -> String {
            let named = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
            let points = latest.values.iter().filter(|(name, _)| named(name));
            let lamps: String = points.map(|(_, value)| if value == "on" { '●' } else { '○' }).collect();
            if lamps.is_empty() { lamps } else { format!("{title} {lamps}  ") }
        };
        return of("relays", ["relay", "do"]) + &of("inputs", ["input", "di"]);
    }
    let wanted = [
        "voltage",
        "current",
        "power",
        "import",
        "total",
        "frequency",
        "temperature",
        "humidity",
        "heat",
        "volume",
        "flow",
        "supply",
        "return",
    ];
    let shown = wanted.iter().filter_map(|wanted| latest.values.iter().find(|(name, _)| name.starts_with(wanted)));
    let shown = shown.map(|(name, value)| format!("{:>9} {:<3}", short(value), Site::unit_of(device, name)));
    shown.take(4).collect::<Vec<String>>().join(" ")
}

/// At most one digit after the point: a picture, not a bill.
fn short(value: &str) -> String {
    value.parse::<f64>().map_or_else(|_| value.to_owned(), |number| format!("{number:.1}"))
}

fn draw_buses(frame: &mut Frame<'_>, area: Rect, status: &Status) {
    let block = Block::bordered().title(" buses ");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let rows = Layout::vertical(vec![Constraint::Length(1); status.buses.len()]).split(inside);
    for (bus, row) in status.buses.iter().zip(rows.iter()) {
        let bad: u64 = bus.rejected.values().sum::<u64>() + bus.timeouts;
        let label = format!("{} {:.0} %  {} requests, {bad} failed", bus.id, bus.load_percent, bus.transactions);
        let colour = if !bus.open { Color::Red } else { Color::Blue };
        let ratio = (bus.load_percent / 100.0).clamp(0.0, 1.0);
        frame.render_widget(Gauge::default().ratio(ratio).label(label).gauge_style(Style::new().fg(colour)), *row);
    }
}

/// Gates, alarms and tickets, as the box has decided them.
fn draw_decided(frame: &mut Frame<'_>, area: Rect, decided: &Decided, accounts: &BTreeMap<&'static str, Account>) {
    let cause = decided.mode.cause.as_ref().map(|cause| format!(" ({})", cause.replace('_', " "))).unwrap_or_default();
    let block = Block::bordered().title(format!(" decided on the box: mode {}{cause} ", decided.mode.mode));
    let gates = GATES.iter().map(|(id, title, _)| gate_line(id, title, decided, accounts.get(id)));
    let shown = decided.alarms.iter().filter(|alarm| alarm.state != "normal");
    let alarms = shown.map(|alarm| {
        let colour = if alarm.active { Color::Red } else { Color::Yellow };
        let what = Span::styled(format!("alarm {} {:<32}", alarm.priority, alarm.alarm), Style::new().fg(colour));
        Line::from(vec![what, format!(" {}  ", alarm.state.replace('_', " ")).into(), alarm.message.clone().dim()])
    });
    let tickets = decided.tickets.iter().take(TICKETS.max(decided.tickets.iter().filter(|t| t.is_open()).count()));
    let tickets = tickets.map(|ticket| {
        let colour = if ticket.is_open() { Color::Magenta } else { Color::DarkGray };
        let what = Span::styled(format!("ticket {:<3} {:<31}", ticket.ticket, ticket.cause), Style::new().fg(colour));
        Line::from(vec![what, format!(" {}  ", ticket_words(ticket)).into(), ticket.title.clone().dim()])
    });
    let lines: Vec<Line<'_>> = gates.chain(alarms).chain(tickets).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// A gate in one line: its state, and who let how many pass.
fn gate_line(id: &str, title: &'static str, decided: &Decided, account: Option<&Account>) -> Line<'static> {
    let gate = decided.gates.iter().find(|gate| gate.id == id).cloned().unwrap_or_default();
    let colour = match gate.state.as_str() {
        _ if gate.fire.is_some() => Color::Red,
        "closed" => Color::Green,
        "opening" | "open" | "closing" => Color::Cyan,
        "unknown" | "" => Color::DarkGray,
        _ => Color::Red,
    };
    let passed = account.map_or(0, Account::passed);
    let by = account.map(|account| {
        let by = account.through.iter().map(|(by, count)| format!("{count} by the {}", by.replace('_', " ")));
        by.chain((account.turned_away > 0).then(|| format!("{} turned away", account.turned_away)))
            .collect::<Vec<String>>()
    });
    Line::from(vec![
        format!("{title:<14}").bold(),
        Span::styled(format!("{:<24}", gate_words(&gate)), Style::new().fg(colour)),
        format!("{passed} passed  ").into(),
        by.unwrap_or_default().join(", ").dim(),
    ])
}

fn draw_delivery(frame: &mut Frame<'_>, area: Rect, world: &World, status: &Status, tally: &Tally, rate: f64) {
    let uplink = status.uplink.clone().unwrap_or_default();
    let link = match world.proxy.link() {
        Link::Up => Span::from(format!("link {}", uplink.state)).green(),
        Link::Cut => "link CUT".red().bold(),
        Link::Frozen => "link FROZEN".red().bold(),
    };
    let held: u64 = status.spool.lanes.iter().map(|lane| lane.held).sum();
    let number = |name: &str, value: u64, bad: bool| {
        let style = if bad { Style::new().fg(Color::Red).bold() } else { Style::new() };
        Line::styled(format!("{name:<22}{value}"), style)
    };
    let lines = vec![
        Line::from(vec![link, format!("   connected {} times", uplink.connects).into()]),
        Line::from(uplink.error.unwrap_or_default()).dim(),
        number("held for the core", held, false),
        number("spool bytes", status.spool.bytes, false),
        Line::from(format!("{:<22}{} ({rate:.0}/s)", "values delivered", tally.values)),
        number("records", tally.records, false),
        number("duplicates dropped", tally.duplicates, false),
        number("lost", tally.ledger.lost(), tally.ledger.lost() > 0),
        number("out of order", tally.out_of_order, tally.out_of_order > 0),
        number("wrong values", tally.wrong + tally.unknown, tally.wrong + tally.unknown > 0),
        Line::from(tally.first_trouble.clone().unwrap_or_default()).red(),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" delivery ")), area);
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, world: &World, status: &Status) {
    let troubles = status.troubles.iter().map(|trouble| Line::from(trouble.clone()).yellow());
    let events = world.events.iter().rev().map(|(at, text)| Line::from(format!("{:>4.0} s {text}", at.as_secs_f64())));
    let lines: Vec<Line<'_>> = troubles.chain(events).collect();
    frame.render_widget(
        Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered().title(" what happened ")),
        area,
    );
}
