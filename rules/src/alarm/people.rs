//! What people do to alarms.

use std::time::Duration;

use gatehouse_core::{Mono, Stamp};

use super::Alarms;
use super::event::Say;
use super::instance::{COMMENT, WHO, bounded};
use super::kept::{Note, Shelf};
use super::state::{AlarmEvent, Life, Standing};
use crate::words::{AlarmId, Occurrence};

/// Who does something, and why. Names are kept to 100 characters, comments to 300.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    /// Who.
    pub who: &'a str,
    /// Why, or what they saw; `""` for nothing.
    pub comment: &'a str,
}

/// What came of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckResult {
    /// It is acknowledged now.
    Done,
    /// There is nothing to acknowledge (any more). Recorded, and nothing changed.
    AlreadyDone,
    /// The alarm has another occurrence by now, which is not acknowledged by this. Recorded, and nothing changed.
    OldOccurrence(Occurrence),
    /// There is no such alarm.
    NoSuchAlarm,
}

/// What came of shelving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShelveResult {
    /// It is shelved until then.
    Done(Mono),
    /// It is shelved already, until then. Recorded, and nothing changed.
    AlreadyDone(Mono),
    /// Its class may be shelved for so long at most.
    TooLong(Duration),
    /// There is no such alarm.
    NoSuchAlarm,
}

/// What came of ending a shelving, of taking an alarm out of service, or of giving it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestResult {
    /// It is done.
    Done,
    /// It was so already. Recorded, and nothing changed.
    AlreadyDone,
    /// There is no such alarm.
    NoSuchAlarm,
}

/// What came of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetResult {
    /// The latch is released.
    Done,
    /// There was no latch to release. Recorded, and nothing changed.
    AlreadyDone,
    /// It has to be acknowledged first. Recorded, and nothing changed.
    AcknowledgeFirst,
    /// The condition still holds. Recorded, and nothing changed.
    StillActive,
    /// There is no such alarm.
    NoSuchAlarm,
}

impl Alarms {
    /// Acknowledges one occurrence of an alarm.
    pub fn handle_acknowledge(&mut self, now: Stamp, id: &AlarmId, occurrence: Occurrence, by: By<'_>) -> AckResult {
        let Some(ix) = self.find(&now, id) else { return AckResult::NoSuchAlarm };
        let run = &self.instances[ix].run;
        let note = by.note(now);
        match run.occurrence {
            Some(current) if current != occurrence => {
                let say = Say { meant: Some(occurrence), ..Say::by(AlarmEvent::Acknowledge, &note) };
                self.tell(&now, ix, say);
                self.keep(ix);
                AckResult::OldOccurrence(current)
            }
            None | Some(_) => {
                let owed = run.standing.unacknowledged();
                self.apply(&now, ix, AlarmEvent::Acknowledge, Say::by(AlarmEvent::Acknowledge, &note));
                if owed { AckResult::Done } else { AckResult::AlreadyDone }
            }
        }
    }

    /// Hides an alarm for a while. Its condition is followed meanwhile.
    pub fn handle_shelve(&mut self, now: Stamp, id: &AlarmId, span: Duration, by: By<'_>) -> ShelveResult {
        let Some(ix) = self.find(&now, id) else { return ShelveResult::NoSuchAlarm };
        let max = self.spec(ix).max_shelve;
        if span > max {
            return ShelveResult::TooLong(max);
        }
        let note = by.note(now);
        let run = &mut self.instances[ix].run;
        let already = run.ends.shelf;
        if already.is_none() {
            let for_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            run.shelf = Some(Box::new(Shelf { note: note.clone(), for_ms }));
            run.ends.shelf = Some(now.mono + Duration::from_millis(for_ms));
        }
        self.apply(&now, ix, AlarmEvent::Shelve, Say::by(AlarmEvent::Shelve, &note));
        match already {
            Some(until) => ShelveResult::AlreadyDone(until),
            None => ShelveResult::Done(now.mono + span),
        }
    }

    /// Ends a shelving before its time.
    pub fn handle_unshelve(&mut self, now: Stamp, id: &AlarmId, by: By<'_>) -> RequestResult {
        let Some(ix) = self.find(&now, id) else { return RequestResult::NoSuchAlarm };
        let was = self.instances[ix].run.shelf.take().is_some();
        self.apply(&now, ix, AlarmEvent::Unshelve, Say::by(AlarmEvent::Unshelve, &by.note(now)));
        if was { RequestResult::Done } else { RequestResult::AlreadyDone }
    }

    /// Takes an alarm out of service for maintenance, or gives it back.
    pub fn handle_out_of_service(&mut self, now: Stamp, id: &AlarmId, out: bool, by: By<'_>) -> RequestResult {
        let Some(ix) = self.find(&now, id) else { return RequestResult::NoSuchAlarm };
        let note = by.note(now);
        let service = &mut self.instances[ix].run.service;
        let was = service.is_some();
        let event = if out {
            service.get_or_insert_with(|| Box::new(note.clone()));
            AlarmEvent::RemoveFromService
        } else {
            *service = None;
            AlarmEvent::ReturnToService
        };
        self.apply(&now, ix, event, Say::by(event, &note));
        if was == out { RequestResult::AlreadyDone } else { RequestResult::Done }
    }

    /// Releases the latch of an alarm whose condition is gone and which is acknowledged.
    pub fn handle_reset(&mut self, now: Stamp, id: &AlarmId, by: By<'_>) -> ResetResult {
        let Some(ix) = self.find(&now, id) else { return ResetResult::NoSuchAlarm };
        let was = self.instances[ix].run.standing;
        self.apply(&now, ix, AlarmEvent::Reset, Say::by(AlarmEvent::Reset, &by.note(now)));
        match was {
            Standing::Shown(Life::LatchedAcknowledged) => ResetResult::Done,
            Standing::Shown(Life::LatchedUnacknowledged) => ResetResult::AcknowledgeFirst,
            Standing::Shown(Life::Normal | Life::ReturnedUnacknowledged) => ResetResult::AlreadyDone,
            Standing::Shown(Life::Unacknowledged | Life::Acknowledged) => ResetResult::StillActive,
            Standing::Masked { active: true, .. } => ResetResult::StillActive,
            Standing::Masked { active: false, .. } => ResetResult::AlreadyDone,
        }
    }

    fn find(&mut self, now: &Stamp, id: &AlarmId) -> Option<usize> {
        self.wake(now);
        self.index.get(id).copied()
    }
}

impl By<'_> {
    fn note(&self, now: Stamp) -> Note {
        Note { who: bounded(self.who, WHO), comment: bounded(self.comment, COMMENT), at: now.into() }
    }
}
