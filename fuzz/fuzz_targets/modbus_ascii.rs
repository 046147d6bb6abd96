//! The fuzz target `modbus_ascii`; `gatehouse_fuzz` says what it does.
#![no_main]
use gatehouse_drivers::modbus::Framing;
use gatehouse_fuzz::modbus;

libfuzzer_sys::fuzz_target!(|input: &[u8]| modbus::run(Framing::Ascii, input));
