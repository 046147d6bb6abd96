//! What a site file means: groups, reports, differences and forecasts.

use std::path::Path;
use std::time::Duration;

use gatehouse_config::box_io::{GpioLine, RelayOutput};
use gatehouse_config::forecast::{self, Assumptions};
use gatehouse_config::{Site, check};
use gatehouse_core::driver::Argument;
use gatehouse_drivers::profile::Library;
use gatehouse_rules::command::TargetClass;
use gatehouse_rules::engine::BoxLimits;
use gatehouse_rules::gate::{How, Role};
use gatehouse_rules::report::Policy;

const FULL: &str = include_str!("../../../docs/examples/full.toml");
/// Where the rule files are that it names.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
const METERED: &str = include_str!("../../../docs/examples/metered-link.toml");

fn site(text: &str) -> Site {
    let loaded =
        check("site.toml", text, Path::new(EXAMPLES), &Library::new()).map_err(|problems| problems.to_string());
    loaded.expect("the site file is sound").site
}

fn changed(from: &str, to: &str) -> Site {
    assert!(FULL.contains(from), "{from} is in the example");
    site(&FULL.replacen(from, to, 1))
}

#[test]
fn points_of_one_interval_are_polled_together() {
    let site = site(FULL);
    let (_, meter) = site.device_by_id("meter-101").unwrap();
    let groups: Vec<_> = meter.groups.iter().map(|group| (group.interval.as_secs(), group.points.len())).collect();
    assert_eq!(groups, [(60, 4), (10, 1)]);
    let (_, pump) = site.device_by_id("booster-pump").unwrap();
    let (_, pressure) = pump.point_by_name("outlet_pressure").unwrap();
    assert_eq!(pressure.interval, Duration::from_secs(5));
    assert_eq!(pressure.title, "Pressure after the pump");
}

#[test]
fn a_point_reports_by_its_own_word_then_its_unit_then_the_site() {
    let site = site(FULL);
    let report =
        |device: &str, point: &str| site.device_by_id(device).unwrap().1.point_by_name(point).unwrap().1.report;
    let band = |band, seconds| Policy::DeadBand { band, heartbeat: Duration::from_secs(seconds) };
    assert_eq!(report("meter-101", "power"), band(50.0, 300));
    assert_eq!(report("meter-102", "power"), band(20.0, 900));
    assert_eq!(report("meter-102", "import_energy"), Policy::Always);
    assert_eq!(report("booster-pump", "state"), Policy::OnChange { heartbeat: Duration::from_secs(900) });
}

