//! The machine: what it holds, what goes in, what comes out.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::{Lane, Mono, Name, Stamp};
use serde::Serialize;

use super::children::Children;
use super::clock::BoxTime;
use super::evidence::TicketEvidence;
use super::order::{Ticket, TicketState};
use super::outputs::Outputs;
use super::quiet::Quiet;
use super::spec::{Drive, OutputRef, STEPS_MAX, TicketKind, TicketRules};
use super::update::{Update, UpdateResult};
use super::view::{GuardMessage, TicketChange, TicketView, UpdateMark};
use crate::words::{AlarmId, Mode, Priority};
use crate::{ActId, ActResult, Effect, Effects};

/// Most tickets that are not finished; the last 100 places are for P0.
pub const OPEN_MAX: usize = 5_000;
/// Most finished tickets that are kept; the oldest ones go.
pub const FINISHED_MAX: usize = 500;

pub(super) const TICKET_KEY: &str = "ticket/";
pub(super) const EVIDENCE_KEY: &str = "ticket-evidence/";
/// The key of the next number.
pub(super) const NEXT_KEY: &str = "ticket-next";

/// All tickets of the site.
///
/// Call [`Tickets::restore`] for each kept document, then the `handle_*` methods as things happen; after each one drain
/// [`Tickets::poll_effect`] and come back at [`Tickets::poll_timeout`]. All effects of one call are one batch; the
/// change of an alarm and what it caused here belong into the same one. A change that is told again changes nothing, so
/// that all alarms may be told after a restart or a drill.
#[derive(Debug)]
pub struct Tickets {
    pub(super) rules: TicketRules,
    /// What stands in for a kind that the configuration does not have.
    pub(super) plain: TicketKind,
    pub(super) known_outputs: BTreeMap<Name, OutputRef>,
    pub(super) book: BTreeMap<u64, Ticket>,
    pub(super) evidence: BTreeMap<u64, TicketEvidence>,
    /// The newest ticket of each cause, drills aside.
    pub(super) by_cause: BTreeMap<AlarmId, u64>,
    /// The tickets of the drill that is on.
    pub(super) drills: BTreeMap<AlarmId, u64>,
    pub(super) finished: BTreeSet<u64>,
    pub(super) children: Children,
    pub(super) outputs: Outputs,
    pub(super) effects: Effects,
    pub(super) mode: Option<Mode>,
    pub(super) counts: TicketCounts,
    pub(super) at_limit: bool,
    pub(super) next: u64,
    pub(super) time: BoxTime,
    pub(super) begun: bool,
    pub(super) beat_at: Option<Mono>,
    /// Tickets whose document differs from what is kept.
    pub(super) changed: BTreeSet<u64>,
    /// Tickets to be looked at before the call ends.
    pub(super) looked: BTreeSet<u64>,
    pub(super) due: BTreeSet<(Mono, u64)>,
    pub(super) due_of: BTreeMap<u64, Mono>,
    /// When counts that were not told are told.
    pub(super) tell_at: BTreeMap<u64, Mono>,
    /// When something was last told.
    pub(super) told_at: BTreeMap<u64, Mono>,
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TicketCounts {
    /// Tickets that are not finished.
    pub open: usize,
    /// Finished tickets that are kept.
    pub finished: usize,
    /// Tickets that were not opened for want of room, since the start.
    pub refused: u64,
    /// Children that no ticket lists for want of room, since the start.
    pub unlisted: u64,
    /// Kept documents that could not be read, at the start.
    pub unreadable: u64,
    /// Targets that were passed, since the start.
    pub breaches: u64,
}

impl Tickets {
    /// No tickets yet. Acts are numbered from `first_act` on.
    pub fn new(rules: TicketRules, first_act: ActId) -> Self {
        let levels = rules.kinds.values().flat_map(|kind| kind.escalation.iter().take(STEPS_MAX));
        let levels = levels.flat_map(|step| &step.outputs).filter(|output| matches!(output.drive, Drive::Level { .. }));
        let known_outputs = levels.map(|output| (output.name.clone(), output.clone())).collect();
        Tickets {
            rules,
            plain: TicketKind::default(),
            known_outputs,
            book: BTreeMap::new(),
            evidence: BTreeMap::new(),
            by_cause: BTreeMap::new(),
            drills: BTreeMap::new(),
            finished: BTreeSet::new(),
            children: Children::default(),
            outputs: Outputs::new(first_act),
            effects: Effects::default(),
            mode: None,
            counts: TicketCounts::default(),
            at_limit: false,
            next: 1,
            time: BoxTime::default(),
            begun: false,
            beat_at: None,
            changed: BTreeSet::new(),
            looked: BTreeSet::new(),
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            tell_at: BTreeMap::new(),
            told_at: BTreeMap::new(),
        }
    }

    /// The core said something of a ticket.
    pub fn handle_update(&mut self, now: Stamp, update: &Update) -> UpdateResult {
        if let Err(error) = update.check() {
            return UpdateResult::Refused(error);
        }
        self.begin(&now);
        let result = self.update(&now, update);
        self.finish(&now);
        result
    }

