//! What the API and the metrics see of the alarms.

use gatehouse_core::{DeviceIx, Mono, Stamp};

use super::Alarms;
use super::counts::{Counts, STALE, share};
use super::flood::Flood;
use super::kept::{Drill, Note};
use super::state::{Life, Standing};
use crate::instant::Instant;
use crate::words::{AlarmId, AlarmState, Occurrence, Priority};

/// One alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmView {
    /// Its name.
    pub id: AlarmId,
    /// Its state. An alarm at rest is suppressed while a parent's alarm stands.
    pub state: AlarmState,
    /// Whether its condition holds, its delays over.
    pub active: bool,
    /// True while the condition holds and its on-delay runs.
    pub pending: bool,
    /// The occurrence to acknowledge; `None` before the first one.
    pub occurrence: Option<Occurrence>,
    /// How urgent it is.
    pub priority: Priority,
    /// When its state became what it is; `None` when it has not changed since the start.
    pub since: Option<Stamp>,
    /// What happened last; `""` for nothing.
    pub message: String,
    /// What to do; `""` for nothing known.
    pub instruction: String,
    /// The device that it is about.
    pub device: Option<DeviceIx>,
    /// Who acknowledged what stands.
    pub acknowledged: Option<Note>,
    /// Who shelved it, and the end of that.
    pub shelved: Option<(Note, Mono)>,
    /// Who took it out of service.
    pub out_of_service: Option<Note>,
    /// The alarm that explains it.
    pub suppressed_by: Option<AlarmId>,
    /// True while it comes three times a minute.
    pub chattering: bool,
    /// Entries to unacknowledged since the start.
    pub occurrences: u64,
    /// True when it was raised in a drill.
    pub drill: bool,
}

impl Alarms {
    /// One alarm.
    pub fn view(&self, id: &AlarmId) -> Option<AlarmView> {
        self.index.get(id).map(|ix| self.view_of(*ix))
    }

    /// All alarms, by name; those at rest too.
    pub fn list(&self) -> impl Iterator<Item = AlarmView> + '_ {
        self.index.values().map(|ix| self.view_of(*ix))
    }

    /// The flood that is on.
    pub fn flood(&self) -> Option<&Flood> {
        self.flood.on()
    }

    /// Which alarms are a drill.
    pub fn drill(&self) -> &Drill {
        &self.drill
    }

    /// The figures of ISA-18.2. It walks all alarms: for metrics, not for each reading.
    pub fn counts(&self, now: &Stamp) -> Counts {
        let mut counts = Counts {
            occurrences: self.windows.total,
            last_hour: self.windows.last_hour(now.mono),
            last_ten_minutes: self.flood.in_window(now.mono),
            bad_windows: self.windows.bad(now.mono),
            fleeting: self.fleeting,
            flood: self.flood.on().is_some(),
            refused: self.refused,
            ..Counts::default()
        };
        let mut entries: Vec<u64> = Vec::with_capacity(self.instances.len());
        for instance in &self.instances {
            let run = &instance.run;
            let priority = self.specs[instance.class].priority as usize;
            if let Some(of) = counts.by_priority.get_mut(priority) {
                let mask = run.standing.mask();
                let shown = matches!(run.standing, Standing::Shown(_));
                of.active += u32::from(shown && run.standing.active());
                of.unacknowledged += u32::from(run.standing.unacknowledged());
                of.shelved += u32::from(mask.shelved);
                of.suppressed += u32::from(mask.suppressed && run.standing.active());
                of.out_of_service += u32::from(mask.out_of_service);
            }
            let standing = matches!(run.standing, Standing::Shown(Life::Unacknowledged | Life::Acknowledged));
            let stood = run.raised.and_then(|raised| Instant::from(raised).elapsed(now));
            counts.stale += u32::from(standing && stood.is_some_and(|stood| stood > STALE));
            counts.chattering += u32::from(run.chatter.is_on());
            entries.push(run.count);
        }
        entries.sort_unstable_by(|a, b| b.cmp(a));
        counts.top_ten = share(entries.iter().take(10).sum(), entries.iter().sum());
        counts
    }

    fn view_of(&self, ix: usize) -> AlarmView {
        let instance = &self.instances[ix];
        let spec = self.spec(ix);
        let run = &instance.run;
        AlarmView {
            id: (*instance.id).clone(),
            state: self.shown(ix),
            active: run.standing.active(),
            pending: matches!(run.delay, super::delay::Delay::Rising(_)),
            occurrence: run.occurrence,
            priority: spec.priority,
            since: Some(run.since).filter(|since| *since != Stamp::default()),
            message: run.message.to_string(),
            instruction: spec.instruction.clone(),
            device: instance.device,
            acknowledged: run.acknowledged.as_deref().cloned(),
            shelved: run.shelf.as_ref().zip(run.ends.shelf).map(|(shelf, end)| (shelf.note.clone(), end)),
            out_of_service: run.service.as_deref().cloned(),
            suppressed_by: self.cause(ix).map(|cause| (*self.instances[cause].id).clone()),
            chattering: run.chatter.is_on(),
            occurrences: run.count,
            drill: run.drill,
        }
    }
}
