//! The climate sensor's thread: an I2C bus that hangs may hold its caller for a second, so nobody else calls it.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use gatehouse_config::box_io::ClimateSettings;
use gatehouse_core::{Mono, NoData};
use gatehouse_firmware_bridge::climate::Climate;
use gatehouse_firmware_bridge::sht3x::{Measurement, Sht3x};
use linux_embedded_hal::I2cdev;
use rustix::io::Errno;
use rustix::time::ClockId;
use tokio::sync::mpsc;

use super::lines::clock_ns;

/// How long until a bus that cannot be opened is tried again.
const REOPEN: Duration = Duration::from_secs(10);
/// Measurements that may wait; more are left out, since the newest counts.
const QUEUE: usize = 2;

/// A sensor at work. It ends when this is dropped.
pub(super) struct ClimateThread {
    /// What it measured, or why it could not.
    pub(super) measured: mpsc::Receiver<Result<Measurement, NoData>>,
    /// Dropping it wakes the thread to its end.
    _alive: Sender<()>,
}

/// Starts the thread of a sensor.
///
/// # Errors
/// When the kernel has no more threads.
pub(super) fn start(settings: ClimateSettings) -> io::Result<ClimateThread> {
    let (tell, measured) = mpsc::channel(QUEUE);
    let (alive, ended) = channel();
    let work = move || run(&settings, &tell, &ended);
    std::thread::Builder::new().name("climate".to_owned()).stack_size(256 * 1024).spawn(work)?;
    Ok(ClimateThread { measured, _alive: alive })
}

fn run(settings: &ClimateSettings, tell: &mpsc::Sender<Result<Measurement, NoData>>, ended: &Receiver<()>) {
    let mut told = None;
    loop {
        let pause = match open(settings) {
            Ok(bus) => {
                let mut climate = Climate::new(Sht3x::new(bus, settings.address), settings.interval, now());
                match measure(&mut climate, settings, (tell, ended), &mut told) {
                    Ok(()) => return,
                    Err(pause) => pause,
                }
            }
            Err(why) => {
                trouble(&mut told, Some(why));
                let _ = tell.try_send(Err(NoData::BusDown));
                REOPEN
            }
        };
        if !waited(ended, pause) {
            return;
        }
    }
}

type Ends<'a> = (&'a mpsc::Sender<Result<Measurement, NoData>>, &'a Receiver<()>);

/// Measures until nobody wants to know (`Ok`), or the bus is gone and to be opened again after a pause.
fn measure(
    climate: &mut Climate<I2cdev>,
    settings: &ClimateSettings,
    (tell, ended): Ends<'_>,
    told: &mut Option<String>,
) -> Result<(), Duration> {
    loop {
        if !waited(ended, now().until(climate.poll_timeout())) {
            return Ok(());
        }
        let Some(result) = climate.handle_timeout(now()) else { continue };
        trouble(told, result.err().map(|why| format!("{}: {why}", settings.bus.display())));
        let result = result.map_err(NoData::from);
        let gone = result == Err(NoData::BusDown);
        // A queue that is full holds older ones; the next measurement comes soon.
        let _ = tell.try_send(result);
        if gone {
            return Err(now().until(climate.poll_timeout()));
        }
    }
}

/// False when the end came first.
fn waited(ended: &Receiver<()>, pause: Duration) -> bool {
    matches!(ended.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}

/// Tells of a trouble once, and once when it is over.
fn trouble(told: &mut Option<String>, why: Option<String>) {
    match &why {
        Some(why) if told.as_ref() != Some(why) => tracing::warn!("no temperature and humidity: {why}"),
        None if told.is_some() => tracing::info!("temperature and humidity are measured again"),
        Some(_) | None => {}
    }
    *told = why;
}

fn now() -> Mono {
    Mono(clock_ns(ClockId::Boottime))
}

fn open(settings: &ClimateSettings) -> Result<I2cdev, String> {
    let opened = I2cdev::new(&settings.bus).and_then(|mut bus| {
        // Asked here, because the kernel's word on a chip that it drives itself is lost further on.
        bus.set_slave_address(u16::from(settings.address))?;
        Ok(bus)
    });
    opened.map_err(|why| unopened(settings, &io::Error::from(why)))
}

fn unopened(settings: &ClimateSettings, why: &io::Error) -> String {
    let (at, address) = (settings.bus.display(), settings.address);
    match why.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV) => format!(
            "there is no I2C bus {at}: `ls /dev/i2c-*` shows those that there are; if there are none, the bus is \
             switched off in the board's settings, or the kernel module i2c-dev is not loaded"
        ),
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "no permission for {at}: add the user gatehouse to the group that `ls -l {at}` shows \
             (`usermod -aG i2c gatehouse`) and restart"
        ),
        Some(Errno::NOTTY) => format!("{at} is not an I2C bus: give a path such as /dev/i2c-1"),
        Some(Errno::BUSY) => format!(
            "the kernel drives the chip at address 0x{address:02x} of {at} itself: take it out of the board's device tree"
        ),
        _ => format!("the I2C bus {at} cannot be opened: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(bus: &str) -> ClimateSettings {
        ClimateSettings { bus: bus.into(), address: 0x44, interval: Duration::from_secs(10) }
    }

    #[test]
    fn a_bus_that_cannot_be_opened_is_said_with_what_to_do() {
        let why = |bus| open(&on(bus)).map(|_| ()).expect_err("that is no bus");
        assert!(why("/dev/i2c-none").starts_with("there is no I2C bus /dev/i2c-none: `ls /dev/i2c-*`"));
        assert_eq!(why("/dev/null"), "/dev/null is not an I2C bus: give a path such as /dev/i2c-1");
        let busy = unopened(&on("/dev/i2c-1"), &io::Error::from(Errno::BUSY));
        assert!(busy.starts_with("the kernel drives the chip at address 0x44 of /dev/i2c-1 itself"), "{busy}");
    }

    #[test]
    fn a_sensor_without_a_bus_says_that_it_is_down_and_ends_when_dropped() {
        let mut thread = start(on("/dev/i2c-none")).unwrap();
        assert_eq!(thread.measured.blocking_recv(), Some(Err(NoData::BusDown)));
        let ClimateThread { mut measured, _alive } = thread;
        drop(_alive);
        assert_eq!(measured.blocking_recv(), None);
    }
}
