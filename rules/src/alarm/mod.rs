//! Alarms: conditions with the life of ANSI/ISA-18.2.