#[test]
fn the_same_file_changes_nothing() {
    let diff = site(FULL).diff(&site(FULL));
    assert!(diff.is_empty(), "{diff:?}");
    assert_eq!(diff.unchanged, [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn a_label_stops_no_bus() {
    let diff = site(FULL).diff(&changed("room = \"101\"", "room = \"101a\""));
    assert_eq!((diff.unchanged.len(), diff.inventory, diff.reports), (3, true, false));
}

#[test]
fn an_interval_restarts_its_own_bus_alone() {
    let diff = site(FULL).diff(&changed("interval = \"30s\"", "interval = \"20s\""));
    assert_eq!((diff.unchanged, diff.changed), (vec![(0, 0), (2, 2)], vec![(1, 1)]));
}

#[test]
fn a_new_bus_in_front_leaves_the_others_alone() {
    let more = "[[bus]]\nid = \"new\"\ntcp = \"10.1.1.1\"\n\n[[device]]\nid = \"new\"\nbus = \"new\"\nprofile = \"xy-md02\"\n\n";
    let at = FULL.find("# An RS-485 pair on a USB").unwrap();
    let text = format!("{}{more}{}", &FULL[..at], &FULL[at..]);
    let diff = site(FULL).diff(&site(&text));
    assert_eq!((diff.unchanged, diff.added, diff.removed), (vec![(0, 1), (1, 2), (2, 3)], vec![0], vec![]));
    let back = site(&text).diff(&site(FULL));
    assert_eq!((back.added, back.removed), (vec![], vec![0]));
}

#[test]
fn another_clock_chip_needs_no_restart() {
    let (before, after) = (site(FULL), changed("rtc = \"/dev/i2c-1\"", ""));
    assert_eq!(before.clock.rtc.as_deref(), Some(Path::new("/dev/i2c-1")));
    assert_eq!(after.clock.rtc, None);
    let diff = before.diff(&after);
    assert!(diff.clock && diff.restart.is_empty() && diff.changed.is_empty(), "{diff:?}");
}

#[test]
fn settings_that_need_a_restart_are_named() {
    let diff = site(FULL).diff(&changed("max_size = \"512MB\"", "max_size = \"256MB\""));
    assert_eq!(diff.restart, ["data"]);
    let diff = site(FULL).diff(&changed("batch_window = \"30s\"", "batch_window = \"10s\""));
    assert!(diff.uplink && diff.restart.is_empty());
}

const DECIDED: &str = r#"
[site]
id = "riverside-7"
rules = "rules.toml"
[mode]
down = "10s"
up = "2m"
[commands]
keys = { core-1 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" }
max_life = "5m"
skew = "10s"
signed = ["gate"]
grave = ["trip", "write"]
local_only = ["reset_fire", "open"]
[mains]
point = "ups/input1"
lost = "off"
silences = { bus = "meters" }
[[bus]]
id = "board"
tcp = "10.0.0.4"
[[bus]]
id = "meters"
tcp = "10.0.0.5"
[[device]]
id = "ups"
bus = "board"
profile = "juying-dam0808"
interval = "1s"
[[device]]
id = "meter-101"
bus = "meters"
profile = "eastron-sdm630"
"#;

#[test]
fn what_is_decided_on_the_box_is_set_by_the_site() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [
        ("disk_full", "10%"),
        ("memory_low", "2.5%"),
        ("too_hot", "70.5°C"),
        ("spool_filling", "90%"),
        ("certificate_ending", "14d"),
        ("calendar_ending", "90d"),
    ];
    let text = limits.map(|(class, limit)| format!("[builtin.{class}]\nlimit = \"{limit}\"\n")).concat();
    std::fs::write(folder.path().join("rules.toml"), text).unwrap();
    let loaded = check("site.toml", DECIDED, folder.path(), &Library::new()).map_err(|problems| problems.to_string());
    let setup = loaded.expect("the site file is sound").site.rules;
    let seconds = Duration::from_secs;
    assert_eq!((setup.mode.down, setup.mode.up, setup.mode.uplink), (seconds(10), seconds(120), false));
    let commands = &setup.commands;
    assert_eq!((commands.longest_life, commands.skew), (seconds(300), seconds(10)));
    assert_eq!(commands.signing.keys.iter().map(|key| (key[0], key[31])).collect::<Vec<_>>(), [(0xd7, 0x1a)]);
    assert_eq!(commands.signing.box_id, "riverside-7");
    assert!(commands.signing.classes.iter().eq([&TargetClass::Gate]));
    let names = |names: &std::collections::BTreeSet<gatehouse_core::Name>| {
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&commands.signing.grave).join(" "), names(&commands.local_only).join(" ")),
        ("trip write".to_owned(), "open reset_fire".to_owned())
    );
    let mains = setup.mains.as_ref().unwrap();
    assert_eq!((mains.at.device.0, mains.lost_when), (0, false));
    assert!(mains.silences.as_ref().unwrap().iter().map(|ix| ix.0).eq([1]));
    let expected = BoxLimits {
        disk_free: 0.1,
        memory_free: 0.025,
        temperature_c: 70.5,
        spool_used: 0.9,
        certificate_days: 14,
        calendar_days: 90,
    };
    assert_eq!(setup.limits, expected);
}

const LINE: &str = r#"
[site]
id = "one"
[[bus]]
id = "a"
rtu_over_tcp = "127.0.0.1:1"
baud = 9600
turnaround = "20ms"
[[device]]
id = "m"
unit = 1
interval = "1s"
[[device.point]]
name = "p"
table = "holding"
address = 0
type = "f32"
"#;

#[test]
fn the_load_of_a_line_is_its_wire_time() {
    // 8 + 9 characters of 10 bits at 9600 baud, two silences of 3.5 characters, 20 ms turnaround:
    // 17.708 ms + 7.292 ms + 20 ms = 45.0 ms a second.
    let forecast = forecast::bus(&site(LINE), 0, 0).unwrap();
    assert!((forecast.load - 0.045).abs() < 1e-5, "{}", forecast.load);
    assert_eq!(forecast.devices[0].requests.len(), 1);
}

#[test]
fn a_dead_device_takes_at_most_its_probes() {
    let forecast = forecast::bus(&site(LINE), 0, 1).unwrap();
    // One probe of about 1 s every 5 minutes instead of the polls.
    assert!((0.003..0.005).contains(&forecast.load_with_dead), "{}", forecast.load_with_dead);
    assert!(forecast.hold_up > Duration::from_secs(6), "3 polls of 2 attempts of 1 s: {:?}", forecast.hold_up);
}

fn hundred_meters(uplink: &str) -> String {
    let mut text = format!(
        "[site]\nid = \"block\"\n[report]\ndefault = \"on-change\"\nheartbeat = \"1h\"\n\
         deadband = {{ V = \"2\", A = \"0.5\", W = \"100\", Hz = \"0.1\" }}\n\
         [uplink]\nbrokers = [\"mqtts://core.example\"]\n{uplink}\n[[bus]]\nid = \"a\"\ntcp = \"127.0.0.1\"\n"
    );
    for unit in 1..=100 {
        text.push_str(&format!(
            "[[device]]\nid = \"meter-{unit}\"\nbus = \"a\"\nunit = {unit}\nprofile = \"acrel-adl400\"\ninterval = \"1m\"\n\
             points = [\"import_energy\", \"voltage_l1\", \"voltage_l2\", \"voltage_l3\", \"current_l1\", \
             \"current_l2\", \"current_l3\", \"power\", \"frequency\"]\n"
        ));
    }
    text
}

#[test]
fn a_hundred_devices_a_minute_fit_into_a_hundred_megabytes_a_month() {
    let text = hundred_meters("batch_window = \"1m\"\ncompress = true");
    let link = forecast::link(&site(&text), Assumptions::default()).unwrap();
    println!("{link:?}");
    assert!(link.bytes < 100e6, "{} MB", link.bytes / 1e6);
    let plain = forecast::link(&site(&hundred_meters("")), Assumptions::default()).unwrap();
    println!("{plain:?}");
    assert!(plain.bytes > 3.0 * link.bytes, "batches and compression are what makes it fit");
}

#[test]
fn a_hundred_meters_of_the_example_for_a_sim_card_fit_into_a_hundred_megabytes_a_month() {
    let (head, device) = METERED.split_once("[[device]]\n").unwrap();
    assert!(device.contains("id = \"meter-101\"\nunit = 1\n") && device.contains("interval = \"1m\""), "{device}");
    let device = |unit: u32| {
        let its = device.replace("id = \"meter-101\"\nunit = 1\n", &format!("id = \"meter-{unit}\"\nunit = {unit}\n"));
        format!("[[device]]\n{its}\n")
    };
    let text = format!("{head}{}", (1..=100).map(device).collect::<String>());
    let hundred = site(&text);
    assert_eq!(hundred.devices.len(), 100);
    let month = |site: &Site| forecast::link(site, Assumptions::default()).unwrap();
    let link = month(&hundred);
    println!("{link:?}");
    assert!(link.bytes < 100e6, "{} MB", link.bytes / 1e6);
    let budget = hundred.uplink.as_ref().unwrap().daily_telemetry_bytes.unwrap();
    assert!(
        link.telemetry_bytes / 30.0 < f64::from(u32::try_from(budget).unwrap()),
        "an ordinary day is within budget"
    );
    let without = |line: &str| month(&site(&text.replace(line, ""))).bytes;
    for line in [
        "batch_window = \"1m\"",
        "compress = true",
        "points = [\"import_energy\", \"voltage_l1\", \"current_l1\", \"power\"]",
    ] {
        assert!(text.contains(line) && without(line) > 1.2 * link.bytes, "{line} saves something");
    }
}

#[test]
fn a_link_that_is_idle_costs_its_pings() {
    let text =
        format!("{LINE}report = \"on-change\"\n[uplink]\nbrokers = [\"mqtts://core.example\"]\nkeep_alive = \"1m\"\n");
    let text = text.replace("interval = \"1s\"", "interval = \"1h\"");
    let link = forecast::link(&site(&text), Assumptions { moves: 0.0 }).unwrap();
    // 43,200 pings of 2 x (2 + 22 + 52) + 52 bytes, and few messages.
    assert!((8.8e6..9.6e6).contains(&link.bytes), "{}", link.bytes);
}

const BOX: &str = r#"
[site]
id = "s"
[report]
deadband = { "°C" = "0.5" }
[box]
title = "Box in the lobby"
chip = "gpiochip0"
labels = { floor = "0" }
[[box.contact]]
name = "fire"
line = 17
active_low = true
bias = "pull-up"
debounce = "100ms"
[[box.contact]]
name = "door"
line = 18
debounce = { on = "0s" }
[[box.relay]]
name = "release"
chip = "/dev/gpiochip1"
line = 2
at_restart = "keep"
[[box.relay]]
name = "strike"
led = "relay1"
[box.climate]
bus = "i2c-1"
address = 0x45
[[gate]]
id = "lobby"
kind = "door"
open = { point = "box/strike", command = "pulse", time = "3s" }
[gate.sensors]
fire = "box/fire"
door_contact = { point = "box/door", filter_on = "200ms" }
"#;

#[test]
fn what_is_wired_to_the_box_is_a_device_in_the_order_of_the_file() {
    let site = site(BOX);
    let (ix, device) = site.own_device().unwrap();
    assert_eq!((device.id.as_str(), device.bus, device.category.as_str()), ("box", None, "box"));
    let points: Vec<_> = device.points.iter().map(|p| (p.spec.name.as_str(), p.spec.is_writable())).collect();
    let expected = [("fire", false), ("door", false), ("release", true), ("strike", true)];
    assert_eq!(points[..4], expected);
    assert_eq!(points[4..], [("temperature", false), ("humidity", false)]);
    let io = site.box_io.as_ref().unwrap();
    let kinds: Vec<_> = device.points.iter().map(|point| point.spec.kind()).collect();
    assert_eq!(kinds, io.layout().kinds(), "the points are what the device tells");
    assert_eq!(io.contacts[0].line.chip, Path::new("/dev/gpiochip0"));
    assert_eq!(io.relays[0].output, RelayOutput::Gpio(gpio("/dev/gpiochip1", 2)));
    assert_eq!(io.relays[1].output, RelayOutput::Led("/sys/class/leds/relay1".into()));
    let climate = io.climate.as_ref().unwrap();
    assert_eq!((climate.bus.as_path(), climate.address), (Path::new("/dev/i2c-1"), 0x45));
    assert_eq!(io.contacts[1].filter.on, Duration::ZERO);
    assert_eq!(io.contacts[1].filter.off, Duration::from_millis(50), "the usual one");
    let gate = &site.rules.gates[0];
    let open = gate.outputs.open.as_ref().unwrap();
    assert_eq!(open.device, ix);
    let How::Pulse { channel, argument, .. } = &open.how else { panic!("{open:?}") };
    assert_eq!((*channel, *argument), (Some(2), Argument::Units(30)), "relays are counted from 1");
}

fn gpio(chip: &str, offset: u32) -> GpioLine {
    GpioLine { chip: chip.into(), offset, active_low: false }
}

#[test]
fn a_contact_of_the_box_is_filtered_once() {
    let sensors = &site(BOX).rules.gates[0].sensors;
    assert_eq!(sensors[&Role::Fire].filter_on, Duration::ZERO);
    assert_eq!(sensors[&Role::DoorContact].filter_on, Duration::from_millis(200), "what the file says counts");
}

#[test]
fn contacts_are_recorded_when_they_move_and_the_air_as_the_site_says() {
    let site = site(BOX);
    let (_, device) = site.own_device().unwrap();
    let report = |name: &str| device.point_by_name(name).unwrap().1.report;
    assert_eq!(report("fire"), Policy::OnChange { heartbeat: Duration::from_secs(900) });
    assert_eq!(report("temperature"), Policy::DeadBand { band: 0.5, heartbeat: Duration::from_secs(900) });
    assert_eq!(report("humidity"), Policy::Always);
}

#[test]
fn another_wire_begins_the_box_anew_and_a_label_does_not() {
    let diff = |from: &str, to: &str| site(BOX).diff(&site(&BOX.replacen(from, to, 1)));
    assert!(!diff("floor = \"0\"", "floor = \"1\"").box_io);
    assert!(diff("line = 17", "line = 19").box_io);
    assert!(diff("name = \"fire\"", "name = \"fire2\"\nline = 40\n[[box.contact]]\nname = \"fire\"").box_io);
    let without = site(
        "[site]\nid = \"s\"\n[[bus]]\nid = \"b\"\ntcp = \"h\"\n[[device]]\nid = \"m\"\nprofile = \"eastron-sdm630\"\n",
    );
    assert!(site(BOX).diff(&without).box_io && without.diff(&site(BOX)).box_io);
}

#[test]
fn the_relays_are_known_while_the_rest_of_the_file_is_being_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.toml");
    std::fs::write(&path, BOX.replacen("id = \"s\"", "id = ", 1)).unwrap();
    let (relays, problems) = gatehouse_config::relays(&path).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(relays.iter().map(|relay| relay.name.as_str()).collect::<Vec<_>>(), ["release", "strike"]);
    assert!(gatehouse_config::relays(Path::new("/no/such/site.toml")).is_err());
}

