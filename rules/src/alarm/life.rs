//! How one alarm lives: what its condition, its timers and its parents do to it, and what is told of that.

use gatehouse_core::{Lane, Stamp, Trust};

use super::chatter::ChatterDue;
use super::delay::Truth;
use super::event::{AlarmDocument, ChatteringDocument, FloodDocument, Say, Why};
use super::flood::FloodTurn;
use super::instance::{MESSAGE, bounded};
use super::kept::{ALARM, Ceiling, FLOOD, OCCURRENCES};
use super::state::{AlarmEvent, Life, Standing, step};
use super::{Alarms, counts, spec};
use crate::instant::Instant;
use crate::words::{AlarmChange, AlarmState, Occurrence, Priority};

/// How many occurrence numbers are reserved at a time.
const RESERVE: u64 = 64;

impl Alarms {
    /// A condition's truth changed.
    pub(super) fn turn(&mut self, now: &Stamp, ix: usize, truth: Truth, message: impl FnOnce() -> String) {
        let was = self.instances[ix].run.truth;
        self.turn_own(now, ix, truth, message);
        if (was == Truth::Missing) != (truth == Truth::Missing) {
            self.turn_watch(now, ix);
        }
    }

    /// Tells the alarm for missing data of `ix` how that stands.
    pub(super) fn turn_watch(&mut self, now: &Stamp, ix: usize) {
        let instance = &self.instances[ix];
        let Some(watch) = instance.watch else { return };
        let missing = if instance.run.truth == Truth::Missing { Truth::True } else { Truth::False };
        if self.instances[watch].run.truth != missing {
            let id = instance.id.clone();
            self.turn_own(now, watch, missing, || format!("{id} has no data"));
        }
    }

    fn turn_own(&mut self, now: &Stamp, ix: usize, truth: Truth, message: impl FnOnce() -> String) {
        let instance = &mut self.instances[ix];
        let delays = (instance.on_delay, self.specs[instance.class].off_delay);
        let run = &mut instance.run;
        run.truth = truth;
        if truth == Truth::True && !run.delay.holds() && run.coming.is_none() {
            run.coming = Some(bounded(&message(), MESSAGE).into());
        }
        let kept = run.delay.kept_progress();
        let turned = run.delay.turn(now.mono, truth, delays);
        if truth == Truth::False && !run.delay.holds() {
            run.coming = None;
        }
        let progress_lost = kept != run.delay.kept_progress();
        match turned {
            Some(on) => self.condition(now, ix, on),
            None if progress_lost => self.keep(ix),
            None => {}
        }
        self.arm(ix);
    }

    /// The alarm's condition, its delay over, came or went.
    fn condition(&mut self, now: &Stamp, ix: usize, on: bool) {
        let instance = &mut self.instances[ix];
        let spec = &self.specs[instance.class];
        let parent = !instance.children.is_empty();
        let run = &mut instance.run;
        if on {
            run.message =
                run.coming.take().filter(|text| !text.is_empty()).unwrap_or_else(|| spec.title.as_str().into());
            run.raised = Some(*now);
            run.lingers = None;
            run.ends.lingers = None;
            self.apply(now, ix, AlarmEvent::ConditionOn, Say::because(Why::ConditionOn));
            if self.instances[ix].run.chatter.on(now.mono) {
                self.tell_chattering(now, ix, true);
                self.keep(ix);
            }
        } else {
            let stood = run.raised.and_then(|raised| Instant::from(raised).elapsed(now));
            let unseen = run.standing == Standing::Shown(Life::Unacknowledged);
            self.fleeting += u64::from(unseen && stood.is_some_and(|stood| stood <= counts::FLEETING));
            if parent && !spec.linger.is_zero() {
                run.lingers = Some(Instant::from(*now));
                run.ends.lingers = Some(now.mono + spec.linger);
            }
            self.apply(now, ix, AlarmEvent::ConditionOff, Say::because(Why::ConditionOff));
        }
        self.explain_children(now, ix);
    }

