//! The end of a demo: was everything that was polled and decided delivered, once, in order, and right?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::books::Pages;
use super::script::{silent_alarm, surge_alarm};
use super::traffic::Account;
use super::world::{Marks, World};
use crate::receive::Tally;
use crate::rig::{Decided, Status};

/// How long the last records may take to arrive.
const DRAIN: Duration = Duration::from_secs(15);
/// How long the last cars may take to be through.
const LEAVE: Duration = Duration::from_secs(30);
/// The lanes of what is decided.
const DECIDED: [&str; 3] = ["passages", "alarms", "tickets"];

/// What a demo proved.
pub(super) struct Outcome {
    requests: u64,
    samples: u64,
    tally: Tally,
    missing: u64,
    newest: u64,
    outage: Option<(u64, Option<Duration>)>,
    judged: Judged,
    marks: Marks,
    /// Values that were compared with what the devices held and were right, by protocol.
    right: BTreeMap<&'static str, u64>,
    scripted: bool,
    // Shown, not judged: a busy machine may hold the gateway between its clock and its port. The bench has the bar.
    violations: u64,
    collisions: u64,
    online: (usize, usize),
    ended: Result<(), String>,
}

/// What was decided on the box: as the site saw it, as the box says, and as it was told.
struct Judged {
    accounts: BTreeMap<&'static str, Account>,
    box_says: Decided,
    told: Pages,
    /// Records of these lanes that have not come.
    missing: u64,
    came_down_on_a_car: u64,
}

impl Outcome {
    /// Mends everything, waits until all is delivered, stops the gateway and draws up the account.
    pub(super) fn take(world: &mut World, scripted: bool) -> Self {
        world.heal();
        let deadline = Instant::now() + LEAVE;
        while !world.traffic.is_empty() && Instant::now() < deadline {
            world.observe();
            std::thread::sleep(Duration::from_millis(20));
        }
        let box_says = world.gateway.api.decided().unwrap_or_else(|_| world.decided());
        let last = world.fresh_status().unwrap_or_else(|| world.status());
        let deadline = Instant::now() + DRAIN;
        while missing(&world.tally.with(|tally| tally.clone()), &last) > 0 && Instant::now() < deadline {
            world.observe();
            std::thread::sleep(Duration::from_millis(20));
        }
        let tally = world.tally.with(|tally| tally.clone());
        let lanes = last.spool.lanes.iter().filter(|lane| DECIDED.contains(&lane.lane.as_str()));
        let judged = Judged {
            accounts: world.traffic.accounts(),
            box_says,
            told: world.books.with(|pages| pages.clone()),
            missing: lanes.map(|lane| tally.ledger.missing(last.spool.epoch, &lane.lane, lane.newest)).sum(),
            came_down_on_a_car: world.traffic.came_down_on_a_car(),
        };
        let marks = world.marks.clone();
        let early = world.gateway.ended();
        let ended = match (early, world.gateway.stop()) {
            (Some(status), _) => Err(format!("it ended early, with {status}")),
            (None, Some(status)) if status.success() => Ok(()),
            (None, Some(status)) => Err(format!("SIGTERM ended it with {status}")),
            (None, None) => Err("it did not end within 20 s of SIGTERM".to_owned()),
        };
        let lines = world.site.lines.iter().map(|(_, line)| &line.counts);
        let servers = world.site.tcp.iter().map(|(_, server)| &server.counts);
        Outcome {
            requests: lines.clone().chain(servers).map(|counts| counts.requests.load(Relaxed)).sum(),
            samples: last.devices.iter().map(|device| device.samples).sum(),
            missing: missing(&tally, &last),
            newest: last.spool.lanes.iter().map(|lane| lane.newest).sum(),
            outage: marks.cut.map(|_| (marks.most_held, marks.drained)),
            scripted,
            judged,
            right: right_by_protocol(world),
            collisions: lines.clone().map(|counts| counts.collisions.load(Relaxed)).sum(),
            violations: lines.map(|counts| counts.silence_violations.load(Relaxed)).sum(),
            online: (marks.most_online, world.site.devices.len()),
            marks,
            tally,
            ended,
        }
    }

    /// Whether everything that must hold held.
    pub(super) fn good(&self) -> bool {
        self.troubles().is_empty()
    }

