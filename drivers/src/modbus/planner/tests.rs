use gatehouse_core::Decimal;
use proptest::prelude::*;

use super::*;
use crate::modbus::point::{DataType, Order};

fn point(table: Table, address: u16, width: u16) -> ModbusPoint {
    let data_type = match width {
        _ if table.is_bits() => DataType::Bool,
        1 => DataType::U16,
        2 => DataType::U32,
        4 => DataType::U64,
        registers => DataType::Text { registers },
    };
    ModbusPoint {
        table,
        address,
        data_type,
        order: Order::Abcd,
        bit: None,
        scale: Decimal::whole(1),
        offset: Decimal::whole(0),
        not_available: Vec::new(),
        write: None,
    }
}

fn holding(places: &[(u16, u16)]) -> Vec<ModbusPoint> {
    places.iter().map(|&(address, width)| point(Table::Holding, address, width)).collect()
}

fn all(specs: &[ModbusPoint]) -> Vec<PointIx> {
    (0..specs.len()).map(|at| PointIx(u16::try_from(at).unwrap())).collect()
}

/// 9600 baud 8N1: a request costs as much as some 15 registers.
const SLOW: Cost = Cost { per_request_ns: 30_000_000, per_byte_ns: 1_041_666 };

fn windows(specs: &[ModbusPoint], limits: &Limits, cost: Cost) -> Vec<(u16, u16)> {
    let reads = plan(specs, &all(specs), Framing::Rtu, limits, cost).unwrap();
    reads.iter().map(|read| (read.address, read.quantity)).collect()
}

#[test]
fn a_gap_is_read_across_when_that_is_cheaper_than_another_request() {
    let limits = Limits { max_gap: 100, ..Limits::default() };
    let specs = |gap: u16| holding(&[(0, 2), (2 + gap, 2)]);
    // 30 ms and the 13 bytes around it against 2 bytes a register: 20 registers are cheaper, 21 are not.
    assert_eq!(windows(&specs(20), &limits, SLOW), [(0, 24)]);
    assert_eq!(windows(&specs(21), &limits, SLOW), [(0, 2), (23, 2)]);
    assert_eq!(windows(&specs(100), &limits, Cost::tcp(Duration::from_millis(1))), [(0, 104)]);
}

#[test]
fn limits_holes_gaps_and_even_addresses_are_never_crossed() {
    let cost = Cost::tcp(Duration::from_millis(50));
    let specs = holding(&[(0, 2), (2, 2), (5, 1), (30, 4)]);
    let limits = Limits::default();
    assert_eq!(windows(&specs, &Limits { max_gap: 24, ..limits.clone() }, cost), [(0, 34)]);
    assert_eq!(windows(&specs, &Limits { max_gap: 23, ..limits.clone() }, cost), [(0, 6), (30, 4)]);
    assert_eq!(windows(&specs, &Limits { max_gap: 0, ..limits.clone() }, cost), [(0, 4), (5, 1), (30, 4)]);
    assert_eq!(windows(&specs, &Limits { max_registers: 4, ..limits.clone() }, cost), [(0, 4), (5, 1), (30, 4)]);
    let holes = vec![(Table::Holding, 4, 4), (Table::Input, 0, 100)];
    assert_eq!(windows(&specs, &Limits { holes, ..limits.clone() }, cost), [(0, 4), (5, 1), (30, 4)]);
    assert_eq!(windows(&specs, &Limits { even: true, ..limits }, cost), [(0, 6), (30, 4)]);
}

#[test]
fn a_point_that_no_read_can_give_is_named() {
    let limits = Limits { max_registers: 3, holes: vec![(Table::Holding, 11, 12)], ..Limits::default() };
    let refused = |place| plan(&holding(&[place]), &[PointIx(0)], Framing::Rtu, &limits, SLOW).unwrap_err();
    let point = PointIx(0);
    assert_eq!(refused((0, 4)), PlanError::TooWide { point, width: 4, most: 3 });
    assert_eq!(refused((10, 2)), PlanError::InHole { point, first: 11, last: 12 });
    assert_eq!(refused((65535, 2)), PlanError::BeyondLast { point });
    assert_eq!(
        plan(&holding(&[(65535, 1)]), &[point], Framing::Rtu, &limits, SLOW).unwrap(),
        [Read { table: Table::Holding, address: 65535, quantity: 1, points: vec![point] }]
    );
}