    /// Has an event happen to an alarm, tells it and keeps it.
    pub(super) fn apply(&mut self, now: &Stamp, ix: usize, event: AlarmEvent, say: Say<'_>) {
        let explained = event == AlarmEvent::ConditionOn && self.explained(ix);
        let instance = &mut self.instances[ix];
        let spec = &self.specs[instance.class];
        let run = &mut instance.run;
        let from = run.standing;
        let masked = if explained { step(from, AlarmEvent::Suppress, spec.flags()) } else { from };
        let to = step(masked, event, spec.flags());
        let raised = to == Standing::Shown(Life::Unacknowledged) && (from != to || event == AlarmEvent::ReAlarm);
        if event == AlarmEvent::ConditionOn || raised {
            run.drill = self.drill.covers(&spec.class) && (run.drill || event == AlarmEvent::ConditionOn);
        }
        run.stand(now, to, say.note.filter(|_| event == AlarmEvent::Acknowledge), spec.re_alarm);
        let collapses = matches!(event, AlarmEvent::ConditionOn | AlarmEvent::ConditionOff)
            && run.chatter.is_on()
            && !spec.life_safety;
        let newly_suppressed = |at: Standing| at.mask().suppressed && at.active();
        if raised {
            run.count += 1;
            self.windows.note(now.mono);
            if !collapses {
                self.flood.annunciated(now.mono, &spec.class);
            }
            let occurrence = self.mint();
            self.instances[ix].run.occurrence = Some(occurrence);
        } else if newly_suppressed(to) && !newly_suppressed(from) {
            let cause = self.cause(ix).map(|cause| self.instances[cause].id.to_string());
            self.flood.suppressed(now.mono, &cause.unwrap_or_default());
        }
        if from == to && !raised {
            if say.note.is_some() {
                self.tell(now, ix, say);
                self.keep(ix);
            }
            return;
        }
        self.hand_on(now, ix, from);
        if collapses {
            let run = &mut self.instances[ix].run;
            run.collapsed = run.collapsed.saturating_add(1);
        } else {
            self.tell(now, ix, say);
        }
        self.keep(ix);
        self.arm(ix);
    }

    fn mint(&mut self) -> Occurrence {
        if self.next_occurrence >= self.ceiling {
            self.ceiling = self.next_occurrence + RESERVE;
            self.effects.keep(OCCURRENCES, &Ceiling { ceiling: self.ceiling });
        }
        self.next_occurrence += 1;
        Occurrence(self.next_occurrence - 1)
    }

    fn hand_on(&mut self, now: &Stamp, ix: usize, from: Standing) {
        let cause = self.cause(ix).map(|cause| (*self.instances[cause].id).clone());
        let instance = &self.instances[ix];
        let spec = &self.specs[instance.class];
        let run = &instance.run;
        self.changes.push_back(AlarmChange {
            id: (*instance.id).clone(),
            occurrence: run.occurrence.unwrap_or(Occurrence(0)),
            from: from.state(),
            to: run.standing.state(),
            active: run.standing.active(),
            at: *now,
            priority: spec.priority,
            message: run.message.to_string(),
            instruction: spec.instruction.clone(),
            device: instance.device,
            cause,
            ticket: spec.ticket.clone(),
            drill: run.drill,
        });
    }

    /// Records an event `alarm` from the state that was told last to the one that is.
    pub(super) fn tell(&mut self, now: &Stamp, ix: usize, say: Say<'_>) {
        let cause = self.cause(ix);
        let instance = &self.instances[ix];
        let spec = &self.specs[instance.class];
        let run = &instance.run;
        let until = run.ends.shelf.filter(|_| say.why == Why::Shelve).map(|end| now.mono.until(end));
        let micros = until.and_then(|left| i64::try_from(left.as_micros()).ok());
        let document = AlarmDocument {
            alarm: &instance.id,
            change: say.why,
            occurrence: run.occurrence,
            meant: say.meant,
            from: run.told,
            to: run.standing.state(),
            active: run.standing.active(),
            priority: spec.priority,
            message: &run.message,
            instruction: &spec.instruction,
            device: instance.device.and_then(|ix| self.devices.get(ix.0 as usize)).map(|name| name.as_str()),
            cause: cause.map(|cause| &*self.instances[cause].id),
            drill: run.drill,
            flood: self.flood.on().is_some() && spec.priority != Priority::P0,
            collapsed: run.collapsed,
            who: say.note.map(|note| &*note.who),
            comment: say.note.map(|note| &*note.comment).filter(|text| !text.is_empty()),
            until_s: until.map(|left| left.as_secs()),
            until: micros.filter(|_| now.trust != Trust::Unset).and_then(|left| {
                Some(jiff::Timestamp::from_microsecond(now.wall.0.checked_add(left)?).ok()?.to_string())
            }),
        };
        self.effects.event(Lane::Alarms, *now, "alarm", &document);
        let run = &mut self.instances[ix].run;
        run.told = run.standing.state();
        run.collapsed = 0;
    }

