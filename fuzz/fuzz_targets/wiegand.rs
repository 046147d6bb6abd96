//! The fuzz target `wiegand`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::texts;

libfuzzer_sys::fuzz_target!(|input: &[u8]| texts::wiegand(input));
