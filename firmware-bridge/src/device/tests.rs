use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

use embedded_hal::digital::{ErrorKind, ErrorType, OutputPin, StatefulOutputPin};
use gatehouse_core::driver::{Action, ActionError, Argument};
use gatehouse_core::{Decimal, Name};

use super::*;

const MS: fn(u64) -> Mono = Mono::from_millis;

/// A wire that the test moves; lines read it as the kernel would give it.
#[derive(Default)]
struct Wire {
    level: bool,
    edges: VecDeque<(Mono, bool)>,
    cut: bool,
}

#[derive(Debug)]
struct Cut;

impl embedded_hal::digital::Error for Cut {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

struct Line(Rc<RefCell<Wire>>);

impl ErrorType for Line {
    type Error = Cut;
}

impl InputPin for Line {
    fn is_high(&mut self) -> Result<bool, Cut> {
        let wire = self.0.borrow();
        if wire.cut { Err(Cut) } else { Ok(wire.level) }
    }

    fn is_low(&mut self) -> Result<bool, Cut> {
        self.is_high().map(|high| !high)
    }
}

impl EdgeInput for Line {
    fn next_edge(&mut self) -> Result<Option<(Mono, bool)>, Cut> {
        Ok(self.0.borrow_mut().edges.pop_front())
    }
}

#[derive(Default)]
struct Coil(bool);

impl ErrorType for Coil {
    type Error = Infallible;
}

impl OutputPin for Coil {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0 = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0 = true;
        Ok(())
    }
}

impl StatefulOutputPin for Coil {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.0)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0)
    }
}

impl PulseOutput for Coil {
    fn times_pulses(&self) -> bool {
        false
    }