    fn update(&mut self, now: &Stamp, update: &Update) -> UpdateResult {
        let Some(ticket) = self.book.get_mut(&update.ticket) else { return UpdateResult::NoSuchTicket };
        let Some(counted) = ticket.core.count(update) else { return UpdateResult::Duplicate };
        let mut result = match counted.newest {
            true => UpdateResult::Applied { missing: counted.missing },
            false => UpdateResult::AppliedLate,
        };
        if let Some(state) = counted.state {
            match self.objection(update, state) {
                Some(objection) => result = objection,
                None => self.set_state(now, update.ticket, state),
            }
        }
        let mark = UpdateMark { id: update.id.clone(), rev: update.rev };
        self.tell(now, update.ticket, TicketChange::Updated, Some(mark), false);
        let done = self.book.get(&update.ticket).is_some_and(|ticket| ticket.drill && !ticket.is_live());
        if done {
            self.drop_ticket(update.ticket);
        }
        result
    }

    /// What speaks against the state of an update.
    fn objection(&self, update: &Update, state: TicketState) -> Option<UpdateResult> {
        let ticket = self.book.get(&update.ticket)?;
        let newest = self.by_cause.get(&ticket.cause).filter(|newest| **newest != ticket.number && !ticket.drill);
        let stands = newest.filter(|newest| self.book.get(newest).is_some_and(Ticket::is_live));
        let instead = ticket.into.or(stands.copied().filter(|_| !state.is_finished()));
        if let Some(into) = instead {
            return Some(UpdateResult::Merged { into });
        }
        let unseen_by_core = |box_rev: u64| update.seen_box_rev.is_some_and(|seen| seen < box_rev);
        let accepted = ticket.accepted.as_ref().map(|accepted| accepted.box_rev).filter(|rev| unseen_by_core(*rev));
        if let (Some(box_rev), TicketState::Open) = (accepted, state) {
            return Some(UpdateResult::Superseded { box_rev });
        }
        let unseen = unseen_by_core(ticket.open_rev) && ticket.reopened > 0;
        (unseen && state.is_finished()).then_some(UpdateResult::Superseded { box_rev: ticket.open_rev })
    }

    /// An act has ended. True when it was one of these.
    pub fn handle_act_result(&mut self, now: Stamp, id: ActId, result: &ActResult) -> bool {
        self.begin(&now);
        let outcome = self.outputs.handle_result(now.mono, id, result);
        let known = outcome.is_some();
        if let Some(outcome) = outcome {
            self.note_outcome(&now, &outcome, result);
        }
        self.finish(&now);
        known
    }

    /// The core can be reached, or no longer.
    pub fn handle_mode(&mut self, now: Stamp, mode: Mode) {
        self.begin(&now);
        if self.mode != Some(mode) {
            self.mode = Some(mode);
            let waiting = self.book.values().filter(|ticket| ticket.escalation.ended.is_none());
            self.looked.extend(waiting.map(|ticket| ticket.number));
        }
        self.finish(&now);
    }

    /// The drill is over when `on` is false: its tickets go.
    pub fn handle_drill(&mut self, now: Stamp, on: bool) {
        self.begin(&now);
        if !on {
            for number in self.drills.values().copied().collect::<Vec<_>>() {
                self.end_drill(&now, number);
            }
        }
        self.finish(&now);
    }

    /// Time has come: targets, steps, settle times, and outputs that did not confirm.
    pub fn handle_timeout(&mut self, now: Stamp) {
        self.begin(&now);
        while let Some((at, number)) = self.due.first().copied()
            && at <= now.mono
        {
            self.due.pop_first();
            self.due_of.remove(&number);
            self.looked.insert(number);
        }
        if self.beat_at.is_some_and(|at| now.mono >= at) {
            self.beat(&now);
        }
        self.finish(&now);
    }

    /// The wall clock was set, or has come to be believed: quiet hours go by it.
    pub fn handle_clock(&mut self, now: Stamp) {
        self.begin(&now);
        self.looked.extend(self.book.keys());
        self.finish(&now);
    }