    fn troubles(&self) -> Vec<String> {
        let lost = self.missing + self.tally.ledger.lost();
        let checks = [
            (self.tally.values == 0, "nothing was delivered".to_owned()),
            (lost > 0, format!("{lost} records are lost")),
            (self.tally.out_of_order > 0, format!("{} records came out of order", self.tally.out_of_order)),
            (self.tally.wrong > 0, format!("{} values are wrong", self.tally.wrong)),
            (self.tally.unknown > 0, format!("{} values belong to no device of the site", self.tally.unknown)),
            (self.tally.malformed > 0, format!("{} messages are malformed", self.tally.malformed)),
            (self.scripted && self.outage.is_none_or(|(held, _)| held == 0), "the outage held nothing back".to_owned()),
            (
                self.scripted && self.outage.is_some_and(|(_, drained)| drained.is_none()),
                "what was held did not drain".to_owned(),
            ),
            (self.scripted && !self.marks.silence_noticed, "nobody noticed the silent meter".to_owned()),
            (self.online.0 < self.online.1, format!("only {} of {} devices came online", self.online.0, self.online.1)),
        ];
        let mut troubles: Vec<String> = checks.into_iter().filter(|(bad, _)| *bad).map(|(_, what)| what).collect();
        let unheard = self.right.iter().filter(|(_, count)| **count == 0);
        troubles.extend(unheard.map(|(protocol, _)| format!("no value of {protocol} was delivered")));
        troubles.extend(self.judged.troubles());
        if self.scripted {
            troubles.extend(self.judged.missed_acts(&self.marks));
        }
        troubles.extend(self.tally.first_trouble.as_ref().map(|first| format!("the first: {first}")));
        troubles.extend(self.ended.as_ref().err().map(|how| format!("the gateway did not end cleanly: {how}")));
        troubles
    }
}

impl Judged {
    /// What cannot be, whoever did what.
    fn troubles(&self) -> Vec<String> {
        let mut troubles = self.told.contradictions();
        if self.missing > 0 {
            troubles.push(format!("{} passages, alarms or tickets have not arrived", self.missing));
        }
        if self.came_down_on_a_car > 0 {
            troubles.push(format!("a boom came down on a car {} times", self.came_down_on_a_car));
        }
        for (gate, account) in &self.accounts {
            let (seen, passed) = (self.told.seen_at(gate), account.passed());
            if seen > passed {
                troubles.push(format!("{gate}: {seen} passages were told, and {passed} took place"));
            }
        }
        let behind = self.box_says.tickets.iter().filter(|ticket| self.told.revision(ticket.ticket) < ticket.box_rev);
        troubles.extend(behind.map(|ticket| {
            let told = self.told.revision(ticket.ticket);
            format!("ticket {} is at revision {}, and the last that arrived is {told}", ticket.ticket, ticket.box_rev)
        }));
        troubles
    }

    /// What the script's acts must have led to.
    fn missed_acts(&self, marks: &Marks) -> Vec<String> {
        let (silent, surge) = (silent_alarm(), surge_alarm());
        let mut troubles = Vec::new();
        for (gate, account) in &self.accounts {
            let (seen, passed) = (self.told.seen_at(gate), account.passed());
            if seen < passed {
                troubles.push(format!("{gate}: {passed} passages took place, and {seen} were told"));
            }
            let lost = account.settled.iter().filter(|request| !self.told.passages.contains_key(request));
            troubles.extend(lost.map(|request| format!("{gate}: the passage of request {request} was not told")));
        }
        for (gate, account) in &self.accounts {
            let mut by_card: BTreeMap<&str, usize> = BTreeMap::new();
            account.by_card.iter().for_each(|(who, _)| *by_card.entry(who).or_default() += 1);
            for (who, times) in by_card {
                let told = self.told.let_through(gate, who);
                if told != times {
                    troubles.push(format!("{gate}: {who} passed {times} times by card, and {told} were told"));
                }
            }
        }
        let checks = [
            (self.cards_in_outage() == 0, "the box let nobody in by a card during the outage".to_owned()),
            (self.in_outage() == 0, "the box let nobody in during the outage".to_owned()),
            (
                !marks.tickets_in_outage.values().any(|cause| *cause == silent),
                "no ticket was opened in the outage".to_owned(),
            ),
            (!marks.alarms_in_outage.contains(&surge), format!("{surge} did not come in the outage")),
            (
                self.told.opened_for(&silent) != 1,
                format!("{} tickets were told of {silent}, not one", self.told.opened_for(&silent)),
            ),
        ];
        troubles.extend(checks.into_iter().filter(|(bad, _)| *bad).map(|(_, what)| what));
        for alarm in [silent, surge] {
            let state = self.told.state(&alarm);
            if state != Some("normal") {
                troubles.push(format!("{alarm} did not go back to normal: it is {}", state.unwrap_or("unheard of")));
            }
        }
        troubles
    }