    fn pulse(&mut self, _: Duration) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A box with a fire contact, a safety loop, two relays and a climate sensor.
struct Rig {
    device: BoxDevice<Line, Coil>,
    fire: Rc<RefCell<Wire>>,
    safety_loop: Rc<RefCell<Wire>>,
}

fn layout() -> Layout {
    let ms = Duration::from_millis;
    Layout {
        contacts: vec![Filter { on: ms(20), off: ms(100) }, Filter { on: ms(0), off: ms(300) }],
        relays: vec![AtRestart::Off, AtRestart::Keep],
        climate: true,
        interval: Duration::from_secs(10),
    }
}

/// All lines open at 0 and at rest; the first sample is taken.
fn rig() -> Rig {
    let mut device = BoxDevice::new(&layout(), MS(0));
    let (fire, safety_loop) = (Rc::<RefCell<Wire>>::default(), Rc::<RefCell<Wire>>::default());
    device.attach_contact(MS(0), 0, Line(fire.clone()));
    device.attach_contact(MS(0), 1, Line(safety_loop.clone()));
    device.attach_relay(MS(0), 0, Coil::default());
    device.attach_relay(MS(0), 1, Coil::default());
    device.handle_timeout(MS(500));
    drained(&mut device);
    Rig { device, fire, safety_loop }
}

fn drained(device: &mut BoxDevice<Line, Coil>) -> Vec<Output> {
    std::iter::from_fn(|| device.poll_output()).collect()
}

fn on(point: u16, on: bool) -> PointReading {
    PointReading::new(PointIx(point), Ok(Value::Bool(on)))
}

fn without(point: u16, why: NoData) -> PointReading {
    PointReading::new(PointIx(point), Err(why))
}

fn sample(at_ms: u64, readings: &[PointReading]) -> Output {
    Output::Sample { at: MS(at_ms), readings: readings.to_vec() }
}

fn done(id: u64, at_ms: u64, result: CommandResult) -> Output {
    Output::CommandDone { id, at: MS(at_ms), result }
}

fn move_to(wire: &Rc<RefCell<Wire>>, at_ms: u64, level: bool) {
    let mut wire = wire.borrow_mut();
    wire.level = level;
    wire.edges.push_back((MS(at_ms), level));
}

fn command(rig: &mut Rig, now_ms: u64, action: Action) -> Vec<Output> {
    rig.device.handle_command(MS(now_ms), Command { id: 7, action, expires: MS(now_ms + 1000) });
    drained(&mut rig.device)
}

fn pulse(channel: Option<u16>, argument: Argument) -> Action {
    Action::Call { command: Name::new("pulse").unwrap(), channel, argument }
}

#[test]
fn nothing_is_known_of_lines_that_are_not_open() {
    let mut device = BoxDevice::<Line, Coil>::new(&layout(), MS(0));
    device.handle_timeout(MS(0));
    let missing = [0, 1, 2, 3].map(|point| without(point, NoData::BusDown));
    assert_eq!(drained(&mut device), [sample(0, &missing)]);
    assert_eq!((device.contact_is_open(0), device.relay_opening(0)), (false, Some(Opening::Drive(false))));
    assert_eq!(device.relay_opening(1), Some(Opening::Keep));
    assert_eq!(layout().kinds().len(), 6);
}

#[test]
fn a_fire_contact_is_told_the_moment_that_it_counts() {
    let mut rig = rig();
    move_to(&rig.fire, 700, true);
    assert!(!rig.device.handle_ready(MS(701), 0));
    assert_eq!(rig.device.poll_timeout(), Some(MS(720)));
    rig.device.handle_timeout(MS(720));
    assert_eq!(drained(&mut rig.device), [sample(720, &[on(0, true)])]);
}

#[test]
fn a_car_on_the_loop_is_told_in_the_same_call() {
    let mut rig = rig();
    move_to(&rig.safety_loop, 700, true);
    rig.device.handle_ready(MS(701), 1);
    assert_eq!(drained(&mut rig.device), [sample(700, &[on(1, true)])]);
}

#[test]
fn a_gap_between_two_axles_that_is_still_unread_frees_no_loop() {
    let mut rig = rig();
    move_to(&rig.safety_loop, 700, true);
    move_to(&rig.safety_loop, 720, false);
    rig.device.handle_ready(MS(721), 1);
    drained(&mut rig.device);
    rig.device.handle_timeout(MS(1000));
    assert_eq!(rig.device.poll_timeout(), Some(MS(1020)), "300 ms free");
    // The next axle's edge waits in the kernel when the timer comes first.
    move_to(&rig.safety_loop, 1015, true);
    rig.device.handle_timeout(MS(1025));
    assert_eq!(drained(&mut rig.device), []);
    assert_eq!(rig.device.inputs[1].contact.level(), Some(true));
}

#[test]
fn an_edge_that_the_kernel_dropped_is_seen_at_the_next_look() {
    let mut rig = rig();
    rig.safety_loop.borrow_mut().level = true;
    rig.device.handle_timeout(MS(1000));
    assert_eq!(drained(&mut rig.device), [sample(1000, &[on(1, true)])]);
}

#[test]
fn a_storm_of_edges_is_taken_in_bounded_pieces_and_in_order() {
    let mut rig = rig();
    for step in 0..150 {
        move_to(&rig.safety_loop, 700 + step, step % 2 == 0);
    }
    assert!(rig.device.handle_ready(MS(900), 1));
    assert!(rig.device.handle_ready(MS(900), 1));
    assert_eq!(drained(&mut rig.device), [sample(700, &[on(1, true)])]);
    assert!(!rig.device.handle_ready(MS(900), 1));
    assert_eq!(drained(&mut rig.device), [], "it was free for no 300 ms yet");
    assert_eq!(rig.device.bounces(1), 74);
}

#[test]
fn a_line_that_is_lost_says_so_at_once_and_is_to_be_opened_again() {
    let mut rig = rig();
    rig.fire.borrow_mut().cut = true;
    rig.device.handle_ready(MS(700), 0);
    assert_eq!(drained(&mut rig.device), [sample(700, &[without(0, NoData::BusDown)])]);
    assert!(!rig.device.contact_is_open(0));
    rig.fire.borrow_mut().cut = false;
    rig.device.attach_contact(MS(2000), 0, Line(rig.fire.clone()));
    rig.device.handle_timeout(MS(2100));
    let told = drained(&mut rig.device);
    assert_eq!(told.last(), Some(&sample(2100, &[on(0, false)])), "known again once its level has lasted");
}

#[test]
fn everything_is_told_at_the_interval_without_drift() {
    let mut rig = rig();
    rig.device.handle_timeout(MS(10_007));
    let all = [on(0, false), on(1, false), on(2, false), on(3, false)];
    assert_eq!(drained(&mut rig.device), [sample(10_007, &all)]);
    rig.device.handle_timeout(MS(19_999));
    assert_eq!(drained(&mut rig.device), []);
    rig.device.handle_timeout(MS(45_000));
    assert_eq!(drained(&mut rig.device), [sample(45_000, &all)]);
    assert_eq!(rig.device.sample_due, MS(50_000));
}

#[test]
fn a_write_switches_a_relay_and_tells_the_change_before_the_outcome() {
    let mut rig = rig();
    let told = command(&mut rig, 600, Action::Write(PointIx(3), Value::Bool(true)));
    let verified = CommandResult::Verified(Value::Bool(true));
    assert_eq!(told, [sample(600, &[on(3, true)]), done(7, 600, verified)]);
}

#[test]
fn a_pulse_is_told_at_both_ends() {
    let mut rig = rig();
    let told = command(&mut rig, 600, pulse(Some(1), Argument::Units(5)));
    assert_eq!(told, [sample(600, &[on(2, true)]), done(7, 600, CommandResult::Verified(Value::Bool(true)))]);
    rig.device.handle_timeout(MS(1100));
    assert_eq!(drained(&mut rig.device), [sample(1100, &[on(2, false)])]);
}

#[test]
fn what_cannot_be_done_is_refused_with_what_would_do() {
    let why = |action| match command(&mut rig(), 600, action).pop() {
        Some(Output::CommandDone { result: CommandResult::Refused(error), .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(why(Action::Identify), ActionError::Unsupported.to_string());
    assert_eq!(why(Action::Write(PointIx(0), Value::Bool(true))), ActionError::ReadOnly.to_string());
    assert_eq!(why(Action::Write(PointIx(4), Value::Bool(true))), ActionError::ReadOnly.to_string());
    assert_eq!(
        why(Action::Write(PointIx(2), Value::Decimal(Decimal::whole(1)))),
        "1 cannot be written exactly to a bool point: write true or false"
    );
    let sent = "the command pulse cannot be sent so: ";
    let channel = format!("{sent}name the relay by its channel, 1 to 2");
    for no_relay in [None, Some(0), Some(3)] {
        assert_eq!(why(pulse(no_relay, Argument::Units(5))), channel);
    }
    assert_eq!(why(pulse(Some(1), Argument::None)), format!("{sent}say how long it lasts, in units of 100 ms"));
    for length in [0, 601] {
        assert!(why(pulse(Some(1), Argument::Units(length))).ends_with("give 1 to 600 units of 100 ms"));
    }
    let kept = why(pulse(Some(2), Argument::Units(5)));
    assert!(kept.contains("keeps its state over a restart"), "{kept}");
    let toggle = Action::Call { command: Name::new("toggle").unwrap(), channel: Some(1), argument: Argument::None };
    assert_eq!(why(toggle), "the device's profile has no command \"toggle\"");
}

#[test]
fn a_command_that_comes_late_is_not_done() {
    let mut rig = rig();
    let late = Command { id: 9, action: Action::Write(PointIx(2), Value::Bool(true)), expires: MS(600) };
    rig.device.handle_command(MS(600), late);
    assert_eq!(drained(&mut rig.device), [done(9, 600, CommandResult::Expired)]);
    let mut closed = BoxDevice::<Line, Coil>::new(&layout(), MS(0));
    let early = Command { id: 1, action: Action::Write(PointIx(2), Value::Bool(true)), expires: MS(600) };
    closed.handle_command(MS(0), early);
    assert_eq!(drained(&mut closed), [done(1, 0, CommandResult::Failed(NoData::BusDown))]);
    closed.attach_relay(MS(100), 0, Coil::default());
    assert_eq!(closed.relays[0].state(), Ok(false), "what failed is not done later");
}

#[test]
fn the_climate_is_told_when_it_is_measured_or_why_it_was_not() {
    let mut rig = rig();
    let hundredths = |mantissa| Decimal { mantissa, exponent: -2 };
    let measured = |mantissa| Measurement { temperature: hundredths(mantissa), humidity: hundredths(5012) };
    rig.device.handle_climate(MS(600), Ok(measured(2150)));
    let value = |point, mantissa| PointReading::new(PointIx(point), Ok(Value::Decimal(hundredths(mantissa))));
    assert_eq!(drained(&mut rig.device), [sample(600, &[value(4, 2150), value(5, 5012)])]);
    rig.device.handle_climate(MS(700), Ok(measured(13_000)));
    let both = |why| [without(4, why), without(5, why)];
    assert_eq!(drained(&mut rig.device), [sample(700, &both(NoData::OutOfRange))]);
    rig.device.handle_climate(MS(800), Err(NoData::Timeout));
    assert_eq!(drained(&mut rig.device), [sample(800, &both(NoData::Timeout))]);
    let read = command(&mut rig, 900, Action::Read(vec![PointIx(4), PointIx(1)]));
    assert_eq!(read, [done(7, 900, CommandResult::Read(vec![on(1, false), without(4, NoData::Timeout)]))]);
}

#[test]
fn the_end_of_the_program_leaves_relays_as_their_settings_say() {
    let mut rig = rig();
    command(&mut rig, 600, Action::Write(PointIx(2), Value::Bool(true)));
    command(&mut rig, 600, Action::Write(PointIx(3), Value::Bool(true)));
    rig.device.handle_stop(MS(700));
    assert_eq!(drained(&mut rig.device), [sample(700, &[on(2, false)])]);
}
