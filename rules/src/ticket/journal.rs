//! How tickets outlive the daemon: what is taken back, what is put right after a restart, and what is kept.

use std::time::Duration;

use gatehouse_core::Stamp;
use serde::de::DeserializeOwned;

use super::children::CHILD_KEY;
use super::machine::{EVIDENCE_KEY, FINISHED_MAX, NEXT_KEY, TICKET_KEY, Tickets};
use super::order::Ticket;
use super::outputs::OUTPUTS_KEY;
use crate::words::AlarmId;

const CLOCK_KEY: &str = "ticket-clock";
/// While clocks run, the box's time is kept this often: what ran since is at most lost to a power cut without a clock.
const BEAT: Duration = Duration::from_secs(600);

impl Tickets {
    /// Takes back a kept document, before anything else is handled. True when the key is one of these machines'; a
    /// document that cannot be read is counted and left.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> bool {
        let read = if key == NEXT_KEY {
            read(value).map(|next: u64| self.next = self.next.max(next))
        } else if key == CLOCK_KEY {
            read(value).map(|time| self.time = time)
        } else if key == OUTPUTS_KEY {
            read(value).map(|names| self.outputs.restore(names))
        } else if let Some(alarm) = key.strip_prefix(CHILD_KEY) {
            let alarm = AlarmId::try_from(alarm.to_owned()).ok();
            alarm.zip(read(value)).map(|(alarm, child)| self.children.restore(alarm, child))
        } else if let Some(number) = key.strip_prefix(EVIDENCE_KEY) {
            let number = number.parse().ok();
            number.zip(read(value)).map(|(number, evidence)| drop(self.evidence.insert(number, evidence)))
        } else if key.starts_with(TICKET_KEY) {
            read(value).map(|ticket| self.restore_ticket(ticket))
        } else {
            return false;
        };
        self.counts.unreadable += u64::from(read.is_none());
        true
    }

    fn restore_ticket(&mut self, ticket: Ticket) {
        let number = ticket.number;
        self.next = self.next.max(number.saturating_add(1));
        let by = if ticket.drill { &mut self.drills } else { &mut self.by_cause };
        let newest = by.entry(ticket.cause.clone()).or_insert(number);
        let known = self.book.get(newest).is_some_and(Ticket::is_live);
        if (ticket.is_live(), number) > (known, *newest) {
            *newest = number;
        }
        if !ticket.is_live() {
            self.finished.insert(number);
        }
        self.book.insert(number, ticket);
    }

    /// Comes first in every call: after a restart and once the clock is known, what stood still is put right.
    pub(super) fn begin(&mut self, now: &Stamp) {
        if !self.begun {
            self.begun = true;
            if self.time.is_other_boot(now) {
                self.reboot(now);
            }
            self.resume(now);
            self.looked.extend(self.book.keys());
        }
        if let Some(gap) = self.time.gap_known(now) {
            let numbers: Vec<u64> = self.book.keys().copied().collect();
            for number in numbers {
                let Some(ticket) = self.book.get_mut(&number) else { continue };
                let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
                let mut counted = false;
                for (clock, quiet) in ticket.clocks(quiet) {
                    counted |= clock.gap_known(&gap, quiet);
                }
                if counted {
                    self.touch(number);
                }
            }
            self.keep_beat(now);
        }
    }

    fn reboot(&mut self, now: &Stamp) {
        for ticket in self.book.values_mut() {
            let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
            for (clock, quiet) in ticket.clocks(quiet) {
                clock.rebooted(self.time.beat, now, quiet);
            }
            self.changed.insert(ticket.number);
        }
        self.time.rebooted(now);
        self.keep_beat(now);
    }

    /// Puts outputs and escalations right, and forgets what belongs to no ticket.
    fn resume(&mut self, now: &Stamp) {
        for name in self.outputs.resume(&self.known_outputs) {
            self.note_output_gone(now, &name);
        }
        for number in self.children.tickets().into_iter().filter(|number| !self.book.contains_key(number)) {
            self.children.release_all(number, &mut self.effects);
        }
        let lost = self.evidence.keys().filter(|number| !self.book.contains_key(number));
        for number in lost.copied().collect::<Vec<_>>() {
            self.evidence.remove(&number);
            self.effects.forget(format!("{EVIDENCE_KEY}{number}"));
        }
        for number in self.book.keys().copied().collect::<Vec<_>>() {
            self.resume_escalation(now, number);
        }
    }

    fn keep_beat(&mut self, now: &Stamp) {
        self.time.beat = Some((*now).into());
        self.effects.keep(CLOCK_KEY, &self.time);
    }

    /// Keeps the box's time while clocks run, and lets old tickets go.
    pub(super) fn beat(&mut self, now: &Stamp) {
        self.beat_at = None;
        if self.open_count() > 0 {
            self.keep_beat(now);
        }
        let keep = self.rules.keep_finished;
        let is_old = |ticket: &Ticket| {
            ticket.finished.and_then(|at| at.elapsed(now)).is_some_and(|age| age > keep) && !ticket.still_takes()
        };
        let old = self.finished.iter().filter(|number| self.book.get(number).is_some_and(is_old));
        for number in old.copied().collect::<Vec<_>>() {
            self.drop_ticket(number);
        }
    }

    /// Comes last in every call: whatever was touched takes its course, is kept and gets its next time.
    pub(super) fn finish(&mut self, now: &Stamp) {
        let mut keeps = false;
        while let Some(number) = self.looked.pop_first() {
            self.advance(now, number);
            self.looked.remove(&number);
            let Some(ticket) = self.book.get(&number) else { continue };
            if self.changed.remove(&number) {
                self.effects.keep(format!("{TICKET_KEY}{number}"), ticket);
                keeps |= ticket.is_live();
            }
            self.unschedule(number);
            if let Some(at) = self.next_time(now, number) {
                self.due.insert((at, number));
                self.due_of.insert(number, at);
            }
        }
        self.changed.clear();
        self.outputs.apply(now.mono, &mut self.effects);
        while self.finished.len() > FINISHED_MAX {
            let over = |number: &&u64| self.book.get(number).is_none_or(|ticket| !ticket.still_takes());
            let Some(oldest) = self.finished.iter().find(over).or(self.finished.first()).copied() else { break };
            self.drop_ticket(oldest);
        }
        if keeps {
            self.keep_beat(now);
        }
        if self.beat_at.is_none() && !self.book.is_empty() {
            self.beat_at = Some(now.mono + BEAT);
        }
    }

    /// Takes a ticket's next time away.
    pub(super) fn unschedule(&mut self, number: u64) {
        if let Some(at) = self.due_of.remove(&number) {
            self.due.remove(&(at, number));
        }
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}
