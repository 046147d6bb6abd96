//! A reply of a meter takes no memory from the heap on its way from its bytes to its readings.

use gatehouse_hil::bench::decode::{cases, measure};
use gatehouse_hil::counting::{Counting, taken};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn replies_of_modbus_dlt645_and_cjt188_go_through_the_line_without_the_heap() {
    let mut seen = Vec::new();
    for case in cases().unwrap().into_iter().filter(|case| case.without_heap) {
        let name = case.name;
        let figure = measure(case, 300).unwrap();
        assert_eq!(figure.taken, 0, "{name}: {figure:?}");
        seen.push(name.split(',').next().unwrap());
    }
    assert_eq!(seen, ["Modbus RTU", "Modbus TCP", "DL/T 645", "CJ/T 188"]);
}

#[test]
fn every_protocol_gives_values_and_what_the_heap_gives_is_counted() {
    for case in cases().unwrap() {
        let name = case.name;
        let figure = measure(case, 50).unwrap();
        assert!(figure.values >= u64::from(figure.frames), "{name}: {figure:?}");
    }
    let before = taken();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(taken() - before, 1);
}
