//! Calendars, weekly schedules and rounds.
