//! Which ticket an alarm belongs to: its own, that of its cause, an old one that is opened again, or a new one.

use gatehouse_core::{Lane, Stamp};
use serde::Serialize;

use super::children::Child;
use super::clock::RunClock;
use super::escalation::EscalationEnd;
use super::evidence::{Evidence, TicketDevice, TicketEvidence};
use super::machine::{EVIDENCE_KEY, OPEN_MAX, Tickets};
use super::order::{self, Opening, TEXT_BYTES, Ticket, TicketState};
use super::text::bounded;
use super::view::TicketChange;
use crate::words::{AlarmChange, AlarmId, AlarmState, Priority};

/// Places that only P0 can take.
const KEPT_FOR_P0: usize = 100;
/// Most tickets of one drill.
const DRILLS_MAX: usize = 100;
/// Most steps from a cause to the cause of that.
const CAUSES_MAX: usize = 16;

/// An event of kind `ticket_limit`: from now on alarms open no tickets, until some are finished.
#[derive(Serialize)]
struct LimitEvent<'a> {
    alarm: &'a AlarmId,
    open: usize,
}

impl Tickets {
    /// An alarm went from one state to another, or is told again, which changes nothing.
    pub fn handle_alarm(&mut self, now: Stamp, change: &AlarmChange, evidence: &dyn Evidence) {
        self.begin(&now);
        self.follow(&now, change);
        let priority = self.effective(change);
        let cause = change.cause.as_ref().filter(|cause| priority != Priority::P0 && **cause != change.id);
        match change.to {
            AlarmState::Unacknowledged if change.drill => self.occurred_in_drill(&now, change, cause, evidence),
            AlarmState::Unacknowledged => {
                if change.ticket.is_some() {
                    self.override_drill(&now, change, priority);
                }
                match cause {
                    Some(cause) => self.occurred_by(&now, change, cause, evidence),
                    None => self.occurred(&now, change, evidence),
                }
            }
            AlarmState::Suppressed if change.active && !change.drill => {
                if let Some(cause) = cause {
                    self.suppressed(&now, change, cause);
                }
            }
            AlarmState::Normal
            | AlarmState::Acknowledged
            | AlarmState::ReturnedUnacknowledged
            | AlarmState::LatchedUnacknowledged
            | AlarmState::LatchedAcknowledged
            | AlarmState::Shelved
            | AlarmState::Suppressed
            | AlarmState::OutOfService => {}
        }
        self.finish(&now);
    }

    fn effective(&self, change: &AlarmChange) -> Priority {
        let kind = change.ticket.as_ref().map_or(&self.plain, |name| self.kind(name));
        order::effective(kind, change.priority)
    }

    /// What is known of the alarm's condition, in its own ticket, in that of a drill, and among the children.
    fn follow(&mut self, now: &Stamp, change: &AlarmChange) {
        let own = [self.by_cause.get(&change.id), self.drills.get(&change.id)];
        for number in own.into_iter().flatten().copied().collect::<Vec<_>>() {
            let Some(ticket) = self.book.get_mut(&number) else { continue };
            if ticket.is_by_child() || !ticket.still_takes() {
                continue;
            }
            let acknowledged = !ticket.acknowledged && order::acknowledges(change);
            ticket.acknowledged |= acknowledged;
            let proposed = ticket.settled && ticket.is_live();
            let moved = ticket.follow(change.active, now);
            if moved || acknowledged {
                self.touch(number);
            }
            if moved && proposed {
                self.tell(now, number, TicketChange::Returned, None, false);
            }
        }
        if let Some(child) = self.children.child(&change.id).copied() {
            self.children.set(&change.id, Child { active: change.active, ..child }, &mut self.effects);
            self.follow_children(now, child.ticket);
        }
    }

    /// The condition of a ticket whose cause has not alarmed itself is that of any of its children.
    fn follow_children(&mut self, now: &Stamp, number: u64) {
        self.look(number);
        let active = self.children.any_active(number);
        let follows = |ticket: &&mut Ticket| ticket.is_by_child() && ticket.still_takes();
        let Some(ticket) = self.book.get_mut(&number).filter(follows) else { return };
        let proposed = ticket.settled && ticket.is_live();
        if ticket.follow(active, now) {
            self.touch(number);
            if proposed {
                self.tell(now, number, TicketChange::Returned, None, false);
            }
        }
    }

