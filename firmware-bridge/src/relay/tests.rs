use embedded_hal::digital::{ErrorType, OutputPin};
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};

use super::*;

const MS: fn(u64) -> Mono = Mono::from_millis;
const HALF: Duration = Duration::from_millis(500);

/// A mock pin without a timer of its own.
struct Plain(Mock);

impl ErrorType for Plain {
    type Error = MockError;
}

impl OutputPin for Plain {
    fn set_low(&mut self) -> Result<(), MockError> {
        self.0.set_low()
    }

    fn set_high(&mut self) -> Result<(), MockError> {
        self.0.set_high()
    }
}

impl StatefulOutputPin for Plain {
    fn is_set_high(&mut self) -> Result<bool, MockError> {
        self.0.is_set_high()
    }

    fn is_set_low(&mut self) -> Result<bool, MockError> {
        self.0.is_set_low()
    }
}

impl PulseOutput for Plain {
    fn times_pulses(&self) -> bool {
        false
    }

    fn pulse(&mut self, _: Duration) -> Result<(), MockError> {
        unreachable!("it does not time pulses")
    }
}

fn set(on: bool) -> Transaction {
    Transaction::set(if on { State::High } else { State::Low })
}

fn reads(on: bool) -> Transaction {
    Transaction::get_state(if on { State::High } else { State::Low })
}

fn broken() -> MockError {
    MockError::Io(std::io::ErrorKind::Other)
}

/// A relay on a line of which exactly this is expected after it was opened and found off.
fn relay(at_restart: AtRestart, expected: &[Transaction]) -> (Relay<Plain>, Mock) {
    let opened = match at_restart {
        AtRestart::Off => vec![set(false), reads(false)],
        AtRestart::Keep => vec![reads(false)],
    };
    let pin = Mock::new(opened.iter().chain(expected));
    let mut relay = Relay::new(at_restart);
    relay.attach(Plain(pin.clone()));
    (relay, pin)
}

#[test]
fn a_relay_is_off_from_the_first_moment() {
    let (relay, mut pin) = relay(AtRestart::Off, &[]);
    assert_eq!(Relay::<Plain>::new(AtRestart::Off).opening(), Some(Opening::Drive(false)));
    assert_eq!((relay.opening(), relay.state()), (None, Ok(false)));
    pin.done();
}

#[test]
fn a_relay_that_keeps_its_state_is_only_looked_at() {
    let mut pin = Mock::new(&[reads(true)]);
    let mut relay = Relay::new(AtRestart::Keep);
    assert_eq!(relay.opening(), Some(Opening::Keep));
    relay.attach(Plain(pin.clone()));
    assert_eq!(relay.state(), Ok(true));
    relay.stop();
    pin.done();
}

#[test]
fn a_pulse_ends_by_itself_and_is_begun_once() {
    let (mut relay, mut pin) = relay(AtRestart::Off, &[reads(false), set(true), reads(true), set(false), reads(false)]);
    assert_eq!(relay.pulse(MS(1000), HALF), Ok(Driven::Verified));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(true), Some(MS(1500))));
    relay.handle_timeout(MS(1499));
    assert_eq!(relay.state(), Ok(true));
    relay.handle_timeout(MS(1503));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(false), None));
    pin.done();
}

#[test]
fn pulses_never_overlap() {
    let (mut relay, mut pin) = relay(AtRestart::Off, &[reads(false), set(true), reads(true), reads(true)]);
    assert_eq!(relay.pulse(MS(0), HALF), Ok(Driven::Verified));
    assert_eq!(relay.pulse(MS(100), HALF), Err(PulseRefusal::AlreadyOn));
    assert_eq!(relay.poll_timeout(), Some(MS(500)), "the first one goes on as it began");
    pin.done();
}

#[test]
fn a_write_ends_a_pulse_at_once_or_makes_it_stay() {
    let pulse = [reads(false), set(true), reads(true)];
    let (mut off, mut pin) = relay(AtRestart::Off, &[&pulse[..], &[set(false), reads(false)]].concat());
    off.pulse(MS(0), HALF).unwrap();
    assert_eq!(off.write(false), Driven::Verified);
    assert_eq!(off.poll_timeout(), None);
    pin.done();
    let (mut held, mut pin) = relay(AtRestart::Off, &[&pulse[..], &[set(true), reads(true)]].concat());
    held.pulse(MS(0), HALF).unwrap();
    assert_eq!(held.write(true), Driven::Verified);
    held.handle_timeout(MS(10_000));
    assert_eq!((held.state(), held.poll_timeout()), (Ok(true), None), "a fire release is no pulse");
    pin.done();
}

#[test]
fn a_pulse_that_a_crash_would_make_last_for_ever_is_refused() {
    let (mut relay, mut pin) = relay(AtRestart::Keep, &[]);
    assert_eq!(relay.pulse(MS(0), HALF), Err(PulseRefusal::Kept));
    assert_eq!(relay.pulse(MS(0), Duration::ZERO), Err(PulseRefusal::Length));
    assert_eq!(relay.pulse(MS(0), MAX_PULSE + HALF), Err(PulseRefusal::Length));
    pin.done();
}

