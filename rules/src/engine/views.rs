//! What may be looked at from outside, without telling the engine anything.

use jiff::tz::TimeZone;

use super::{Engine, Latest};
use crate::alarm::Alarms;
use crate::catalog::{Catalog, PointRef};
use crate::command::Commands;
use crate::gate::Gates;
use crate::mode::Modes;
use crate::schedule::Calendar;
use crate::supply::Supplies;
use crate::ticket::Tickets;
use crate::words::Mode;

impl Engine {
    /// Whether the core can be reached.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The modes, with the outage that is on.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Alarms that are not at rest.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Barriers and doors.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Work orders.
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Commands, and how far each has come.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// Supplies that are to be given back.
    pub fn supplies(&self) -> &Supplies {
        &self.supplies
    }

    /// The site's work days and holidays, and its zone.
    pub fn calendar(&self) -> (&Calendar, &TimeZone) {
        (&self.calendar, &self.zone)
    }

    /// Who works a point, so that nobody else may write it.
    ///
    /// A board whose own commands work a gate is reserved as a whole: the same relays are behind its points.
    pub fn reserved(&self, at: PointRef) -> Option<&str> {
        self.reserved.writes(at)
    }

    /// The site's devices.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The last readings.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// Names the state of the rule files that is in force.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many conditions were evaluated since the start.
    pub fn evaluations(&self) -> u64 {
        self.rules.evaluations()
    }
}
