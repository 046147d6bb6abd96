//! The fuzz target `line`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::line;

libfuzzer_sys::fuzz_target!(|input: &[u8]| line::run(input));
