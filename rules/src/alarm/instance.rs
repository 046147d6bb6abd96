//! One alarm: what is configured of it, and how it runs.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, Stamp};

use super::chatter::Chatter;
use super::delay::{Delay, Progress, Truth};
use super::kept::{KeptAlarm, Note, Shelf};
use super::spec::AlarmSpec;
use super::state::{Life, Standing};
use crate::instant::Instant;
use crate::words::{AlarmId, AlarmState, Occurrence, Priority};

/// The longest message, name and comment, in characters.
pub(super) const MESSAGE: usize = 500;
pub(super) const WHO: usize = 100;
pub(super) const COMMENT: usize = 300;

/// One alarm.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: Arc<AlarmId>,
    pub(super) class: usize,
    pub(super) device: Option<DeviceIx>,
    pub(super) on_delay: Duration,
    pub(super) parents: Vec<usize>,
    pub(super) children: Vec<usize>,
    /// The alarm for missing data of this one.
    pub(super) watch: Option<usize>,
    /// True when no source of the configuration stands for it.
    pub(super) found: bool,
    pub(super) run: Run,
}

/// How one alarm runs: all of it survives a reload, and what matters of it a restart.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) truth: Truth,
    pub(super) delay: Delay,
    pub(super) standing: Standing,
    pub(super) occurrence: Option<Occurrence>,
    /// Entries to unacknowledged since the start.
    pub(super) count: u64,
    /// When the state became what it is.
    pub(super) since: Stamp,
    /// When the condition last came.
    pub(super) raised: Option<Stamp>,
    /// Of the occurrence that stands.
    pub(super) message: Box<str>,
    /// Of the condition that is pending.
    pub(super) coming: Option<Box<str>>,
    pub(super) acknowledged: Option<Box<Note>>,
    pub(super) shelf: Option<Box<Shelf>>,
    pub(super) service: Option<Box<Note>>,
    pub(super) lingers: Option<Instant>,
    pub(super) chatter: Chatter,
    pub(super) drill: bool,
    /// The state that was told last.
    pub(super) told: AlarmState,
    /// Transitions since then that were not told, because it chatters.
    pub(super) collapsed: u32,
    /// True when the journal holds a document of it.
    pub(super) kept: bool,
    /// Where it stands in the timer table.
    pub(super) due: Option<Mono>,
    pub(super) ends: Ends,
}

/// When the spans of an alarm end that are counted across restarts, by the monotonic clock of this boot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) shelf: Option<Mono>,
    pub(super) re_alarm: Option<Mono>,
    pub(super) lingers: Option<Mono>,
}

impl Run {
    pub(super) fn new() -> Self {
        Run {
            truth: Truth::Missing,
            delay: Delay::Off,
            standing: Standing::NORMAL,
            occurrence: None,
            count: 0,
            since: Stamp::default(),
            raised: None,
            message: "".into(),
            coming: None,
            acknowledged: None,
            shelf: None,
            service: None,
            lingers: None,
            chatter: Chatter::default(),
            drill: false,
            told: AlarmState::Normal,
            collapsed: 0,
            kept: false,
            due: None,
            ends: Ends::default(),
        }
    }

    /// As it was when `kept` was written. Nothing is known of its condition since: data is missing.
    pub(super) fn restored(kept: KeptAlarm, now: Mono) -> Self {
        let ran = Duration::from_millis(kept.delay_ms);
        let delay = match (kept.standing.active(), ran.is_zero()) {
            (true, true) => Delay::On,
            (true, false) => Delay::Falling(Progress::frozen(ran)),
            (false, true) => Delay::Off,
            (false, false) => Delay::Rising(Progress::frozen(ran)),
        };
        Run {
            delay,
            standing: kept.standing,
            occurrence: kept.occurrence,
            since: kept.since.into(),
            raised: kept.raised.map(Stamp::from),
            message: kept.message.into(),
            acknowledged: kept.acknowledged.map(Box::new),
            shelf: kept.shelf.map(Box::new),
            service: kept.service.map(Box::new),
            lingers: kept.lingers,
            chatter: if kept.chattering { Chatter::restored(now) } else { Chatter::default() },
            drill: kept.drill,
            told: kept.told,
            collapsed: kept.collapsed,
            kept: true,
            ..Run::new()
        }
    }

    /// Takes its new standing, with what belongs to that alone.
    pub(super) fn stand(&mut self, now: &Stamp, to: Standing, acknowledged: Option<&Note>, re_alarm: Option<Duration>) {
        let from = std::mem::replace(&mut self.standing, to);
        if from.state() != to.state() {
            self.since = *now;
        }
        let acknowledges = |at| matches!(at, Standing::Shown(Life::Acknowledged | Life::LatchedAcknowledged));
        if !acknowledges(to) {
            self.acknowledged = None;
        } else if !acknowledges(from) {
            self.acknowledged = acknowledged.cloned().map(Box::new);
        }
        if to != Standing::Shown(Life::Acknowledged) {
            self.ends.re_alarm = None;
        } else if from != to {
            self.ends.re_alarm = re_alarm.map(|after| now.mono + after);
        }
        if self.shelf.is_none() {
            self.ends.shelf = None;
        }
    }

    /// True when a restart may forget it.
    pub(super) fn at_rest(&self) -> bool {
        self.standing == Standing::NORMAL
            && self.delay.kept_progress().is_zero()
            && self.lingers.is_none()
            && !self.chatter.is_on()
            && self.told == AlarmState::Normal
            && self.collapsed == 0
    }

    pub(super) fn document(&self, priority: Priority, found: bool) -> KeptAlarm {
        KeptAlarm {
            standing: self.standing,
            occurrence: self.occurrence,
            since: self.since.into(),
            raised: self.raised.map(Instant::from),
            message: self.message.to_string(),
            priority,
            delay_ms: u64::try_from(self.delay.kept_progress().as_millis()).unwrap_or(u64::MAX),
            acknowledged: self.acknowledged.as_deref().cloned(),
            shelf: self.shelf.as_deref().cloned(),
            service: self.service.as_deref().cloned(),
            lingers: self.lingers,
            told: self.told,
            collapsed: self.collapsed,
            chattering: self.chatter.is_on(),
            drill: self.drill,
            found,
        }
    }

    /// Counts the ends of its spans anew: the relation of kept instants to this boot may have become known.
    pub(super) fn rebase(&mut self, now: &Stamp, spec: &AlarmSpec) {
        let left =
            |since: &Instant, span: Duration| now.mono + span.saturating_sub(since.elapsed(now).unwrap_or_default());
        self.ends = Ends {
            shelf: self.shelf.as_ref().map(|shelf| left(&shelf.note.at, Duration::from_millis(shelf.for_ms))),
            re_alarm: spec
                .re_alarm
                .zip(self.acknowledged.as_ref())
                .filter(|_| self.standing.state() == AlarmState::Acknowledged)
                .map(|(after, note)| left(&note.at, after)),
            lingers: self.lingers.as_ref().map(|since| left(since, spec.linger)),
        };
    }

    /// The next instant at which it does something by itself.
    pub(super) fn next_due(&self, delays: (Duration, Duration)) -> Option<Mono> {
        let Ends { shelf, re_alarm, lingers } = self.ends;
        [self.delay.due(delays), self.chatter.due(), shelf, re_alarm, lingers].into_iter().flatten().min()
    }
}

/// Text for documents: no control characters, at most `limit` characters.
pub(super) fn bounded(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}
