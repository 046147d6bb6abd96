//! The fuzz target `osdp_frame`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::osdp;

libfuzzer_sys::fuzz_target!(|input: &[u8]| osdp::frames(input));
