//! The fuzz target `cjt188`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::cjt188;

libfuzzer_sys::fuzz_target!(|input: &[u8]| cjt188::run(input));