#[test]
fn a_water_meter_has_what_its_profile_says_and_what_its_device_changes() {
    use gatehouse_drivers::cjt188::{DiOrder, MeterType, UnitPlace};
    let site = site(
        "[site]\nid = \"block\"\n[[bus]]\nid = \"riser\"\nrtu_over_tcp = \"10.0.0.6:4001\"\nbaud = 2400\nparity = \"even\"\n\
         [[device]]\nid = \"heat-1\"\naddress = \"00000040314132\"\nprofile = \"cjt188-heat-2004\"\n\
         di_order = \"high-first\"\nunit_place = \"before\"\npoints = [\"heat\", \"supply_temperature\", \"heat_month_12\"]\n\
         billing = [\"heat\"]\n[[device.point]]\nname = \"heat\"\nunit = \"MWh\"\n",
    );
    let (_, meter) = site.device_by_id("heat-1").unwrap();
    let gatehouse_config::Station::Cjt188(settings) = &meter.station else { panic!("{:?}", meter.station) };
    let traits = settings.traits;
    assert_eq!(
        (traits.meter_type, traits.di_order, traits.unit_place),
        (MeterType(0x20), DiOrder::HighFirst, UnitPlace::Before)
    );
    let asked = forecast::bus(&site, 0, 0).unwrap();
    let asked: Vec<_> = asked.devices[0].requests.iter().map(|request| request.step.asked.to_string()).collect();
    assert_eq!(asked, ["901F", "D12B"]);
    let driver = gatehouse_config::driver(&site.buses[0], meter, gatehouse_drivers::osdp::Secrets::default());
    let (mut steps, mut bytes) = (Vec::new(), Vec::new());
    driver.group_steps(0, &mut steps);
    driver.encode(steps[0], 0, &mut bytes);
    // cj-pub-08 of the vectors, with another serial number.
    assert_eq!(bytes[4..], [0x68, 0x20, 0x32, 0x41, 0x31, 0x40, 0, 0, 0, 1, 3, 0x90, 0x1F, 0, 0x1F, 0x16]);
}