    /// The alarm stands for itself.
    fn occurred(&mut self, now: &Stamp, change: &AlarmChange, evidence: &dyn Evidence) {
        let own = self.by_cause.get(&change.id).and_then(|number| self.book.get(number));
        let told_as_own = own.is_some_and(|own| !own.is_by_child() && own.occurrence == change.occurrence);
        let told_as_child = self.children.child(&change.id).is_some_and(|child| child.occurrence == change.occurrence);
        if told_as_own || told_as_child {
            return;
        }
        let own = own.filter(|own| own.into.is_none() && own.still_takes()).map(|own| own.number);
        if let Some(child) = self.children.release(&change.id, &mut self.effects) {
            self.follow_children(now, child.ticket);
        }
        match own {
            Some(number) => self.occurred_again(now, number, change, evidence),
            None => drop(self.open(now, change, change.id.clone(), evidence)),
        }
    }

    /// The alarm has a ticket that goes on.
    fn occurred_again(&mut self, now: &Stamp, number: u64, change: &AlarmChange, evidence: &dyn Evidence) {
        let by_child = self.book.get(&number).is_some_and(Ticket::is_by_child);
        if by_child && change.ticket.is_none() {
            return;
        }
        self.count(now, number, change);
        if by_child {
            self.know_cause(now, number, change, evidence);
        }
        self.reopen(now, number);
        self.raise(now, number, change);
        self.fold_explained(now, number, &change.id);
    }

    /// The alarm is explained by another one.
    fn occurred_by(&mut self, now: &Stamp, change: &AlarmChange, cause: &AlarmId, evidence: &dyn Evidence) {
        let own = self.own_live(&change.id);
        match (self.ticket_of(cause), own) {
            (Some(number), _) if own != Some(number) => self.join(now, number, change, own),
            (_, Some(own)) => {
                self.count_new(now, own, change);
                self.explain(own, cause);
            }
            (_, None) => {
                let number = self.open(now, change, cause.clone(), evidence);
                if let Some(number) = number {
                    self.add_child(now, number, change);
                }
            }
        }
    }

    /// The alarm is hidden behind its cause.
    fn suppressed(&mut self, now: &Stamp, change: &AlarmChange, cause: &AlarmId) {
        let own = self.own_live(&change.id);
        match (self.ticket_of(cause), own) {
            (Some(number), _) if own != Some(number) => self.join(now, number, change, own),
            (_, Some(own)) => self.explain(own, cause),
            (_, None) => {}
        }
    }

    /// The ticket of this alarm that is not finished.
    fn own_live(&self, alarm: &AlarmId) -> Option<u64> {
        let number = *self.by_cause.get(alarm)?;
        self.book.get(&number).filter(|ticket| ticket.is_live()).map(|_| number)
    }

    /// The ticket that what comes from this cause belongs to, if there is one.
    fn ticket_of(&self, cause: &AlarmId) -> Option<u64> {
        let takes = |number: &u64| self.book.get(number).filter(|ticket| ticket.still_takes()).map(|_| *number);
        let mut own = self.by_cause.get(cause).copied();
        for _ in 0..CAUSES_MAX {
            match own.and_then(|number| self.book.get(&number)?.into) {
                Some(into) => own = Some(into),
                None => break,
            }
        }
        own.as_ref().and_then(takes).or_else(|| self.children.child(cause).and_then(|child| takes(&child.ticket)))
    }

    fn explain(&mut self, number: u64, cause: &AlarmId) {
        if let Some(ticket) = self.book.get_mut(&number)
            && ticket.explained_by.as_ref() != Some(cause)
        {
            ticket.explained_by = Some(cause.clone());
            self.touch(number);
        }
    }

    /// Makes the alarm a child of a ticket; its own one, if it is new and nobody has it, becomes part of that.
    fn join(&mut self, now: &Stamp, number: u64, change: &AlarmChange, own: Option<u64>) {
        match own {
            Some(own) if self.folds(now, own) => self.merge(now, own, number),
            Some(own) if change.to == AlarmState::Unacknowledged => self.count_new(now, own, change),
            Some(_) | None => {}
        }
        let told_before = self.children.child(&change.id).is_some_and(|child| child.occurrence == change.occurrence);
        self.add_child(now, number, change);
        self.raise(now, number, change);
        let opened_it = self.book.get(&number).is_some_and(|ticket| ticket.is_by_child() && ticket.alarm == change.id);
        if opened_it && !told_before && change.to == AlarmState::Unacknowledged {
            self.count(now, number, change);
            self.reopen(now, number);
        }
    }