    fn tell_chattering(&mut self, now: &Stamp, ix: usize, on: bool) {
        let instance = &self.instances[ix];
        let priority = self.specs[instance.class].priority;
        self.effects.event(Lane::Alarms, *now, "chattering", &ChatteringDocument { alarm: &instance.id, on, priority });
    }

    /// Tells what was collapsed, if anything was.
    pub(super) fn tell_collapsed(&mut self, now: &Stamp, ix: usize) {
        let run = &self.instances[ix].run;
        if run.collapsed > 0 || run.told != run.standing.state() {
            self.tell(now, ix, Say::because(Why::Chattering));
            self.keep(ix);
        }
    }

    /// Writes or forgets the alarm's document.
    pub(super) fn keep(&mut self, ix: usize) {
        let instance = &mut self.instances[ix];
        let key = || format!("{ALARM}{}", instance.id);
        if !instance.run.at_rest() {
            let document = instance.run.document(self.specs[instance.class].priority, instance.found);
            self.effects.keep(key(), &document);
            instance.run.kept = true;
        } else if instance.run.kept {
            self.effects.forget(key());
            instance.run.kept = false;
        }
    }

    /// Puts the alarm's next instant into the timer table.
    pub(super) fn arm(&mut self, ix: usize) {
        let instance = &mut self.instances[ix];
        let due = instance.run.next_due((instance.on_delay, self.specs[instance.class].off_delay));
        if due == instance.run.due {
            return;
        }
        if let Some(old) = instance.run.due {
            self.timers.remove(&(old, ix));
        }
        instance.run.due = due;
        self.timers.extend(due.map(|at| (at, ix)));
    }

    /// Does what is due of one alarm.
    pub(super) fn tick(&mut self, now: &Stamp, ix: usize) {
        let due = |end: Option<gatehouse_core::Mono>| end.is_some_and(|end| end <= now.mono);
        let instance = &mut self.instances[ix];
        let delays = (instance.on_delay, self.specs[instance.class].off_delay);
        if let Some(on) = instance.run.delay.tick(now.mono, delays) {
            self.condition(now, ix, on);
        } else if instance.run.delay.take_checkpoint(now.mono, delays) {
            self.keep(ix);
        }
        if due(self.instances[ix].run.ends.shelf) {
            self.instances[ix].run.shelf = None;
            self.apply(now, ix, AlarmEvent::Unshelve, Say::because(Why::ShelfEnded));
        }
        if due(self.instances[ix].run.ends.re_alarm) {
            self.apply(now, ix, AlarmEvent::ReAlarm, Say::because(Why::ReAlarm));
        }
        if due(self.instances[ix].run.ends.lingers) {
            self.instances[ix].run.lingers = None;
            self.instances[ix].run.ends.lingers = None;
            self.keep(ix);
            self.explain_children(now, ix);
        }
        match self.instances[ix].run.chatter.tick(now.mono) {
            Some(ChatterDue::Over) => {
                self.tell_collapsed(now, ix);
                self.tell_chattering(now, ix, false);
                self.keep(ix);
            }
            Some(ChatterDue::Report) => self.tell_collapsed(now, ix),
            None => {}
        }
        self.arm(ix);
    }

