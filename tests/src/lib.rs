//! Whole-system tests: real processes, real ports, real brokers, peers that nobody here wrote.