    fn add_child(&mut self, now: &Stamp, number: u64, change: &AlarmChange) {
        let before = self.children.child(&change.id).map(|child| child.ticket);
        let child = Child { ticket: number, occurrence: change.occurrence, active: change.active };
        if !self.children.set(&change.id, child, &mut self.effects) {
            self.counts.unlisted += 1;
            return;
        }
        for ticket in before.into_iter().chain([number]) {
            self.follow_children(now, ticket);
        }
    }

    /// True for a ticket that is so new that it may come from another one's cause.
    fn folds(&self, now: &Stamp, number: u64) -> bool {
        self.book.get(&number).is_some_and(|ticket| {
            let young = ticket.opened.elapsed(now).is_some_and(|age| age <= self.rules.fold);
            young && ticket.state == TicketState::Open && ticket.priority != Priority::P0 && !ticket.drill
        })
    }

    /// What was opened just before its cause became known becomes part of the cause's ticket.
    fn fold_explained(&mut self, now: &Stamp, number: u64, cause: &AlarmId) {
        let explained = |ticket: &&Ticket| ticket.is_live() && ticket.explained_by.as_ref() == Some(cause);
        let explained: Vec<u64> =
            self.book.values().filter(explained).map(|ticket| ticket.number).filter(|own| *own != number).collect();
        for own in explained {
            if self.folds(now, own) {
                self.merge(now, own, number);
            }
        }
    }

    /// Makes a ticket part of another one, with its alarm and its children.
    fn merge(&mut self, now: &Stamp, from: u64, into: u64) {
        let Some(ticket) = self.book.get_mut(&from) else { return };
        ticket.into = Some(into);
        ticket.settled = true;
        ticket.children = self.children.listed(from);
        let own = Child { ticket: into, occurrence: ticket.occurrence, active: ticket.active };
        let mut moved = Vec::new();
        if !ticket.is_by_child() {
            moved.push((ticket.alarm.clone(), own));
        }
        for alarm in self.children.of(from) {
            if let Some(child) = self.children.child(&alarm) {
                moved.push((alarm, Child { ticket: into, ..*child }));
            }
        }
        for (alarm, child) in moved {
            if !self.children.set(&alarm, child, &mut self.effects) {
                self.counts.unlisted += 1;
            }
        }
        self.set_state(now, from, TicketState::Merged);
        self.tell(now, from, TicketChange::Merged, None, false);
        self.follow_children(now, into);
    }

    /// Opens a ticket. `None` when the alarm's rule has none, or there is no room.
    fn open(&mut self, now: &Stamp, change: &AlarmChange, cause: AlarmId, evidence: &dyn Evidence) -> Option<u64> {
        let name = change.ticket.as_ref()?;
        let priority = self.effective(change);
        let limit = if priority == Priority::P0 { OPEN_MAX } else { OPEN_MAX - KEPT_FOR_P0 };
        let open = self.open_count();
        if open >= limit {
            self.counts.refused += 1;
            if !std::mem::replace(&mut self.at_limit, true) {
                self.effects.event(Lane::Tickets, *now, "ticket_limit", &LimitEvent { alarm: &change.id, open });
            }
            return None;
        }
        self.at_limit &= open >= OPEN_MAX - KEPT_FOR_P0;
        let number = self.mint();
        let opening = Opening {
            number,
            kind_name: name,
            kind: self.rules.kinds.get(name).unwrap_or(&self.plain),
            cause: cause.clone(),
            device: change.device.and_then(|device| evidence.device(device)).map(TicketDevice::bounded),
            place: change.device.map(|device| evidence.place(device).bounded()).unwrap_or_default(),
        };
        let ticket = Ticket::open(now, change, opening);
        self.book.insert(number, ticket);
        let by = if change.drill { &mut self.drills } else { &mut self.by_cause };
        by.insert(cause.clone(), number);
        if let Some(device) = change.device {
            let known = TicketEvidence::of(device, evidence);
            self.effects.keep(format!("{EVIDENCE_KEY}{number}"), &known);
            self.evidence.insert(number, known);
        }
        self.tell(now, number, TicketChange::Opened, None, true);
        if !change.drill {
            self.fold_explained(now, number, &cause);
        }
        Some(number)
    }

    /// Counts an occurrence that was not told before.
    fn count_new(&mut self, now: &Stamp, number: u64, change: &AlarmChange) {
        if self.book.get(&number).is_some_and(|ticket| ticket.occurrence != change.occurrence) {
            self.count(now, number, change);
            self.raise(now, number, change);
        }
    }

