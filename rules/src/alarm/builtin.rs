//! The classes that need no rule: conditions that other parts of the box find.

use std::time::Duration;

use gatehouse_core::Name;

use super::spec::AlarmSpec;
use crate::words::Priority;

/// The class of alarms that tell that another alarm's data is missing.
pub const NO_DATA: &str = "no_data";

/// The defaults of one built-in class. The configuration may override each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Builtin {
    /// The class.
    pub class: &'static str,
    /// How soon somebody has to respond.
    pub priority: Priority,
    /// What it is, for people.
    pub title: &'static str,
    /// What to do, for people.
    pub instruction: &'static str,
    /// The kind of ticket that it opens.
    pub ticket: Option<&'static str>,
    /// Seconds of on-delay and off-delay.
    pub delays_s: (u64, u64),
    /// How it lives.
    pub manner: Manner,
}

/// How the alarms of a built-in class live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A person acknowledges it, before or after it has returned to normal.
    Plain,
    /// A person acknowledges it and resets it once the cause is removed.
    Latched,
    /// It needs nobody once it is over.
    Passing,
    /// Like [`Manner::Passing`], and it explains other alarms until so many seconds after its end.
    Explaining(u64),
    /// Life safety: latched, never delayed, never suppressed.
    LifeSafety,
}

impl Builtin {
    /// The class as a specification that the configuration may change.
    pub fn spec(&self) -> AlarmSpec {
        let (on_s, off_s) = self.delays_s;
        let mut spec = AlarmSpec::new(self.class, self.priority);
        spec.title = self.title.to_owned();
        spec.instruction = self.instruction.to_owned();
        spec.ticket = self.ticket.map(|kind| Name::new(kind).expect("a ticket kind of the table is a name"));
        spec.on_delay = Duration::from_secs(on_s);
        spec.off_delay = Duration::from_secs(off_s);
        match self.manner {
            Manner::Plain => {}
            Manner::Latched => spec.latch = true,
            Manner::Passing => spec.auto_acknowledge = true,
            Manner::Explaining(linger_s) => {
                spec.auto_acknowledge = true;
                spec.linger = Duration::from_secs(linger_s);
            }
            Manner::LifeSafety => {
                spec.latch = true;
                spec.life_safety = true;
                spec.max_shelve = Duration::from_secs(30 * 60);
            }
        }
        spec
    }
}

/// The specification of one built-in class.
pub fn spec(class: &str) -> Option<AlarmSpec> {
    BUILTIN.iter().find(|builtin| builtin.class == class).map(Builtin::spec)
}

/// The specifications of all built-in classes.
pub fn specs() -> Vec<AlarmSpec> {
    BUILTIN.iter().map(Builtin::spec).collect()
}

const fn row(
    class: &'static str,
    priority: Priority,
    manner: Manner,
    ticket: Option<&'static str>,
    delays_s: (u64, u64),
    (title, instruction): (&'static str, &'static str),
) -> Builtin {
    Builtin { class, priority, title, instruction, ticket, delays_s, manner }
}