    /// Begins and ends floods.
    pub(super) fn tick_flood(&mut self, now: Stamp) {
        let Some(turn) = self.flood.tick(now) else { return };
        match (turn, self.flood.on()) {
            (FloodTurn::Ends(flood), _) => {
                let lasted_s = flood.since.elapsed(&now).map(|lasted| lasted.as_secs());
                let document = FloodDocument { on: false, lasted_s, groups: &flood.groups };
                self.effects.event(Lane::Alarms, now, "flood", &document);
                self.effects.forget(FLOOD);
            }
            (FloodTurn::Begins, Some(flood)) => {
                let document = FloodDocument { on: true, lasted_s: None, groups: &flood.groups };
                self.effects.event(Lane::Alarms, now, "flood", &document);
                self.effects.keep(FLOOD, flood);
            }
            (FloodTurn::Goes, Some(flood)) => self.effects.keep(FLOOD, flood),
            (FloodTurn::Begins | FloodTurn::Goes, None) => {}
        }
    }

    /// An alarm whose drill is over and whose condition holds is raised again.
    pub(super) fn end_drill(&mut self, now: &Stamp, ix: usize) {
        let instance = &mut self.instances[ix];
        if !instance.run.drill || self.drill.covers(&self.specs[instance.class].class) {
            return;
        }
        match instance.run.standing {
            Standing::Shown(Life::Unacknowledged | Life::Acknowledged) => {
                self.apply(now, ix, AlarmEvent::ReAlarm, Say::because(Why::ReAlarm));
            }
            Standing::Masked { active: true, .. } => {
                instance.run.drill = false;
                self.keep(ix);
            }
            Standing::Shown(_) | Standing::Masked { active: false, .. } => {}
        }
    }

    /// True while a parent's condition explains the alarm.
    pub(super) fn explained(&self, ix: usize) -> bool {
        let instance = &self.instances[ix];
        !self.specs[instance.class].life_safety && instance.parents.iter().any(|parent| self.explains(*parent))
    }

    fn explains(&self, ix: usize) -> bool {
        let run = &self.instances[ix].run;
        run.standing.active() || run.lingers.is_some()
    }

    /// The alarm that explains this one and is itself explained by none.
    pub(super) fn cause(&self, ix: usize) -> Option<usize> {
        let mut cause = None;
        let mut at = ix;
        // Parents form no circle, so that the walk ends at the latest after as many steps as there are alarms.
        while !self.specs[self.instances[at].class].life_safety {
            let Some(parent) = self.instances[at].parents.iter().copied().find(|parent| self.explains(*parent)) else {
                break;
            };
            cause = Some(parent);
            at = parent;
        }
        cause
    }

    /// Suppresses what this alarm now explains, and shows what it explains no more.
    fn explain_children(&mut self, now: &Stamp, ix: usize) {
        for child in self.instances[ix].children.clone() {
            self.explain(now, child);
        }
    }

    /// Suppresses the alarm or shows it, as its parents say.
    pub(super) fn explain(&mut self, now: &Stamp, ix: usize) {
        let standing = self.instances[ix].run.standing;
        match (standing.mask().suppressed, self.explained(ix)) {
            (false, true) if standing.active() => {
                self.apply(now, ix, AlarmEvent::Suppress, Say::because(Why::Suppress));
            }
            (true, false) => self.apply(now, ix, AlarmEvent::Unsuppress, Say::because(Why::Unsuppress)),
            (false, _) | (true, true) => {}
        }
    }

    /// Counts all spans anew against the clock as it now is.
    pub(super) fn rebase_all(&mut self, now: &Stamp) {
        for ix in 0..self.instances.len() {
            let instance = &mut self.instances[ix];
            instance.run.rebase(now, &self.specs[instance.class]);
            self.arm(ix);
        }
    }

    /// The shown state: an alarm at rest whose parent's alarm stands is suppressed too, of which nothing is told.
    pub(super) fn shown(&self, ix: usize) -> AlarmState {
        let state = self.instances[ix].run.standing.state();
        if state == AlarmState::Normal && self.explained(ix) { AlarmState::Suppressed } else { state }
    }

    /// The class of an alarm.
    pub(super) fn spec(&self, ix: usize) -> &spec::AlarmSpec {
        &self.specs[self.instances[ix].class]
    }
}
