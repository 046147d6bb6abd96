//! The keys of a point, as profiles and site files write them.

use gatehouse_core::Kind;
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Order, Table, WriteWith};
use gatehouse_drivers::point::{Place, PointSpec, Protocol};
use gatehouse_drivers::profile::{
    KeyError, Library, Profile, embedded, nearest, override_point, parse_limits, parse_point,
};
use proptest::prelude::*;
use toml::de::DeTable;

fn parse(text: &str) -> Result<PointSpec, Vec<KeyError>> {
    let table = DeTable::parse(text).expect("the test writes TOML");
    parse_point(Protocol::Modbus, table.get_ref(), table.span(), &["interval"])
}

fn spec(text: &str) -> PointSpec {
    parse(text).expect("the test writes a good point")
}

fn point(text: &str) -> ModbusPoint {
    modbus(&spec(text))
}

fn modbus(spec: &PointSpec) -> ModbusPoint {
    spec.modbus().expect("a point of Modbus").clone()
}

fn change(base: &PointSpec, text: &str) -> Result<PointSpec, Vec<String>> {
    let table = DeTable::parse(text).expect("the test writes TOML");
    override_point(base, table.get_ref(), table.span(), &["interval"])
        .map_err(|errors| errors.into_iter().map(|error| error.message).collect())
}

#[test]
fn a_point_takes_its_digits_as_written() {
    let power = point("name = 'power'\ntable = 'holding'\naddress = 0x10\ntype = 'i32'\nscale = 0.010\noffset = '-5'");
    assert_eq!((power.scale.to_string().as_str(), power.offset.to_string().as_str()), ("0.010", "-5"));
    assert_eq!(power.kind(), Kind::Decimal { exponent: -3 });
    assert_eq!((power.table, power.address, power.data_type), (Table::Holding, 16, DataType::I32));
    assert_eq!((power.order, power.write), (Order::Abcd, None));
}

#[test]
fn coils_and_inputs_need_no_type() {
    assert_eq!(point("name = 'a'\ntable = 'coil'\naddress = 1").data_type, DataType::Bool);
    assert_eq!(point("name = 'a'\ntable = 'discrete'\naddress = 1").kind(), Kind::Bool);
}

#[test]
fn bits_and_fields_of_a_register_are_picked() {
    let head = "name = 'a'\ntable = 'holding'\naddress = 1\n";
    let flag = point(&format!("{head}type = 'bool'\nbit = 15\nwrite = true"));
    assert_eq!((flag.bit, flag.kind(), flag.write), (Some((15, 1)), Kind::Bool, Some(WriteWith::Mask)));
    let field = point(&format!("{head}type = 'u16'\nbit = '4-7'\nscale = 0.5"));
    assert_eq!((field.bit, field.kind()), (Some((4, 4)), Kind::Decimal { exponent: -1 }));
}

#[test]
fn marks_become_bit_patterns_of_the_points_width() {
    let head = "name = 'a'\ntable = 'holding'\naddress = 1\n";
    assert_eq!(point(&format!("{head}type = 'i16'\nnot_available = -1")).not_available, [0xFFFF]);
    assert_eq!(
        point(&format!("{head}type = 'i32'\nnot_available = [0x7FFFFFFF, -2]")).not_available,
        [0x7FFF_FFFF, 0xFFFF_FFFE]
    );
    assert_eq!(point(&format!("{head}type = 'u64'\nnot_available = 0xFFFFFFFFFFFFFFFF")).not_available, [u64::MAX]);
}

#[test]
fn write_true_picks_the_function_that_suits() {
    let with = |rest: &str| point(&format!("name = 'a'\naddress = 1\nwrite = true\n{rest}")).write;
    assert_eq!(with("table = 'coil'"), Some(WriteWith::SingleCoil));
    assert_eq!(with("table = 'holding'\ntype = 'u16'"), Some(WriteWith::SingleRegister));
    assert_eq!(with("table = 'holding'\ntype = 'f32'"), Some(WriteWith::Registers));
    assert_eq!(with("table = 'holding'\ntype = 'text'\nregisters = 1"), Some(WriteWith::SingleRegister));
}

#[test]
fn keys_of_the_caller_pass_and_count_as_near_names() {
    assert!(parse("name = 'a'\ntable = 'coil'\naddress = 1\ninterval = '1s'").is_ok());
    let errors = parse("name = 'a'\ntable = 'coil'\naddress = 1\nintervall = '1s'").unwrap_err();
    assert_eq!(errors[0].help, "did you mean `interval`?");
    assert_eq!(errors[0].span, 38..47);
}

