//! The fuzz target `dlt645`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::dlt645;

libfuzzer_sys::fuzz_target!(|input: &[u8]| dlt645::run(input));
