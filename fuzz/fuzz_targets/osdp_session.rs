//! The fuzz target `osdp_session`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_fuzz::session;

libfuzzer_sys::fuzz_target!(|input: &[u8]| session::run(input));
