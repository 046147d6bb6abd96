//! Random happenings.
