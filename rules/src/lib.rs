//! Readings to decisions: what is reported, and later alarms, tickets, gates and modes; no I/O, no clock.
