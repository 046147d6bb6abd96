//! Decoding a frame of numbers takes no memory from the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use gatehouse_core::{Decoded, Driver, PointIx, StepId};
use gatehouse_drivers::cjt188::{self, Cjt188Meter, MeterType, Traits};
use gatehouse_drivers::dlt645::{Address, Dlt645Meter, Edition, MeterSettings, encode};
use gatehouse_drivers::modbus::{Cost, Framing, ModbusDevice};
use gatehouse_drivers::profile::Library;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be counted otherwise; each call is handed on as it came")]
// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of a hundred decodes, the first one aside.
fn allocations(driver: &dyn Driver, reply: &[u8]) -> usize {
    let mut readings = Vec::new();
    let mut before = 0;
    for turn in 0..=100 {
        readings.clear();
        let verdict = driver.decode(StepId(0), 0, reply, &mut readings);
        assert_eq!(verdict, Decoded::Reply { bytes: reply.len() });
        assert!(readings.iter().all(|reading| reading.value.is_ok()));
        if turn == 0 {
            before = TAKEN.with(Cell::get);
        }
    }
    TAKEN.with(Cell::get) - before
}

#[test]
fn a_frame_of_dlt645_is_decoded_without_the_heap() {
    let profile = Library::new().find("dlt645-2007-3p").unwrap().clone();
    let points: Vec<_> = profile.points.iter().filter(|p| p.name.starts_with("import_energy")).take(5).collect();
    let points: Vec<_> = points.iter().filter_map(|point| point.dlt645().copied()).collect();
    let address = Address::parse("000000001234").unwrap();
    let settings = MeterSettings { edition: Edition::V2007, address, preamble: 4, pause: Duration::ZERO, access: None };
    let meter = Dlt645Meter::new(settings, points, &[(0..5).map(PointIx).collect()]);
    let mut reply = Vec::new();
    encode(4, address, 0x91, &[&[0, 0xFF, 1, 0], &[0x12; 20]], &mut reply);
    assert_eq!(allocations(&meter, &reply), 0);
}

#[test]
fn the_numbers_of_a_frame_of_cjt188_are_decoded_without_the_heap() {
    let profile = Library::new().find("cjt188-heat-2004").unwrap().clone();
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.cjt188().copied()).take(8).collect();
    let address = cjt188::Address::parse("11110000000042").unwrap();
    let (edition, traits) = (cjt188::Edition::V2004, Traits { meter_type: MeterType(0x20), ..Traits::default() });
    let settings = cjt188::MeterSettings { edition, address, preamble: 3, pause: Duration::ZERO, traits };
    let meter = Cjt188Meter::new(settings, points, &[(0..8).map(PointIx).collect()]);
    let mut reply = Vec::new();
    let [heat, power, flow, volume] = [0x05, 0x17, 0x35, 0x2C].map(|unit| [0x56, 0x34, 0x12, 0x00, unit]);
    let rest = [[0x12; 9].as_slice(), &[0x53, 0x00, 0x12, 0x10, 0x07, 0x15, 0x20], &[0, 0]].concat();
    cjt188::encode(
        3,
        (MeterType(0x20), address),
        0x81,
        &[&[0x1F, 0x90, 0], &heat, &heat, &power, &flow, &volume, &rest],
        &mut reply,
    );
    assert_eq!(allocations(&meter, &reply), 0);
}

#[test]
fn a_frame_of_modbus_is_decoded_without_the_heap() {
    let profile = Library::new().find("eastron-sdm120").unwrap().clone();
    let points: Vec<_> = profile.points.iter().filter_map(|point| point.modbus().cloned()).take(1).collect();
    let cost = Cost { per_request_ns: 1, per_byte_ns: 1 };
    let group = vec![vec![PointIx(0)]];
    let device = ModbusDevice::new(Framing::Tcp, 1, points, group, profile.limits.clone(), cost).unwrap();
    assert_eq!(allocations(&device, &[0, 0, 0, 0, 0, 7, 1, 4, 4, 0x43, 0x66, 0x33, 0x33]), 0);
}
