//! What the configuration says of alarms: classes, and the sources that each class watches.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{DeviceIx, Name};

use super::builtin;
use super::state::Flags;
use crate::words::{AlarmId, Priority};

/// The most alarms of one box, those for missing data included.
pub const MAX_ALARMS: usize = 20_000;
/// The longest `class/source` in bytes, so that its key in the journal has at most 256.
pub const MAX_ID_BYTES: usize = 240;

/// One class of alarms: what all its sources have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSpec {
    /// The rule's id, or the name of a built-in class.
    pub class: String,
    /// What it is, for people; `""` for none. It is the message where none is given.
    pub title: String,
    /// How soon somebody has to respond.
    pub priority: Priority,
    /// The condition must hold so long without a break before it raises the alarm. A rule may write it `for`
    /// (Prometheus) or `on_delay` (ISA-18.2): it is the same delay.
    pub on_delay: Duration,
    /// The condition must be gone so long without a break before the alarm returns to normal. Written
    /// `keep_firing_for` or `off_delay`.
    pub off_delay: Duration,
    /// A condition that is gone waits for a reset.
    pub latch: bool,
    /// A condition that is gone needs nobody's acknowledgement.
    pub auto_acknowledge: bool,
    /// Acknowledged for so long and still there, it annunciates again.
    pub re_alarm: Option<Duration>,
    /// The kind of ticket that an occurrence opens.
    pub ticket: Option<Name>,
    /// Missing data for so long raises an alarm of its own, `no_data/CLASS/SOURCE`.
    pub no_data: Option<Duration>,
    /// The longest time for which it may be shelved at once.
    pub max_shelve: Duration,
    /// So long after it returned to normal it still explains the alarms whose parent it is: the staggered return of
    /// meters after a mains failure raises nothing.
    pub linger: Duration,
    /// Fire, trapped persons, gas: never delayed, never suppressed by a parent, never collapsed while it chatters.
    pub life_safety: bool,
    /// What to do, for the person who reads it; `""` for none.
    pub instruction: String,
}

impl AlarmSpec {
    /// A class with no delay, no latch and no ticket, which may be shelved for eight hours.
    pub fn new(class: impl Into<String>, priority: Priority) -> Self {
        AlarmSpec {
            class: class.into(),
            title: String::new(),
            priority,
            on_delay: Duration::ZERO,
            off_delay: Duration::ZERO,
            latch: false,
            auto_acknowledge: false,
            re_alarm: None,
            ticket: None,
            no_data: None,
            max_shelve: Duration::from_secs(8 * 3600),
            linger: Duration::ZERO,
            life_safety: false,
            instruction: String::new(),
        }
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { latch: self.latch, auto_acknowledge: self.auto_acknowledge }
    }
}

/// One thing that a class watches.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSource {
    /// The alarm; its class has an [`AlarmSpec`].
    pub id: AlarmId,
    /// The device that it is about.
    pub device: Option<DeviceIx>,
    /// Alarms that explain this one while their own condition holds, the most likely first: a device's `device_offline`
    /// has its bus and the mains here. An alarm about a value does not belong under its device's `device_offline`,
    /// which would hide it when the device is lost later; missing data holds it anyway. Parents that do not exist
    /// explain nothing.
    pub parents: Vec<AlarmId>,
    /// Alarms that explain that this one's data is missing: `device_offline` of its device, its bus, the mains.
    pub data_parents: Vec<AlarmId>,
}

/// Why classes and sources do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Two classes have one name.
    #[error("the alarm class {0:?} is defined twice")]
    DuplicateClass(String),
    /// A class latches and acknowledges itself, which cannot both be.
    #[error("{0:?}: latch and auto_acknowledge exclude each other: a latched alarm waits for a person")]
    LatchAndAutoAcknowledge(String),
    /// An on-delay would hold back life safety.
    #[error("{0:?}: life safety has no on-delay: remove `for`/`on_delay`, or `life_safety`")]
    DelayedLifeSafety(String),
    /// A source's class is not defined.
    #[error("{0}: there is no alarm class {class:?}", class = .0.class)]
    UnknownClass(AlarmId),
    /// A source is listed twice.
    #[error("{0}: listed twice")]
    DuplicateSource(AlarmId),
    /// The names are too long together.
    #[error("{id}: class and source have {bytes} bytes together, at most {MAX_ID_BYTES} are possible")]
    LongId {
        /// The alarm.
        id: AlarmId,
        /// Its length.
        bytes: usize,
    },
    /// Alarms explain each other in a circle, so that each would hide the other.
    #[error("{0}: it is its own parent, by way of its parents")]
    ParentCircle(AlarmId),
    /// There are too many alarms.
    #[error("{0} alarms, those for missing data included; at most {MAX_ALARMS} are possible")]
    TooMany(usize),
}

/// Classes and sources that fit together, missing-data alarms included.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) specs: Vec<AlarmSpec>,
    /// Sorted by id.
    pub(super) seats: Vec<Seat>,
}

/// One alarm of a [`Layout`]. Positions count in [`Layout::seats`].
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: AlarmId,
    pub(super) class: usize,
    pub(super) device: Option<DeviceIx>,
    pub(super) on_delay: Duration,
    pub(super) parents: Vec<usize>,
    /// The alarm for missing data of this one.
    pub(super) watch: Option<usize>,
}

