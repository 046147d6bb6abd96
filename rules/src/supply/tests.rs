//! Stories of one meter that can be cut off.

use std::cell::Cell;

use gatehouse_core::driver::Action;
use gatehouse_core::{BootId, NoData};

use super::*;
use crate::catalog::CatalogDevice;

const METER: DeviceIx = DeviceIx(0);
/// 2026-11-23T10:00:00Z.
const BEGIN: i64 = 1_795_428_000_000_000;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn setup() -> SupplySetup {
    let spec =
        SupplySpec { cut: name("trip"), permit: Some(name("permit_close")), connect: name("close"), deadline: true };
    SupplySetup { devices: [(METER, spec)].into(), most_cuts: 2, ..SupplySetup::default() }
}

struct Bench {
    supplies: Supplies,
    now: Stamp,
    online: Cell<bool>,
    authorised: Cell<bool>,
    kept: BTreeMap<String, Vec<u8>>,
    acts: Vec<(ActId, Action)>,
    turns: Vec<String>,
    alarms: Vec<Option<bool>>,
}

impl Bench {
    fn new(setup: SupplySetup) -> Bench {
        let now =
            Stamp { boot: BootId(1), mono: Mono::from_millis(1000), wall: Wall(BEGIN), trust: Trust::Synchronised };
        Bench {
            supplies: Bench::machine(setup),
            now,
            online: Cell::new(true),
            authorised: Cell::new(true),
            kept: BTreeMap::new(),
            acts: Vec::new(),
            turns: Vec::new(),
            alarms: Vec::new(),
        }
    }

    fn machine(setup: SupplySetup) -> Supplies {
        let meter = CatalogDevice {
            id: name("meter-101"),
            title: String::new(),
            bus: None,
            profile: None,
            category: String::new(),
            labels: BTreeMap::new(),
            points: Vec::new(),
        };
        let catalog = Catalog { devices: vec![meter], buses: Vec::new() };
        Supplies::new(setup, &catalog, TimeZone::fixed(jiff::tz::offset(8)), ActId(1))
    }

    fn request(&self, action: &str, life_s: i64) -> Request {
        let time = |at: i64| jiff::Timestamp::from_microsecond(at).unwrap();
        let (issued, expires) = (time(self.now.wall.0), time(self.now.wall.0 + life_s * 1_000_000));
        let text = format!(
            r#"{{"v":1,"id":"{action}-{}","target":"device:meter-101","action":"{action}","reason_code":"unpaid",
                "issuer":"desk-3","issued_at":"{issued}","expires_at":"{expires}"}}"#,
            self.now.mono.0
        );
        Request::parse(text.as_bytes()).unwrap()
    }

    fn judge(&self, signed: bool, mode: Mode) -> Result<Argument, SupplyRefusal> {
        self.supplies.judge_cut(&self.now, METER, (&self.request("trip", 60), signed), mode)
    }

    fn cut(&mut self, act: u64) {
        self.supplies.handle_cut(self.now, METER, ActId(act));
        self.drain();
    }

    fn wish(&mut self, life_s: i64, how: Option<&str>) -> Result<(), SupplyRefusal> {
        let request = self.request("reconnect", life_s);
        let wished = self.supplies.handle_wish(self.now, METER, (&request, Source::Core), how);
        self.look();
        wished
    }

    fn look(&mut self) {
        let outlook = Outlook { online: &|_| self.online.get(), authorised: &|_, _| self.authorised.get() };
        self.supplies.handle_timeout(self.now, &outlook);
        self.drain();
    }

    fn pass(&mut self, seconds: u64) {
        self.now.mono = self.now.mono + Duration::from_secs(seconds);
        self.now.wall.0 += i64::try_from(seconds).unwrap() * 1_000_000;
        self.look();
    }

    /// The box is killed and starts again.
    fn restart(&mut self) {
        self.supplies = Bench::machine(setup());
        for (key, value) in &self.kept {
            assert!(self.supplies.restore(key, value), "{key}");
        }
        self.acts.clear();
        self.look();
    }

    /// The one act that is under way ends.
    fn end(&mut self, result: ActResult) {
        let (id, _) = self.acts.pop().unwrap();
        assert!(self.supplies.handle_act_result(self.now, id, &result));
        self.look();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.supplies.poll_effect() {
            match effect {
                Effect::Keep { key, value: Some(value) } => drop(self.kept.insert(key.into(), value.into())),
                Effect::Keep { key, value: None } => drop(self.kept.remove(&*key)),
                Effect::Act(act) => self.acts.push((act.id, act.action)),
                Effect::Event { event, .. } => {
                    let json: serde_json::Value = serde_json::from_str(&event.json).unwrap();
                    self.turns.push(json["step"].as_str().unwrap().to_owned());
                }
            }
        }
        while let Some(condition) = self.supplies.poll_condition() {
            self.alarms.push(condition.active);
        }
    }
}

