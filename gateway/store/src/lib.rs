//! The box's memory: the spool of readings and the journal of state and events.