    fn count(&mut self, now: &Stamp, number: u64, change: &AlarmChange) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        ticket.occurrences += 1;
        ticket.occurrence = change.occurrence;
        ticket.acknowledged = false;
        ticket.message = bounded(&change.message, TEXT_BYTES);
        ticket.follow(change.active, now);
        self.touch(number);
    }

    /// The cause of a ticket that a child had opened has alarmed itself.
    fn know_cause(&mut self, now: &Stamp, number: u64, change: &AlarmChange, evidence: &dyn Evidence) {
        let Some(name) = &change.ticket else { return };
        let Some(ticket) = self.book.get_mut(&number) else { return };
        let kind = self.rules.kinds.get(name).unwrap_or(&self.plain);
        ticket.kind = name.as_str().to_owned();
        ticket.alarm = change.id.clone();
        ticket.device = change.device.and_then(|device| evidence.device(device)).map(TicketDevice::bounded);
        ticket.place = change.device.map(|device| evidence.place(device).bounded()).unwrap_or_default();
        ticket.describe(kind, change);
        ticket.follow(change.active, now);
        self.tell(now, number, TicketChange::CauseKnown, None, false);
    }

    /// Opens a finished ticket again. What was refused stays refused while it flaps on, unless life may depend on it.
    fn reopen(&mut self, now: &Stamp, number: u64) {
        let reopens = |ticket: &&mut Ticket| match ticket.state {
            TicketState::Done => true,
            TicketState::Rejected => ticket.priority == Priority::P0,
            TicketState::Open
            | TicketState::Accepted
            | TicketState::OnSite
            | TicketState::WaitingParts
            | TicketState::WaitingAccess
            | TicketState::Merged => false,
        };
        let Some(ticket) = self.book.get_mut(&number).filter(reopens) else { return };
        ticket.reopened = ticket.reopened.saturating_add(1);
        ticket.open_rev = ticket.box_rev + 1;
        ticket.response = RunClock::default();
        self.set_state(now, number, TicketState::Open);
        self.tell(now, number, TicketChange::Reopened, None, false);
    }

    /// A ticket is as urgent as the most urgent of its alarms. P0 never comes in this way: it is its own cause.
    fn raise(&mut self, now: &Stamp, number: u64, change: &AlarmChange) {
        let priority = self.effective(change);
        let raises = |ticket: &&mut Ticket| priority < ticket.priority && ticket.is_live();
        let Some(ticket) = self.book.get_mut(&number).filter(raises) else { return };
        let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
        for (clock, quiet) in ticket.clocks(quiet) {
            clock.count(now, quiet);
        }
        let kind = self.rules.kinds.get(ticket.kind.as_str()).unwrap_or(&self.plain);
        ticket.priority = priority;
        ticket.targets = kind.targets.get(&priority).copied().unwrap_or_default();
        self.tell(now, number, TicketChange::Raised, None, false);
    }

    fn occurred_in_drill(
        &mut self,
        now: &Stamp,
        change: &AlarmChange,
        cause: Option<&AlarmId>,
        evidence: &dyn Evidence,
    ) {
        let explained = cause.is_some_and(|cause| self.drills.contains_key(cause));
        if explained || self.own_live(&change.id).is_some() || change.ticket.is_none() {
            return;
        }
        match self.drills.get(&change.id).copied() {
            Some(number) => self.count_new(now, number, change),
            None if self.drills.len() < DRILLS_MAX => {
                self.open(now, change, change.id.clone(), evidence);
            }
            None => self.counts.refused += 1,
        }
    }

    /// A real alarm ends the drill's tickets of the same alarm, and those that are no more urgent.
    fn override_drill(&mut self, now: &Stamp, change: &AlarmChange, priority: Priority) {
        let ends = |ticket: &&Ticket| ticket.cause == change.id || priority <= ticket.priority;
        let drills = self.drills.values().filter_map(|number| self.book.get(number)).filter(ends);
        for number in drills.map(|ticket| ticket.number).collect::<Vec<_>>() {
            self.end_drill(now, number);
        }
    }

    /// Tells that a drill's ticket is over, and forgets it.
    pub(super) fn end_drill(&mut self, now: &Stamp, number: u64) {
        self.end_escalation(now, number, EscalationEnd::DrillOver);
        self.set_state(now, number, TicketState::Done);
        self.tell(now, number, TicketChange::DrillOver, None, false);
        self.drop_ticket(number);
    }
}
