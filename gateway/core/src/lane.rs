//! Lanes: classes of traffic, each with its own sequence of records.

use std::fmt;

/// A class of traffic. Each lane numbers its records by itself, from 1, without repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Someone or something went through a gate, or was refused.
    Passages,
    /// Work orders and their changes.
    Tickets,
    /// Alarm transitions.
    Alarms,
    /// What the box and people did: commands, configuration, clock and link changes, gaps.
    Audit,
    /// Readings that bills are made of.
    Billing,
    /// All other readings.
    Telemetry,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Lane; 6] =
        [Lane::Passages, Lane::Tickets, Lane::Alarms, Lane::Audit, Lane::Billing, Lane::Telemetry];

    /// The lane's name in topics, payloads, metrics and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Passages => "passages",
            Lane::Tickets => "tickets",
            Lane::Alarms => "alarms",
            Lane::Audit => "audit",
            Lane::Billing => "billing",
            Lane::Telemetry => "telemetry",
        }
    }

    /// The lane of that name.
    pub fn from_name(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.as_str() == name)
    }

    /// True for the lanes of events, which the journal keeps; the spool keeps the two lanes of readings.
    pub fn is_event(self) -> bool {
        !matches!(self, Lane::Billing | Lane::Telemetry)
    }

    /// Position in [`Lane::ALL`], for tables.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