    /// Passages that were decided on the box while the link was cut, seen to take place, and told.
    fn in_outage(&self) -> usize {
        let requests = self.accounts.values().flat_map(|account| &account.in_outage);
        requests.filter(|request| self.told.let_in(**request)).count()
    }

    /// Passages by card while the link was cut, seen to take place, and told.
    fn cards_in_outage(&self) -> usize {
        let cards =
            self.accounts.iter().flat_map(|(gate, account)| account.by_card.iter().map(move |card| (gate, card)));
        cards.filter(|(gate, (who, cut))| *cut && self.told.let_through(gate, who) > 0).count()
    }

    fn passages(&self) -> String {
        let by = self.told.granted().into_iter().map(|(by, count)| format!("{count} by the {}", by.replace('_', " ")));
        let by: Vec<String> = by.collect();
        let refused = self.told.passages.values().filter(|passage| passage.decision == "refused").count();
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
        format!(
            "{} told once each: let in {by}; refused {refused}; during the outage {} by plate, {} by card",
            self.told.passages.len(),
            self.in_outage(),
            self.cards_in_outage()
        )
    }
}

/// Values that were compared and right, of every protocol that the site has.
fn right_by_protocol(world: &World) -> BTreeMap<&'static str, u64> {
    let mut right = BTreeMap::new();
    world.latest.with(|latest| {
        for device in &world.site.devices {
            let of_device = latest.get(device.id).map_or(0, |record| record.right);
            *right.entry(device.protocol.as_str()).or_default() += of_device;
        }
    });
    right
}

/// Records that the gateway had numbered at `last` and that have not come.
fn missing(tally: &Tally, last: &Status) -> u64 {
    let lanes = last.spool.lanes.iter();
    lanes.map(|lane| tally.ledger.missing(last.spool.epoch, &lane.lane, lane.newest)).sum()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f, "\npolled        {} requests answered or refused, {} samples", self.requests, self.samples)?;
        writeln!(f, "delivered     {} values in {} records, {} messages", tally.values, tally.records, tally.messages)?;
        let right: Vec<String> = self.right.iter().map(|(protocol, count)| format!("{protocol} {count}")).collect();
        writeln!(f, "right         {} (compared with what the devices held)", right.join(", "))?;
        writeln!(f, "explained     {} readings without a value, each with its reason", tally.missing)?;
        writeln!(f, "lost          {} of {} records", self.missing + tally.ledger.lost(), self.newest)?;
        writeln!(f, "duplicates    {} records (dropped by their numbers)", tally.duplicates)?;
        writeln!(f, "out of order  {}", tally.out_of_order)?;
        writeln!(f, "wrong values  {}", tally.wrong)?;
        if let Some((held, drained)) = self.outage {
            let drained = drained.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
            writeln!(f, "outage        {held} records held, delivered {drained} after the link was mended")?;
        }
        if self.marks.silence_noticed {
            writeln!(f, "silent meter  noticed, and its readings say why they are missing")?;
        }
        let ((alarms, transitions), (tickets, events)) = (self.judged.told.alarms(), self.judged.told.tickets());
        writeln!(f, "passages      {}", self.judged.passages())?;
        let (outage, open) = (self.marks.alarms_in_outage.len(), self.marks.tickets_in_outage.len());
        writeln!(
            f,
            "alarms        {alarms} in {transitions} transitions, told once each and in their order; {outage} during the outage"
        )?;
        writeln!(
            f,
            "tickets       {tickets} in {events} events, told once each and in their order; {open} during the outage"
        )?;
        writeln!(
            f,
            "silence       {} requests sooner than 3.5 characters, {} into a reply",
            self.violations, self.collisions
        )?;
        let troubles = self.troubles();
        for trouble in &troubles {
            writeln!(f, "FAILED        {trouble}")?;
        }
        if troubles.is_empty() { writeln!(f, "everything that was polled and decided was delivered") } else { Ok(()) }
    }
}