#[test]
fn an_override_changes_what_it_names_and_keeps_the_rest() {
    let library = Library::new();
    let base = &library.find("carlogavazzi-em340").unwrap().points[0];
    assert_eq!(change(base, "name = 'voltage_l1'\ninterval = '1s'").as_ref(), Ok(base));
    let scaled = change(base, "scale = 12.5\nunit = 'kV'").unwrap();
    let place = ModbusPoint { scale: modbus(&scaled).scale, ..modbus(base) };
    assert_eq!(scaled, PointSpec { unit: "kV".to_owned(), place: Place::Modbus(place), ..base.clone() });
    assert_eq!(modbus(&scaled).scale.to_string(), "12.5");
    assert_eq!(modbus(&change(base, "not_available = []").unwrap()).not_available, []);
}

#[test]
fn an_override_of_the_type_drops_what_belonged_to_the_old_one() {
    let base =
        spec("name = 'a'\ntable = 'holding'\naddress = 1\ntype = 'i32'\nnot_available = 0x7FFFFFFF\nwrite = true");
    let change = |base: &PointSpec, text: &str| change(base, text).map(|spec| modbus(&spec));
    let changed = change(&base, "type = 'u16'").unwrap();
    assert_eq!((changed.not_available.as_slice(), changed.write), (&[][..], None));
    assert_eq!(change(&base, "type = 'u16'\nwrite = true").unwrap().write, Some(WriteWith::SingleRegister));
    assert_eq!(change(&base, "write = false").unwrap().write, None);
}

#[test]
fn an_override_that_does_not_go_with_the_rest_is_refused() {
    let coil = spec("name = 'a'\ntable = 'coil'\naddress = 1\nwrite = true");
    assert_eq!(change(&coil, "scale = 10"), Err(vec!["`a` is bool, which has no scale or offset".to_owned()]));
    let last = spec("name = 'a'\ntable = 'holding'\naddress = 65535\ntype = 'u16'");
    assert_eq!(change(&last, "type = 'u32'"), Err(vec!["`a` takes 2 registers from 0xFFFF: past 0xFFFF".to_owned()]));
    assert_eq!(change(&last, "table = 'coil'"), Err(vec!["`a` lies in the table coil: one bit, not u16".to_owned()]));
}

#[test]
fn limits_of_a_device_change_single_limits_of_its_profile() {
    let library = Library::new();
    let base = &library.find("eastron-sdm630").unwrap().limits;
    let table =
        DeTable::parse("max_registers = 40\npause = '2s'\nholes = [{ table = 'input', first = 90, last = 99 }]")
            .unwrap();
    let limits = parse_limits(table.get_ref(), table.span(), base).unwrap();
    assert_eq!((limits.max_registers, limits.pause_ms, limits.even, limits.max_gap), (40, 2000, true, base.max_gap));
    assert_eq!(limits.holes, [(Table::Input, 90, 99)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_profile_is_read_or_refused_with_places_inside_it(
        which in 0..21usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,3}", 0..4usize), 1..6),
    ) {
        let mut text = embedded()[which].text.to_owned();
        for (at, insert, remove) in damage {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..(at + remove).min(chars.len()), insert.chars());
            text = chars.into_iter().collect();
        }
        if let Err(errors) = Profile::parse("damaged.toml", &text) {
            prop_assert!(!errors.is_empty());
            let lines = text.split('\n').count();
            for error in errors {
                prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
                prop_assert!(error.error.span.end <= text.len(), "{error}");
            }
        }
    }
}

#[test]
fn a_near_name_shares_something_with_what_was_written() {
    let near = |given: &str, names: &[&'static str]| nearest(given, names.iter().copied());
    assert_eq!((near("xx", &["id"]), near("q", &["id", "unit", "a"])), (None, None), "nothing is left of the word");
    assert_eq!(near("untt", &["id", "unit", "uplink"]), Some("unit"));
    let profiles = ["acrel-adl400", "eastron-sdm120", "eastron-sdm630", "eastron-sdm630-mct"];
    assert_eq!(near("sdm630", &profiles), Some("eastron-sdm630"), "a part, and of those the nearest");
    assert_eq!(near("SDM120-modbus", &["sdm120"]), Some("sdm120"));
    assert_eq!(near("sdm12o", &profiles), None);
    assert_eq!(near("ad", &profiles), None, "two letters stand in many names");
}
