//! Lines of GPIO chips and outputs of the LED class, behind the traits of the pure device. High means active.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_hal::digital::{Error, ErrorKind, ErrorType, InputPin, OutputPin, StatefulOutputPin};
use gatehouse_config::box_io::{Bias, GpioLine, RelayOutput};
use gatehouse_core::Mono;
use gatehouse_firmware_bridge::{EdgeInput, Opening, PulseOutput};
use linux_embedded_hal::gpio_cdev::{
    Chip, EventRequestFlags, Line, LineDirection, LineEventHandle, LineHandle, LineRequestFlags,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// How the kernel names us to others who want the line.
const CONSUMER: &str = "gatehouse";
/// An edge whose time is further away is not timed by the clock that we believe it is: kernels before 5.7 use another.
const OLDEST_EDGE: Duration = Duration::from_secs(10);
/// `struct gpioevent_data` of linux/gpio.h: time (8 bytes), kind (4), padding on every machine that we are built for.
const EVENT_BYTES: usize = 16;
/// `GPIOEVENT_EVENT_RISING_EDGE`: the line became active.
const RISING: [u8; 4] = 1u32.to_ne_bytes();

/// A line that cannot be read or driven any more.
#[derive(Debug)]
pub(super) struct Broken;

impl Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// A contact's line, with edges that the kernel has timed.
pub(super) struct ContactLine {
    events: LineEventHandle,
}

impl ContactLine {
    /// Opens a contact's line.
    ///
    /// # Errors
    /// A sentence on what stands in the way, and what to do.
    pub(super) fn open(at: &GpioLine, bias: Bias) -> Result<Self, String> {
        let mut flags = LineRequestFlags::INPUT | polarity(at);
        // `GPIOHANDLE_REQUEST_BIAS_*` of linux/gpio.h, since 5.5.
        flags |= LineRequestFlags::from_bits_retain(match bias {
            Bias::AsIs => 0,
            Bias::PullUp => 1 << 5,
            Bias::PullDown => 1 << 6,
            Bias::Disabled => 1 << 7,
        });
        let line = free_line(at)?;
        let events = line.events(flags, EventRequestFlags::BOTH_EDGES, CONSUMER).map_err(|why| {
            let hint = match bias {
                Bias::AsIs => "a line must be able to interrupt to be a contact: use another one",
                _ => "if the chip has no such resistor, leave `bias` out and fit one",
            };
            format!("line {} of {} cannot be an input ({why}): {hint}", at.offset, at.chip.display())
        })?;
        let set = fcntl_getfl(&events).and_then(|flags| fcntl_setfl(&events, flags | OFlags::NONBLOCK));
        set.map_err(|why| format!("line {} of {} cannot be watched: {why}", at.offset, at.chip.display()))?;
        Ok(ContactLine { events })
    }

    /// A descriptor that is readable when there are edges.
    pub(super) fn readiness(&self) -> io::Result<OwnedFd> {
        self.events.as_fd().try_clone_to_owned()
    }
}

impl ErrorType for ContactLine {
    type Error = Broken;
}

impl InputPin for ContactLine {
    fn is_high(&mut self) -> Result<bool, Broken> {
        self.events.get_value().map(|value| value != 0).map_err(|_| Broken)
    }

    fn is_low(&mut self) -> Result<bool, Broken> {
        self.is_high().map(|high| !high)
    }
}

impl EdgeInput for ContactLine {
    fn next_edge(&mut self) -> Result<Option<(Mono, bool)>, Broken> {
        let mut bytes = [0; EVENT_BYTES];
        match rustix::io::read(&self.events, &mut bytes) {
            Ok(EVENT_BYTES) => {
                let [t0, t1, t2, t3, t4, t5, t6, t7, k0, k1, k2, k3, ..] = bytes;
                let at_ns = u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
                let (monotonic, now) = (clock_ns(ClockId::Monotonic), Mono(clock_ns(ClockId::Boottime)));
                Ok(Some((edge_time(at_ns, monotonic, now), [k0, k1, k2, k3] == RISING)))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Ok(_) | Err(_) => Err(Broken),
        }
    }
}

/// The time of an edge that the kernel has put at `at_ns` of its monotonic clock, where that is credible; else now.
fn edge_time(at_ns: u64, monotonic_ns: u64, now: Mono) -> Mono {
    match monotonic_ns.checked_sub(at_ns) {
        Some(ago) if Duration::from_nanos(ago) <= OLDEST_EDGE => Mono(now.0.saturating_sub(ago)),
        Some(_) | None => now,
    }
}

pub(super) fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A relay's line.
pub(super) enum RelayLine {
    Gpio(LineHandle),
    Led(Led),
}

impl RelayLine {
    /// Opens a relay's output. A GPIO line drives what `opening` says from the first moment.
    ///
    /// # Errors
    /// A sentence on what stands in the way, and what to do.
    pub(super) fn open(output: &RelayOutput, opening: Opening) -> Result<Self, String> {
        let at = match output {
            RelayOutput::Led(dir) => return Led::open(dir).map(RelayLine::Led),
            RelayOutput::Gpio(at) => at,
        };
        let line = free_line(at)?;
        let (direction, on) = match opening {
            Opening::Drive(on) => (LineRequestFlags::OUTPUT, on),
            // A line that is an output already is taken over without a word about its level.
            Opening::Keep => match line.info().map(|info| info.direction()) {
                Ok(LineDirection::Out) => (LineRequestFlags::empty(), false),
                Ok(LineDirection::In) | Err(_) => (LineRequestFlags::OUTPUT, false),
            },
        };
        let handle = line.request(direction | polarity(at), u8::from(on), CONSUMER).map_err(|why| {
            let at = (at.offset, at.chip.display());
            format!("line {} of {} cannot be an output ({why}): is it one that only reads?", at.0, at.1)
        })?;
        Ok(RelayLine::Gpio(handle))
    }
}

impl ErrorType for RelayLine {
    type Error = Broken;
}

impl OutputPin for RelayLine {
    fn set_low(&mut self) -> Result<(), Broken> {
        match self {
            RelayLine::Gpio(line) => line.set_value(0).map_err(|_| Broken),
            RelayLine::Led(led) => led.off().map_err(|_| Broken),
        }
    }

    fn set_high(&mut self) -> Result<(), Broken> {
        match self {
            RelayLine::Gpio(line) => line.set_value(1).map_err(|_| Broken),
            RelayLine::Led(led) => led.on().map_err(|_| Broken),
        }
    }
}

impl StatefulOutputPin for RelayLine {
    fn is_set_high(&mut self) -> Result<bool, Broken> {
        match self {
            RelayLine::Gpio(line) => line.get_value().map(|value| value != 0).map_err(|_| Broken),
            RelayLine::Led(led) => led.is_on().map_err(|_| Broken),
        }
    }

    fn is_set_low(&mut self) -> Result<bool, Broken> {
        self.is_set_high().map(|high| !high)
    }
}

impl PulseOutput for RelayLine {
    fn times_pulses(&self) -> bool {
        matches!(self, RelayLine::Led(_))
    }

    fn pulse(&mut self, length: Duration) -> Result<(), Broken> {
        match self {
            RelayLine::Gpio(_) => Err(Broken),
            RelayLine::Led(led) => led.pulse(length).map_err(|_| Broken),
        }
    }
}

/// Drives an output off and lets it go.
///
/// # Errors
/// A sentence on what stands in the way.
pub(super) fn rest(output: &RelayOutput) -> Result<(), String> {
    match output {
        // Whether the kernel could time its pulses does not matter now.
        RelayOutput::Led(dir) => {
            let led = Led { dir: dir.clone() };
            led.off().map_err(|why| format!("its output {} cannot be driven: {why}", dir.display()))
        }
        RelayOutput::Gpio(_) => {
            let mut line = RelayLine::open(output, Opening::Drive(false))?;
            line.set_low().map_err(|_| "its output cannot be driven".to_owned())
        }
    }
}

/// An output of the LED class (Documentation/ABI/testing/sysfs-class-led and sysfs-class-led-trigger-oneshot).
pub(super) struct Led {
    dir: PathBuf,
}

impl Led {
    fn open(dir: &Path) -> Result<Self, String> {
        let at = dir.display();
        let trigger = dir.join("trigger");
        let triggers = fs::read_to_string(&trigger).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no output {at}: `ls /sys/class/leds` shows those that the board describes")
            }
            _ => format!("{} cannot be read: {why}", trigger.display()),
        })?;
        if !triggers.split_whitespace().any(|name| name.trim_matches(['[', ']']) == "oneshot") {
            return Err(format!(
                "the kernel cannot time pulses of {at}: load its module with `modprobe ledtrig-oneshot`"
            ));
        }
        File::options().write(true).open(&trigger).map_err(|why| {
            format!(
                "{} cannot be written ({why}): give it to the group gatehouse with a udev rule, and let the service \
                 write there with ReadWritePaths= (`systemctl edit gatehouse`)",
                trigger.display()
            )
        })?;
        Ok(Led { dir: dir.to_path_buf() })
    }

    /// Writing 0 takes the trigger away, and with it a pulse that is under way. Then the trigger is set for the next one:
    /// the kernel makes its files anew each time, as root's, and it takes udev a moment to give them to the daemon.
    fn off(&self) -> io::Result<()> {
        self.write("brightness", "0")?;
        // The output is off all the same; a pulse tries again.
        let _ = self.write("trigger", "oneshot");
        Ok(())
    }

    fn on(&self) -> io::Result<()> {
        let brightest = fs::read_to_string(self.dir.join("max_brightness"))?;
        self.write("trigger", "none")?;
        self.write("brightness", brightest.trim())
    }

    fn is_on(&self) -> io::Result<bool> {
        Ok(fs::read_to_string(self.dir.join("brightness"))?.trim() != "0")
    }

    fn pulse(&self, length: Duration) -> io::Result<()> {
        if !fs::read_to_string(self.dir.join("trigger"))?.contains("[oneshot]") {
            self.write("trigger", "oneshot")?;
        }
        self.write("delay_on", &length.as_millis().to_string())?;
        self.write("delay_off", "1")?;
        self.write("shot", "1")
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(file), text)
    }
}