impl Layout {
    /// # Errors
    /// All that does not fit, in the order of the arguments.
    pub(super) fn new(mut specs: Vec<AlarmSpec>, sources: &[AlarmSource]) -> Result<Self, Vec<SpecError>> {
        let mut errors = check_specs(&specs);
        if specs.iter().any(|spec| spec.no_data.is_some()) && !specs.iter().any(|spec| spec.class == builtin::NO_DATA) {
            specs.extend(builtin::spec(builtin::NO_DATA));
        }
        let classes: BTreeMap<&str, usize> = specs.iter().enumerate().map(|(ix, spec)| (&*spec.class, ix)).collect();
        let mut plans = Vec::new();
        for source in sources {
            let Some((&class, spec)) = classes.get(&*source.id.class).and_then(|ix| Some((ix, specs.get(*ix)?))) else {
                errors.push(SpecError::UnknownClass(source.id.clone()));
                continue;
            };
            let on_delay = if spec.life_safety { Duration::ZERO } else { spec.on_delay };
            plans.push(Plan { id: source.id.clone(), class, on_delay, source, parents: &source.parents, watch: None });
            if let (Some(after), Some(&class)) = (spec.no_data, classes.get(builtin::NO_DATA)) {
                let id = watch_id(&source.id);
                if let Some(own) = plans.last_mut() {
                    own.watch = Some(id.clone());
                }
                plans.push(Plan { id, class, on_delay: after, source, parents: &source.data_parents, watch: None });
            }
        }
        plans.sort_by(|a, b| a.id.cmp(&b.id));
        errors.extend(plans.windows(2).filter_map(|pair| match pair {
            [a, b] if a.id == b.id => Some(SpecError::DuplicateSource(b.id.clone())),
            _ => None,
        }));
        errors.extend(plans.iter().filter_map(|plan| too_long(&plan.id)));
        if plans.len() > MAX_ALARMS {
            errors.push(SpecError::TooMany(plans.len()));
        }
        let seats = seat(plans);
        errors.extend(circle(&seats).map(SpecError::ParentCircle));
        if errors.is_empty() { Ok(Layout { specs, seats }) } else { Err(errors) }
    }
}

struct Plan<'a> {
    id: AlarmId,
    class: usize,
    on_delay: Duration,
    source: &'a AlarmSource,
    parents: &'a [AlarmId],
    watch: Option<AlarmId>,
}

/// The alarm that tells that data of `id` is missing.
pub(super) fn watch_id(id: &AlarmId) -> AlarmId {
    AlarmId { class: builtin::NO_DATA.to_owned(), source: id.to_string() }
}

/// Says so when the id is too long to be kept.
pub(super) fn too_long(id: &AlarmId) -> Option<SpecError> {
    let bytes = id.class.len() + 1 + id.source.len();
    (bytes > MAX_ID_BYTES).then(|| SpecError::LongId { id: id.clone(), bytes })
}

fn check_specs(specs: &[AlarmSpec]) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for spec in specs {
        if !seen.insert(&spec.class) {
            errors.push(SpecError::DuplicateClass(spec.class.clone()));
        }
        if spec.latch && spec.auto_acknowledge {
            errors.push(SpecError::LatchAndAutoAcknowledge(spec.class.clone()));
        }
        if spec.life_safety && !spec.on_delay.is_zero() {
            errors.push(SpecError::DelayedLifeSafety(spec.class.clone()));
        }
    }
    errors
}

/// Turns names into positions.
fn seat(plans: Vec<Plan<'_>>) -> Vec<Seat> {
    let position = |id: &AlarmId| plans.binary_search_by(|plan| plan.id.cmp(id)).ok();
    let links: Vec<_> = plans
        .iter()
        .map(|plan| (plan.parents.iter().filter_map(position).collect(), plan.watch.as_ref().and_then(position)))
        .collect();
    plans
        .into_iter()
        .zip(links)
        .map(|(plan, (parents, watch))| Seat {
            id: plan.id,
            class: plan.class,
            device: plan.source.device,
            on_delay: plan.on_delay,
            parents,
            watch,
        })
        .collect()
}

/// An alarm that is its own ancestor, if there is one: what is left when alarms whose parents are all gone go.
fn circle(seats: &[Seat]) -> Option<AlarmId> {
    let mut waits: Vec<usize> = seats.iter().map(|seat| seat.parents.len()).collect();
    let mut children: Vec<Vec<usize>> = seats.iter().map(|_| Vec::new()).collect();
    for (ix, seat) in seats.iter().enumerate() {
        for &parent in &seat.parents {
            if let Some(list) = children.get_mut(parent) {
                list.push(ix);
            }
        }
    }
    let mut free: Vec<usize> = waits.iter().enumerate().filter(|(_, n)| **n == 0).map(|(ix, _)| ix).collect();
    while let Some(ix) = free.pop() {
        for &child in children.get(ix).into_iter().flatten() {
            if let Some(left) = waits.get_mut(child) {
                *left -= 1;
                if *left == 0 {
                    free.push(child);
                }
            }
        }
    }
    seats.iter().zip(waits).find(|(_, left)| *left > 0).map(|(seat, _)| seat.id.clone())
}