    /// When to call [`Tickets::handle_timeout`] next; at once after a restart that has tickets.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if !self.begun {
            return (!self.book.is_empty() || self.outputs.has_kept()).then_some(Mono(0));
        }
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.beat_at, self.outputs.poll_timeout()].into_iter().flatten().min()
    }

    /// Takes the next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.poll()
    }

    /// One ticket, with its evidence.
    pub fn view(&self, now: Stamp, number: u64) -> Option<TicketView> {
        let mut view = self.show(&now, self.book.get(&number)?);
        view.evidence = self.evidence.get(&number).cloned();
        Some(view)
    }

    /// Tickets from the newest to the oldest, without evidence: those below `before`, at most `limit`.
    pub fn list(&self, now: Stamp, before: Option<u64>, limit: usize) -> Vec<TicketView> {
        let range = ..before.unwrap_or(u64::MAX);
        self.book.range(range).rev().take(limit).map(|(_, ticket)| self.show(&now, ticket)).collect()
    }

    fn show(&self, now: &Stamp, ticket: &Ticket) -> TicketView {
        let mut view = TicketView::of(ticket, now, self.quiet_of(ticket));
        if ticket.still_takes() {
            view.children = Some(self.children.listed(ticket.number)).filter(|children| children.count > 0);
        }
        view
    }

    /// What stands on the guard's status, the most urgent first: what an escalation put there, and P0 from the start.
    pub fn guard_messages(&self) -> Vec<GuardMessage> {
        let shown = self.book.values().filter(|ticket| self.is_on_guard_status(ticket));
        let mut messages: Vec<_> = shown.map(GuardMessage::of).collect();
        messages.sort_by_key(|message| (message.drill, message.priority, message.ticket));
        messages
    }

    fn is_on_guard_status(&self, ticket: &Ticket) -> bool {
        let mut taken = ticket.escalation.taken(self.kind(&ticket.kind));
        let by_step = taken.any(|(_, step)| step.guard_message && step.when.stays(self.mode));
        ticket.escalation.ended.is_none() && (by_step || ticket.priority == Priority::P0)
    }

    /// Numbers for metrics.
    pub fn counts(&self) -> TicketCounts {
        TicketCounts { open: self.open_count(), finished: self.finished.len(), ..self.counts }
    }

    pub(super) fn open_count(&self) -> usize {
        self.book.len() - self.finished.len()
    }

    pub(super) fn kind(&self, name: &str) -> &TicketKind {
        self.rules.kinds.get(name).unwrap_or(&self.plain)
    }

    pub(super) fn quiet_of(&self, ticket: &Ticket) -> Quiet<'_> {
        self.rules.quiet_for(&ticket.category, ticket.priority)
    }

    /// Gives a number to a ticket. It is never given again.
    pub(super) fn mint(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.effects.keep(NEXT_KEY, &self.next);
        number
    }

    /// The ticket has changed.
    pub(super) fn touch(&mut self, number: u64) {
        self.changed.insert(number);
        self.looked.insert(number);
    }

    /// Something that the ticket goes by may have changed.
    pub(super) fn look(&mut self, number: u64) {
        self.looked.insert(number);
    }

    /// Records an event of a ticket under its next revision.
    pub(super) fn tell(
        &mut self,
        now: &Stamp,
        number: u64,
        change: TicketChange,
        update: Option<UpdateMark>,
        evidence: bool,
    ) {
        let listed = self.children.listed(number);
        let Some(ticket) = self.book.get_mut(&number) else { return };
        if ticket.still_takes() {
            ticket.children = listed;
        }
        ticket.told = (ticket.occurrences, ticket.children.count);
        ticket.box_rev += 1;
        let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
        let mut view = TicketView::of(ticket, now, quiet);
        view.change = Some(change);
        view.update = update;
        view.evidence = evidence.then(|| self.evidence.get(&number).cloned()).flatten();
        self.effects.event(Lane::Tickets, *now, "ticket", &view);
        self.told_at.insert(number, now.mono);
        self.tell_at.remove(&number);
        self.touch(number);
    }

    /// Records another event of a ticket; `document` is given the ticket's new revision.
    pub(super) fn tell_of<T: Serialize>(
        &mut self,
        now: &Stamp,
        number: u64,
        kind: &'static str,
        document: impl FnOnce(&Ticket) -> T,
    ) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        ticket.box_rev += 1;
        let document = document(ticket);
        self.effects.event(Lane::Tickets, *now, kind, &document);
        self.touch(number);
    }

    /// Brings a ticket into a state that somebody has set.
    pub(super) fn set_state(&mut self, now: &Stamp, number: u64, state: TicketState) {
        let Some(ticket) = self.book.get_mut(&number) else { return };
        let quiet = self.rules.quiet_for(&ticket.category, ticket.priority);
        ticket.enter(state, now, quiet);
        if ticket.is_live() {
            self.finished.remove(&number);
            if !ticket.drill {
                self.by_cause.insert(ticket.cause.clone(), number);
            }
        } else if !ticket.drill {
            self.finished.insert(number);
        }
        self.touch(number);
    }

    /// Forgets a ticket.
    pub(super) fn drop_ticket(&mut self, number: u64) {
        let Some(ticket) = self.book.remove(&number) else { return };
        let by = if ticket.drill { &mut self.drills } else { &mut self.by_cause };
        if by.get(&ticket.cause) == Some(&number) {
            by.remove(&ticket.cause);
        }
        self.finished.remove(&number);
        self.children.release_all(number, &mut self.effects);
        self.outputs.want(number, false, &[]);
        self.effects.forget(format!("{TICKET_KEY}{number}"));
        if self.evidence.remove(&number).is_some() {
            self.effects.forget(format!("{EVIDENCE_KEY}{number}"));
        }
        self.unschedule(number);
        self.tell_at.remove(&number);
        self.told_at.remove(&number);
    }
}
