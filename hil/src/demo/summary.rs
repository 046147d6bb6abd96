//! The end of a demo: was everything that was polled delivered, once, in order, and right?

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::world::World;
use crate::receive::Tally;
use crate::rig::Status;

/// How long the last records may take to arrive.
const DRAIN: Duration = Duration::from_secs(15);

/// What a demo proved.
pub(super) struct Outcome {
    requests: u64,
    samples: u64,
    tally: Tally,
    missing: u64,
    newest: u64,
    outage: Option<(u64, Option<Duration>)>,
    silence_noticed: bool,
    scripted: bool,
    // Shown, not judged: a busy machine may hold the gateway between its clock and its port. The bench has the bar.
    violations: u64,
    collisions: u64,
    online: (usize, usize),
    ended: Result<(), String>,
}

impl Outcome {
    /// Mends everything, waits until all is delivered, stops the gateway and draws up the account.
    pub(super) fn take(world: &mut World, scripted: bool) -> Self {
        world.heal();
        let marks = world.marks;
        let last = world.fresh_status().unwrap_or_else(|| world.status());
        let deadline = Instant::now() + DRAIN;
        while missing(&world.tally.with(|tally| tally.clone()), &last) > 0 && Instant::now() < deadline {
            world.observe();
            std::thread::sleep(Duration::from_millis(20));
        }
        let tally = world.tally.with(|tally| tally.clone());
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
            outage: marks.cut.map(|_| (marks.most_held, world.marks.drained)),
            silence_noticed: marks.silence_noticed,
            scripted,
            collisions: lines.clone().map(|counts| counts.collisions.load(Relaxed)).sum(),
            violations: lines.map(|counts| counts.silence_violations.load(Relaxed)).sum(),
            online: (marks.most_online, world.site.devices.len()),
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
            (self.scripted && !self.silence_noticed, "nobody noticed the silent meter".to_owned()),
            (self.online.0 < self.online.1, format!("only {} of {} devices came online", self.online.0, self.online.1)),
        ];
        let mut troubles: Vec<String> = checks.into_iter().filter(|(bad, _)| *bad).map(|(_, what)| what).collect();
        troubles.extend(self.tally.first_trouble.as_ref().map(|first| format!("the first: {first}")));
        troubles.extend(self.ended.as_ref().err().map(|how| format!("the gateway did not end cleanly: {how}")));
        troubles
    }
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
        writeln!(f, "explained     {} readings without a value, each with its reason", tally.missing)?;
        writeln!(f, "lost          {} of {} records", self.missing + tally.ledger.lost(), self.newest)?;
        writeln!(f, "duplicates    {} records (dropped by their numbers)", tally.duplicates)?;
        writeln!(f, "out of order  {}", tally.out_of_order)?;
        writeln!(f, "wrong values  {}", tally.wrong)?;
        if let Some((held, drained)) = self.outage {
            let drained = drained.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
            writeln!(f, "outage        {held} records held, delivered {drained} after the link was mended")?;
        }
        if self.silence_noticed {
            writeln!(f, "silent meter  noticed, and its readings say why they are missing")?;
        }
        writeln!(
            f,
            "silence       {} requests sooner than 3.5 characters, {} into a reply",
            self.violations, self.collisions
        )?;
        let troubles = self.troubles();
        for trouble in &troubles {
            writeln!(f, "FAILED        {trouble}")?;
        }
        if troubles.is_empty() { writeln!(f, "everything that was polled was delivered") } else { Ok(()) }
    }
}
