use std::path::Path;

use gatehouse_config::box_io::{Bias, ContactSettings, GpioLine, RelayOutput};
use gatehouse_core::driver::Action;
use gatehouse_core::{PointIx, PointReading, Value};
use gatehouse_firmware_bridge::CommandResult;
use gatehouse_firmware_bridge::contact::Filter;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A fire contact on a chip that there is not, and a relay on a LED in `dir`.
fn settings(dir: &Path) -> BoxIoSettings {
    for (file, text) in [("trigger", "[none] oneshot"), ("max_brightness", "1"), ("brightness", "1")] {
        std::fs::write(dir.join(file), text).unwrap();
    }
    let line = GpioLine { chip: "/dev/gpiochip-none".into(), offset: 4, active_low: true };
    let filter = Filter { on: Duration::from_millis(20), off: Duration::from_millis(100) };
    let led = RelayOutput::Led(dir.to_path_buf());
    BoxIoSettings {
        contacts: vec![ContactSettings { name: name("fire"), line, bias: Bias::PullUp, filter }],
        relays: vec![RelaySettings { name: name("release"), output: led, at_restart: AtRestart::Off }],
        climate: None,
        interval: Duration::from_secs(1),
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_opened_has_a_reason_and_the_others_work() {
    let dir = tempfile::tempdir().unwrap();
    let brightness = dir.path().join("brightness");
    let settings = settings(dir.path());
    let problem = |box_io: &BoxIo| box_io.problems().get(&name("fire")).cloned().unwrap_or_default();
    tokio::task::LocalSet::new()
        .run_until(async {
            let (tell, mut told) = mpsc::unbounded_channel();
            let clock = Rc::new(Clock::open());
            let far = clock.mono() + Duration::from_secs(3600);
            let box_io = spawn(settings, None, clock, move |output| tell.send(output).unwrap());
            let command = Command { id: 3, action: Action::Write(PointIx(1), Value::Bool(true)), expires: far };
            box_io.commands().send(command).unwrap();
            let mut readings = BTreeMap::new();
            let result = loop {
                match told.recv().await.unwrap() {
                    Output::Sample { readings: some, .. } => {
                        readings.extend(some.into_iter().map(|PointReading { point, value, .. }| (point, value)));
                    }
                    Output::CommandDone { id, result, .. } => break (id, result),
                }
            };
            assert_eq!(result, (3, CommandResult::Verified(Value::Bool(true))));
            assert_eq!(readings.get(&PointIx(1)), Some(&Ok(Value::Bool(true))));
            while !readings.contains_key(&PointIx(0)) {
                let Output::Sample { readings: some, .. } = told.recv().await.unwrap() else { continue };
                readings.extend(some.into_iter().map(|PointReading { point, value, .. }| (point, value)));
            }
            assert_eq!(readings.get(&PointIx(0)), Some(&Err(NoData::BusDown)));
            assert!(problem(&box_io).starts_with("there is no GPIO chip /dev/gpiochip-none"), "{}", problem(&box_io));
            box_io.stop().await;
        })
        .await;
    assert_eq!(std::fs::read_to_string(brightness).unwrap(), "0", "the end of the daemon leaves nothing on");
}

#[test]
fn a_killed_daemons_relays_are_driven_off_from_outside_but_for_those_that_keep_their_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut relays = settings(dir.path()).relays;
    let brightness = || std::fs::read_to_string(dir.path().join("brightness")).unwrap();
    relays[0].at_restart = AtRestart::Keep;
    assert_eq!((all_off(&relays), brightness()), (vec![], "1".to_owned()));
    relays[0].at_restart = AtRestart::Off;
    assert_eq!((all_off(&relays), brightness()), (vec![], "0".to_owned()));
    relays[0].output = RelayOutput::Gpio(GpioLine { chip: "/dev/gpiochip-none".into(), offset: 1, active_low: false });
    let problems = all_off(&relays);
    assert!(
        problems[0].starts_with("relay release may be on: there is no GPIO chip /dev/gpiochip-none"),
        "{problems:?}"
    );
}