#[test]
fn tables_are_read_apart_and_bit_fields_of_one_register_together() {
    let mut specs = holding(&[(7, 1), (7, 1), (8, 1)]);
    specs.insert(0, point(Table::Input, 7, 1));
    specs.push(point(Table::Coil, 7, 1));
    let reads = plan(&specs, &all(&specs), Framing::Rtu, &Limits::default(), SLOW).unwrap();
    let points: Vec<_> = reads.iter().map(|read| (read.table, read.quantity, read.points.clone())).collect();
    let ix = |at: &[u16]| at.iter().map(|&at| PointIx(at)).collect::<Vec<_>>();
    assert_eq!(points, [(Table::Coil, 1, ix(&[4])), (Table::Holding, 2, ix(&[1, 2, 3])), (Table::Input, 1, ix(&[0]))]);
}

#[test]
fn as_many_coils_as_one_read_gives_are_one_request() {
    let specs: Vec<ModbusPoint> = (0..2001).map(|address| point(Table::Coil, address, 1)).collect();
    assert_eq!(windows(&specs, &Limits::default(), SLOW).len(), 2);
    assert_eq!(windows(&specs[1..], &Limits::default(), SLOW), [(1, 2000)]);
}

/// The time of the cheapest of all ways to share the points out over requests, consecutive or not.
fn brute_force(rules: &Rules, items: &[Item]) -> Option<u64> {
    fn place(rules: &Rules, items: &[Item], sets: &mut Vec<Vec<Item>>) -> Option<u64> {
        let Some((item, rest)) = items.split_first() else {
            return sets
                .iter()
                .map(|set| {
                    let (_, quantity) = rules.read(Table::Holding, set)?;
                    Some(rules.cost.read_ns(rules.framing, Table::Holding, quantity))
                })
                .sum();
        };
        let mut best = None;
        for at in 0..=sets.len() {
            if at == sets.len() {
                sets.push(Vec::new());
            }
            sets[at].push(*item);
            best = [best, place(rules, rest, sets)].into_iter().flatten().min();
            sets[at].pop();
            sets.retain(|set| !set.is_empty());
        }
        best
    }
    place(rules, items, &mut Vec::new())
}

proptest! {
    #[test]
    fn no_set_of_requests_is_cheaper_and_each_point_is_read_once_and_whole(
        places in proptest::collection::vec((0u16..40, prop_oneof![Just(1u16), Just(2), Just(4), Just(7)]), 1..7),
        max_registers in 7u16..30,
        max_gap in 0u16..20,
        even in any::<bool>(),
        hole in proptest::option::of((0u16..44, 0u16..3)),
        per_request_ns in 0u64..100_000_000,
        framing in prop_oneof![Just(Framing::Rtu), Just(Framing::Ascii), Just(Framing::Tcp)],
    ) {
        let holes = hole.map(|(first, more)| (Table::Holding, first, first + more)).into_iter().collect();
        let limits = Limits { max_registers, max_gap, even, holes, ..Limits::default() };
        let cost = Cost { per_request_ns, per_byte_ns: 1_041_666 };
        let rules = Rules { framing, cost, limits: &limits, cuts: &[] };
        let specs = holding(&places);
        let points: Vec<PointIx> = all(&specs).into_iter().filter(|&point| rules.can_read(&specs, point)).collect();

        let reads = plan(&specs, &points, framing, &limits, cost).unwrap();

        let mut covered: Vec<PointIx> = reads.iter().flat_map(|read| read.points.clone()).collect();
        covered.sort_unstable();
        prop_assert_eq!(&covered, &points);
        let mut total = 0;
        for read in &reads {
            let end = read.address + read.quantity;
            prop_assert!(read.quantity <= max_registers);
            prop_assert!(!even || read.address % 2 == 0 && read.quantity % 2 == 0);
            prop_assert!(limits.holes.iter().all(|&(_, first, last)| last < read.address || end <= first));
            for point in &read.points {
                let (start, width) = places[usize::from(point.0)];
                prop_assert!(read.address <= start && start + width <= end);
            }
            total += cost.read_ns(framing, Table::Holding, read.quantity);
        }
        let mut items: Vec<Item> =
            points.iter().map(|&point| Item::new(&specs[usize::from(point.0)], point)).collect();
        items.sort_by_key(|item| (item.start, item.end, item.point));
        prop_assert_eq!(Some(total), brute_force(&rules, &items));
    }
}