#[test]
fn meters_of_both_editions_stand_beside_modbus_on_one_bus() {
    let site = site(
        "[site]\nid = \"block\"\n[[bus]]\nid = \"riser\"\nrtu_over_tcp = \"10.0.0.6:4001\"\nbaud = 2400\nparity = \"even\"\n\
         [[device]]\nid = \"meter-1\"\naddress = \"001500076004\"\nprofile = \"dlt645-2007-3p\"\n\
         points = [\"import_energy\", \"import_energy_t1\", \"voltage_l1\", \"relay_open\"]\nbilling = [\"import_energy\"]\n\
         [[device]]\nid = \"meter-2\"\naddress = \"000000000003\"\nprotocol = \"dlt645-1997\"\npreamble = 0\n\
         [[device.point]]\nname = \"voltage\"\ndi = \"B611\"\n\
         [[device]]\nid = \"meter-3\"\nunit = 3\nprofile = \"eastron-sdm120\"\n",
    );
    let (_, meter) = site.device_by_id("meter-1").unwrap();
    let (_, energy) = meter.point_by_name("import_energy").unwrap();
    assert_eq!((energy.spec.unit.as_str(), energy.billing), ("kWh", true));
    assert_eq!(energy.spec.kind(), gatehouse_core::Kind::Decimal { exponent: -2 });
    assert_eq!(meter.point_by_name("relay_open").unwrap().1.spec.kind(), gatehouse_core::Kind::Bool);
    let forecast = forecast::bus(&site, 0, 0).unwrap();
    let asked = |at: usize| forecast.devices[at].requests.iter().map(|r| r.step.asked.to_string()).collect::<Vec<_>>();
    assert_eq!(asked(0), ["0001FF00", "0201FF00", "04000503"]);
    assert_eq!(asked(1), ["B611"]);
    let driver = gatehouse_config::driver(&site.buses[0], site.device_by_id("meter-2").unwrap().1, Default::default());
    let (mut steps, mut bytes) = (Vec::new(), Vec::new());
    driver.group_steps(0, &mut steps);
    driver.encode(steps[0], 0, &mut bytes);
    // Heyuan ASDU-LS manual, page 18.
    assert_eq!(bytes, [0x68, 3, 0, 0, 0, 0, 0, 0x68, 1, 2, 0x44, 0xE9, 0x03, 0x16]);
    let reply = [0x68, 3, 0, 0, 0, 0, 0, 0x68, 0x81, 4, 0x44, 0xE9, 0x33, 0x34, 0xEC, 0x16];
    let mut readings = Vec::new();
    assert!(matches!(driver.decode(steps[0], 0, &reply, &mut readings), gatehouse_core::Decoded::Reply { bytes: 16 }));
    assert_eq!(readings[0].value.as_ref().unwrap().to_string(), "100");
}

#[test]
fn what_shows_who_is_at_a_reader_is_personal_and_how_many_came_is_not() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cases/keypad-bursts-that-nobody-counts/site.toml"
    ));
    let text = text.unwrap().replace("frame = \"board/card\"\n", "frame = \"board/card\"\ncount = \"board/count\"\n");
    let site = site(&text);
    let (_, board) = site.device_by_id("board").unwrap();
    let points: Vec<_> = board.points.iter().map(|point| (point.spec.name.as_str(), point.personal)).collect();
    assert_eq!(points, [("lock", false), ("card", true), ("count", false)]);
    let (_, known) = site.rules.catalog.device_by_id("board").unwrap();
    let told: Vec<_> = known.points.iter().map(|point| (point.name.as_str(), point.personal)).collect();
    assert_eq!(told, points, "the rules know it as well");
    let (head, _) = text.split_once("[[reader]]").unwrap();
    let without = self::site(head);
    assert!(without.devices.iter().all(|device| device.points.iter().all(|point| !point.personal)));
    let diff = without.diff(&site);
    assert!(
        diff.reports && diff.changed.is_empty(),
        "a reader that comes with a reload counts, and stops no bus: {diff:?}"
    );
}