#[test]
fn a_cut_needs_a_signature_a_reason_a_link_and_an_unprotected_meter() {
    let bench = Bench::new(setup());
    assert_eq!(bench.judge(false, Mode::Online), Err(SupplyRefusal::Unsigned));
    assert_eq!(bench.judge(true, Mode::Degraded), Err(SupplyRefusal::Degraded));
    assert_eq!(bench.judge(true, Mode::Recovering), Err(SupplyRefusal::Degraded));
    let mut plain = bench.request("trip", 60);
    plain.reason_code = None;
    let judged = bench.supplies.judge_cut(&bench.now, METER, (&plain, true), Mode::Online);
    assert_eq!(judged, Err(SupplyRefusal::NoReason));
    let protected = Bench::new(SupplySetup { protected: [METER].into(), ..setup() });
    assert_eq!(protected.judge(true, Mode::Online), Err(SupplyRefusal::Protected));
    let mut unset = Bench::new(setup());
    unset.now.trust = Trust::Unset;
    assert_eq!(unset.judge(true, Mode::Online), Err(SupplyRefusal::ClockUnset));
    // 10:01 in UTC and five minutes for the meter's clock, in the zone of the site.
    let until = LocalTime::new(2026, 11, 23, 18, 6, 0).unwrap();
    assert_eq!(bench.judge(true, Mode::Online), Ok(Argument::At(until)));
}

#[test]
fn so_many_cuts_and_no_more_also_over_a_restart() {
    let mut bench = Bench::new(setup());
    bench.cut(1);
    bench.pass(600);
    bench.cut(2);
    assert_eq!(bench.judge(true, Mode::Online), Err(SupplyRefusal::TooMany));
    bench.restart();
    assert_eq!(bench.judge(true, Mode::Online), Err(SupplyRefusal::TooMany));
    bench.pass(3000);
    assert!(bench.judge(true, Mode::Online).is_ok(), "the first is an hour ago");
}

#[test]
fn a_wish_waits_for_its_meter_and_leaves_the_switch_to_the_resident() {
    let mut bench = Bench::new(setup());
    bench.online.set(false);
    bench.wish(86_400, None).unwrap();
    bench.pass(3600);
    bench.restart();
    assert!(bench.acts.is_empty());
    bench.online.set(true);
    bench.look();
    let Action::Call { command, argument, .. } = &bench.acts[0].1 else { panic!("it calls") };
    let until = LocalTime::new(2026, 11, 23, 19, 5, 0).unwrap();
    assert_eq!((&**command, argument), ("permit_close", &Argument::At(until)));
    bench.end(ActResult::Verified);
    bench.pass(3600);
    assert_eq!(bench.turns, ["wished", "asked", "fulfilled"]);
    assert!(bench.acts.is_empty() && bench.kept.is_empty(), "it is fulfilled once");
    assert_eq!(bench.alarms, [Some(false)]);
}

#[test]
fn what_surely_did_not_happen_is_tried_again_and_what_may_have_is_not() {
    let mut bench = Bench::new(setup());
    bench.wish(86_400, Some("connect")).unwrap();
    assert!(matches!(&bench.acts[0].1, Action::Call { command, .. } if **command == *"close"));
    bench.end(ActResult::Failed(NoData::BusDown));
    assert!(bench.acts.is_empty(), "not at once");
    bench.pass(30);
    bench.end(ActResult::Expired);
    bench.pass(60);
    bench.end(ActResult::Unknown(NoData::Timeout));
    bench.pass(3600);
    assert!(bench.acts.is_empty());
    assert_eq!(bench.turns, ["wished", "asked", "asked", "asked", "unknown"]);
    assert_eq!(bench.alarms, [Some(true)]);
}

