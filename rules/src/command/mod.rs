//! Commands: one requested action, one outcome, at most once.
