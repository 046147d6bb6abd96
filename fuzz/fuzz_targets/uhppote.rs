//! The fuzz target `uhppote`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::uhppote;

libfuzzer_sys::fuzz_target!(|input: &[u8]| uhppote::run(input));