#[test]
fn a_pulse_whose_line_fails_is_not_begun_again_when_it_is_back() {
    let fails = [reads(false), set(true).with_error(broken()), reads(false).with_error(broken())];
    let (mut relay, mut pin) = relay(AtRestart::Off, &fails);
    assert_eq!(relay.pulse(MS(0), HALF), Ok(Driven::Unknown));
    assert_eq!((relay.state(), relay.opening()), (Err(NoData::BusDown), Some(Opening::Drive(false))));
    assert_eq!(relay.poll_timeout(), None);
    pin.done();
    let mut again = Mock::new(&[set(false), reads(false)]);
    relay.attach(Plain(again.clone()));
    assert_eq!(relay.state(), Ok(false));
    again.done();
}

#[test]
fn a_write_that_failed_is_not_done_later() {
    for (read_back, driven) in [(reads(false), Driven::Failed), (reads(false).with_error(broken()), Driven::Unknown)] {
        let fails = [set(true).with_error(broken()), set(true).with_error(broken()), read_back];
        let (mut relay, mut pin) = relay(AtRestart::Off, &fails);
        assert_eq!(relay.write(true), driven);
        assert_eq!(relay.opening(), Some(Opening::Keep));
        pin.done();
    }
    assert_eq!(Relay::<Plain>::new(AtRestart::Off).write(true), Driven::Failed, "no line yet");
}

#[test]
fn a_maintained_relay_is_on_again_when_its_lost_line_is_back() {
    let (mut relay, mut pin) = relay(AtRestart::Off, &[set(true), reads(true), reads(true).with_error(broken())]);
    assert_eq!(relay.write(true), Driven::Verified);
    relay.check();
    assert_eq!((relay.state(), relay.opening()), (Err(NoData::BusDown), Some(Opening::Drive(true))));
    pin.done();
}

#[test]
fn a_relay_that_somebody_else_switched_is_driven_back() {
    let (mut relay, mut pin) = relay(AtRestart::Off, &[reads(true), set(false), reads(false)]);
    relay.check();
    assert_eq!(relay.state(), Ok(false));
    pin.done();
}

#[test]
fn the_end_of_the_program_ends_pulses_and_leaves_nothing_on() {
    let (mut relay, mut pin) = relay(
        AtRestart::Off,
        &[
            reads(false),
            set(true),
            reads(true),
            set(false),
            reads(false),
            set(true),
            reads(true),
            set(false),
            reads(false),
        ],
    );
    relay.pulse(MS(0), HALF).unwrap();
    relay.stop();
    relay.write(true);
    relay.stop();
    pin.done();
}

/// An output that ends its pulses itself.
#[derive(Default)]
struct Timed {
    on: bool,
    pulses: Vec<Duration>,
    broken: bool,
}

impl ErrorType for &mut Timed {
    type Error = MockError;
}

impl OutputPin for &mut Timed {
    fn set_low(&mut self) -> Result<(), MockError> {
        self.on = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), MockError> {
        self.on = true;
        Ok(())
    }
}

impl StatefulOutputPin for &mut Timed {
    fn is_set_high(&mut self) -> Result<bool, MockError> {
        Ok(self.on)
    }

    fn is_set_low(&mut self) -> Result<bool, MockError> {
        Ok(!self.on)
    }
}

impl PulseOutput for &mut Timed {
    fn times_pulses(&self) -> bool {
        true
    }

    fn pulse(&mut self, length: Duration) -> Result<(), MockError> {
        self.pulses.push(length);
        self.on = true;
        if self.broken { Err(broken()) } else { Ok(()) }
    }
}

#[test]
fn an_output_that_times_its_pulses_is_only_looked_at() {
    let mut output = Timed::default();
    let mut relay = Relay::new(AtRestart::Keep);
    relay.attach(&mut output);
    assert_eq!(relay.pulse(MS(0), HALF), Ok(Driven::Acknowledged(None)));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(false), Some(MS(20))), "nothing is said before it is seen");
    relay.handle_timeout(MS(20));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(true), Some(MS(520))));
    relay.stop();
    relay.line.as_mut().unwrap().on = false;
    relay.handle_timeout(MS(520));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(false), None));
    assert_eq!(output.pulses, [HALF]);
}

#[test]
fn a_pulse_that_its_output_does_not_end_is_ended() {
    let mut output = Timed::default();
    let mut relay = Relay::new(AtRestart::Off);
    relay.attach(&mut output);
    relay.pulse(MS(0), HALF).unwrap();
    relay.handle_timeout(MS(521));
    assert_eq!(relay.state(), Ok(false));
}

#[test]
fn an_output_that_fails_to_begin_a_pulse_is_switched_off() {
    let mut output = Timed { broken: true, ..Timed::default() };
    let mut relay = Relay::new(AtRestart::Off);
    relay.attach(&mut output);
    assert_eq!(relay.pulse(MS(0), HALF), Ok(Driven::Unknown));
    assert_eq!((relay.state(), relay.poll_timeout()), (Ok(false), None));
    assert_eq!(output.pulses.len(), 1);
}