/// All built-in classes.
///
/// Priorities follow section 2 of the hand-over's alarm document (consequence and time to respond); its section 4
/// gives the delays of contacts. Offline devices and buses have their own count of missed polls before the condition
/// comes, and no further delay here.
#[rustfmt::skip]
pub const BUILTIN: &[Builtin] = &{
    use Manner::{Explaining, Latched, LifeSafety, Passing, Plain};
    use Priority::{P0, P1, P2, P3};
    [
        row("fire", P0, LifeSafety, Some("fire"), (0, 0),
            ("Fire", "Follow the fire plan. Barriers are raised and doors released; reset on the spot when all is clear.")),
        row("fire_line", P1, Plain, Some("fire_system"), (0, 5),
            ("The fire contact's line is broken", "Check the wire from the fire panel to the box; until then the box cannot see a fire.")),
        row("mains_lost", P1, Explaining(300), Some("power"), (0, 10),
            ("Mains failure", "Check the main switch and ask the supplier; the box runs on its battery.")),
        row("bus_offline", P1, Explaining(60), Some("bus"), (0, 0),
            ("No device on the bus answers", "Check the bus's converter, its supply and its wiring at the first device.")),
        row("foreign_master", P2, Passing, Some("bus"), (0, 600),
            ("Somebody else asks on the bus", "Find the other master on these wires and take it off: two that ask at once garble each other.")),
        row("device_offline", P2, Explaining(0), Some("device"), (0, 0),
            ("The device does not answer", "Check its supply, its wiring and its address.")),
        row(NO_DATA, P3, Passing, None, (600, 0),
            ("No data", "What the rule needs cannot be read; see the device's state.")),
        row("disk_full", P1, Passing, Some("box"), (60, 60),
            ("The disk is nearly full", "Free space, or replace the medium.")),
        row("memory_low", P2, Passing, Some("box"), (60, 60),
            ("Memory is low", "See what else runs on the box; restart it when nobody needs a gate.")),
        row("too_hot", P2, Passing, Some("box"), (60, 300),
            ("The box is too hot", "Check the cabinet's ventilation and filters.")),
        row("clock_unset", P2, Passing, None, (300, 0),
            ("The clock is not set", "Check the link and the time server; schedules and credentials depend on the time.")),
        row("certificate_ending", P2, Passing, Some("box"), (0, 0),
            ("A certificate ends soon", "Install the new certificate before the old one ends.")),
        row("calendar_ending", P3, Passing, Some("box"), (0, 0),
            ("The calendar of holidays ends soon", "Install the next year's calendar.")),
        row("spool_filling", P2, Passing, None, (60, 300),
            ("The store for readings fills up", "Bring the link back; the oldest telemetry is thinned when it is full.")),
        row("link_down", P2, Passing, Some("link"), (600, 60),
            ("No link to the core", "Check the router, the SIM card and the supplier's network; the site goes on by itself.")),
        row("store_trouble", P1, Passing, Some("box"), (0, 60),
            ("The store does not do its part", "Replace the box's medium soon; see the box's log.")),
        row("credentials_unusable", P2, Passing, Some("box"), (60, 0),
            ("Nobody can be let in by a credential", "Gates follow their offline policy; have the core send a full snapshot, and see the box's log.")),
        row("contact_lost", P1, Passing, Some("box"), (0, 10),
            ("A contact or relay of the box cannot be used", "Check the site file's [box] and the box's terminals; what hangs on it is not seen or not worked.")),
        row("controller_list", P2, Passing, Some("device"), (0, 0),
            ("A controller's list of cards is not what it is to be", "See `gatehouse status`; make room on the list, or keep other programs from writing it. The box goes on trying.")),
        row("supply_unconfirmed", P1, Plain, Some("supply"), (0, 0),
            ("Nobody knows whether a supply is on", "Look at the meter's relay or valve: the box told it to switch and saw no proof; it does not ask twice.")),
        row("rule_failed", P3, Passing, None, (0, 60),
            ("A rule cannot be evaluated", "Correct the rule; see its message.")),
        row("gate_forced", P1, Latched, Some("security"), (0, 0),
            ("A door or barrier was forced", "Look at the gate and its camera, then reset.")),
        row("gate_held_open", P2, Plain, None, (0, 0),
            ("A door or barrier is held open", "Close it, or see what holds it.")),
        row("gate_fault", P1, Plain, Some("gate"), (0, 0),
            ("A door or barrier does not move as asked", "Open by hand if need be; call service.")),
        row("gate_blocked", P2, Plain, Some("gate"), (0, 0),
            ("Something blocks the barrier", "Clear the lane.")),
        row("gate_hit", P1, Latched, Some("gate"), (0, 0),
            ("A barrier was hit", "See to persons and the car, check the boom, then reset.")),
        row("gate_remote_opened", P3, Passing, None, (0, 0),
            ("A barrier was opened by its own remote control", "Find out who has it; passages by it are not checked.")),
        row("tailgating", P3, Passing, None, (0, 0),
            ("Somebody followed through without asking", "See the gate's camera.")),
        row("unpaid_exit", P2, Plain, None, (0, 0),
            ("A car left unpaid", "Claim the fee afterwards; see the passage.")),
        row("tamper", P1, Latched, Some("security"), (0, 0),
            ("A cabinet or reader was opened", "Look at it, close it, then reset.")),
        row("guard_guessing", P2, Plain, Some("security"), (0, 0),
            ("Somebody guesses codes", "The reader is locked for a while; see its camera.")),
        row("meter_swapped", P2, Plain, Some("device"), (0, 0),
            ("Another meter answers in a meter's place", "Find out which meter it is, and record it with `gatehouse meters swap`.")),
        row("meter_reset", P2, Plain, Some("device"), (0, 0),
            ("A meter began anew at zero", "Look at the meter; record it with `gatehouse meters swap`, with the readings that you find.")),
        row("meter_regression", P2, Plain, Some("device"), (0, 0),
            ("A meter's register went back", "Look at the meter and its address; what it counted since is not billed until a swap is recorded.")),
        row("meter_jump", P2, Plain, Some("device"), (0, 0),
            ("A meter counted more than can be", "Look at the meter and its connections, and at the stated maximum.")),
        row("meter_rollover", P3, Passing, None, (0, 0),
            ("A meter's register reached its end", "Nothing: the readings go on past it.")),
        row("reading_missed", P3, Passing, None, (0, 0),
            ("A fixed-clock reading of a meter is missing", "Look at the meter; enter what it shows with `gatehouse meters enter`.")),
        row("meter_record", P3, Passing, None, (0, 0),
            ("The site file and a meter's record differ", "The record counts. Correct the site file, or record what was changed with `gatehouse meters swap`.")),
        row("round_missed", P3, Plain, Some("round"), (0, 0),
            ("A round or patrol point was missed", "Make up for it, and say why.")),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;
    use crate::alarm::{AlarmSource, Alarms};
    use crate::words::AlarmId;

    #[test]
    fn every_built_in_class_is_sound_and_tells_people_what_to_do() {
        for builtin in BUILTIN {
            assert!(!builtin.title.is_empty() && !builtin.instruction.is_empty(), "{}", builtin.class);
            assert!(Name::new(builtin.class).is_ok(), "{}", builtin.class);
            assert_eq!(builtin.priority == Priority::P0, builtin.manner == Manner::LifeSafety, "{}", builtin.class);
        }
        let sources: Vec<_> = BUILTIN
            .iter()
            .map(|builtin| AlarmSource {
                id: AlarmId { class: builtin.class.to_owned(), source: "box".to_owned() },
                device: None,
                parents: Vec::new(),
                data_parents: Vec::new(),
            })
            .collect();
        assert!(Alarms::new(specs(), &sources, &Catalog::default()).is_ok());
    }
}