impl fmt::Debug for RelayLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelayLine::Gpio(_) => "Gpio",
            RelayLine::Led(_) => "Led",
        })
    }
}

fn polarity(at: &GpioLine) -> LineRequestFlags {
    if at.active_low { LineRequestFlags::ACTIVE_LOW } else { LineRequestFlags::empty() }
}

/// A line that there is, and that nobody uses.
fn free_line(at: &GpioLine) -> Result<Line, String> {
    let path = at.chip.display();
    // Opened here first, because the crate's error does not tell what the kernel said.
    File::open(&at.chip).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no GPIO chip {path}: `ls /dev/gpiochip*` shows those that there are")
        }
        io::ErrorKind::PermissionDenied => format!(
            "no permission for {path}: add the user gatehouse to the group that `ls -l {path}` shows (`usermod -aG gpio \
             gatehouse`; if that is root, a udev rule gives it to one) and restart"
        ),
        _ => format!("the GPIO chip {path} cannot be opened: {why}"),
    })?;
    let mut chip =
        Chip::new(&at.chip).map_err(|_| format!("{path} is not a GPIO chip: give a path such as /dev/gpiochip0"))?;
    let lines = chip.num_lines();
    if at.offset >= lines {
        return Err(format!("{path} has {lines} lines, counted from 0: there is no line {}", at.offset));
    }
    let told = |why| format!("line {} of {path} tells nothing of itself: {why}", at.offset);
    let line = chip.get_line(at.offset).map_err(told)?;
    let info = line.info().map_err(told)?;
    if info.is_kernel() {
        let by = info.consumer().unwrap_or("the kernel");
        return Err(format!(
            "line {} of {path} is in use by {by}: end that, or give another line (`gpioinfo` shows all)",
            at.offset
        ));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(chip: &str) -> String {
        let at = GpioLine { chip: chip.into(), offset: 4, active_low: true };
        ContactLine::open(&at, Bias::AsIs).map(|_| ()).expect_err("that is no chip")
    }

    #[test]
    fn what_is_no_chip_is_said_with_what_to_do() {
        assert_eq!(
            refused("/dev/gpiochip-none"),
            "there is no GPIO chip /dev/gpiochip-none: `ls /dev/gpiochip*` shows those that there are"
        );
        assert_eq!(refused("/dev/null"), "/dev/null is not a GPIO chip: give a path such as /dev/gpiochip0");
    }

    #[test]
    fn an_edge_keeps_the_kernels_time_and_a_foreign_clock_is_not_believed() {
        let now = Mono::from_millis(500_000);
        assert_eq!(edge_time(299_990_000_000, 300_000_000_000, now), Mono::from_millis(499_990));
        assert_eq!(edge_time(1_795_450_845_000_000_000, 300_000_000_000, now), now, "the wall clock of an old kernel");
        assert_eq!(edge_time(1_000_000_000, 300_000_000_000, now), now);
    }

    fn led(triggers: &str) -> (tempfile::TempDir, Result<RelayLine, String>) {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [("trigger", triggers), ("max_brightness", "255\n"), ("brightness", "0\n")] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let opened = RelayLine::open(&RelayOutput::Led(dir.path().to_path_buf()), Opening::Drive(false));
        (dir, opened)
    }

    #[test]
    fn a_pulse_of_a_led_is_handed_to_the_kernel() {
        let (dir, opened) = led("none [heartbeat] oneshot\n");
        let mut output = opened.unwrap();
        assert!(output.times_pulses());
        output.pulse(Duration::from_millis(500)).unwrap();
        let said =
            ["trigger", "delay_on", "delay_off", "shot"].map(|file| fs::read_to_string(dir.path().join(file)).unwrap());
        assert_eq!(said, ["oneshot", "500", "1", "1"]);
        output.set_high().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("trigger")).unwrap(), "none");
        assert!(output.is_set_high().unwrap());
        output.set_low().unwrap();
        assert!(output.is_set_low().unwrap());
        let trigger = fs::read_to_string(dir.path().join("trigger")).unwrap();
        assert_eq!(trigger, "oneshot", "the next pulse finds its files");
    }

    #[test]
    fn a_led_that_the_kernel_cannot_time_is_said_with_what_to_do() {
        let (dir, opened) = led("[none] timer\n");
        let at = dir.path().display();
        let expected =
            format!("the kernel cannot time pulses of {at}: load its module with `modprobe ledtrig-oneshot`");
        assert_eq!(opened.unwrap_err(), expected);
        let none = Led::open(Path::new("/sys/class/leds/none-such")).map(|_| ()).unwrap_err();
        assert!(none.ends_with("`ls /sys/class/leds` shows those that the board describes"), "{none}");
    }
}