#[test]
fn a_restart_while_the_meter_was_asked_ends_as_unknown() {
    let mut bench = Bench::new(setup());
    bench.wish(86_400, None).unwrap();
    bench.restart();
    bench.pass(3600);
    assert!(bench.acts.is_empty() && bench.kept.is_empty());
    assert_eq!((bench.turns.last().map(String::as_str), &*bench.alarms), (Some("unknown"), &[Some(true)][..]));
}

#[test]
fn a_meter_that_refuses_is_not_asked_until_it_locks_itself() {
    let mut bench = Bench::new(setup());
    bench.wish(86_400, None).unwrap();
    for _ in 0..3 {
        bench.end(ActResult::Failed(NoData::Exception(4)));
        bench.pass(3600);
    }
    assert_eq!(bench.turns.last().map(String::as_str), Some("failed"));
    assert!(bench.acts.is_empty());
}

#[test]
fn a_wish_ends_by_its_time_by_a_cut_by_another_and_by_a_key_that_is_gone() {
    let mut bench = Bench::new(setup());
    bench.online.set(false);
    bench.wish(100, None).unwrap();
    bench.pass(100);
    bench.wish(100, None).unwrap();
    bench.wish(200, None).unwrap();
    bench.cut(9);
    assert!(bench.supplies.handle_act_result(bench.now, ActId(9), &ActResult::Verified));
    bench.look();
    bench.wish(100, None).unwrap();
    bench.authorised.set(false);
    bench.online.set(true);
    bench.look();
    let ends: Vec<&str> = bench.turns.iter().map(String::as_str).filter(|step| *step != "wished").collect();
    assert_eq!(ends, ["expired", "replaced", "cut", "not_authorised"]);
    assert!(bench.acts.is_empty());
}

#[test]
fn a_valve_has_no_permit_and_needs_no_time() {
    let mut setup = setup();
    if let Some(spec) = setup.devices.get_mut(&METER) {
        (spec.permit, spec.deadline) = (None, false);
    }
    let mut bench = Bench::new(setup);
    assert_eq!(bench.wish(60, Some("permit")), Err(SupplyRefusal::NoPermit));
    assert_eq!(bench.wish(60, Some("now")), Err(SupplyRefusal::How));
    bench.wish(60, None).unwrap();
    assert!(matches!(&bench.acts[0].1, Action::Call { argument: Argument::None, .. }));
}

#[test]
fn a_cut_that_surely_did_not_happen_leaves_the_wish_and_one_that_a_kill_interrupted_ends_it() {
    let mut bench = Bench::new(setup());
    bench.online.set(false);
    bench.wish(86_400, None).unwrap();
    bench.cut(90);
    bench.online.set(true);
    bench.look();
    assert!(bench.acts.is_empty(), "not while the cut is under way");
    assert!(bench.supplies.handle_act_result(bench.now, ActId(90), &ActResult::Expired));
    bench.look();
    assert_eq!(bench.acts.len(), 1);
    bench.end(ActResult::Failed(NoData::BusDown));
    bench.cut(91);
    bench.restart();
    bench.pass(3600);
    assert_eq!((bench.turns.last().map(String::as_str), bench.acts.len()), (Some("cut"), 0));
}

#[test]
fn the_result_of_one_wish_is_never_taken_for_that_of_the_next() {
    let mut bench = Bench::new(setup());
    bench.wish(86_400, None).unwrap();
    bench.wish(86_400, Some("connect")).unwrap();
    assert_eq!(bench.acts.len(), 1, "one at a time");
    bench.end(ActResult::Verified);
    assert!(matches!(&bench.acts[0].1, Action::Call { command, .. } if **command == *"close"), "{:?}", bench.turns);
    bench.end(ActResult::Verified);
    assert_eq!(bench.turns, ["wished", "asked", "replaced", "wished", "asked", "fulfilled"]);
}

#[test]
fn without_a_clock_no_wish_is_fulfilled_however_it_would_be() {
    let mut setup = setup();
    if let Some(spec) = setup.devices.get_mut(&METER) {
        (spec.permit, spec.deadline) = (None, false);
    }
    let mut bench = Bench::new(setup);
    bench.now.trust = Trust::Unset;
    bench.wish(60, None).unwrap();
    bench.pass(600);
    assert!(bench.acts.is_empty());
    bench.now.trust = Trust::Synchronised;
    bench.look();
    assert_eq!(bench.turns, ["wished", "expired"]);
}
