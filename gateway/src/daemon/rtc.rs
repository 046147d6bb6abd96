//! The box's battery-backed clock chip, for boxes whose kernel does not read it itself.

use std::io;
use std::path::Path;
use std::time::Duration;

use gatehouse_core::{Trust, Wall};
use gatehouse_firmware_bridge::ds3231::{ADDRESS, Ds3231, Ds3231Error, RtcReading};
use linux_embedded_hal::I2cdev;
use rustix::io::Errno;

use super::clock::{self, Clock, Offer, Source};

/// How far off the chip may be: 3.5 ppm (Maxim data sheet 19-5170, -40 to +85 degrees) are 110 s in a year unset.
const ACCURACY: Duration = Duration::from_secs(110);

/// Gives the chip's time to a clock that follows no time source yet. Without a chip does nothing.
pub fn start(clock: &Clock, rtc: Option<&Path>) {
    let Some(path) = rtc.filter(|_| clock.now().trust != Trust::Synchronised) else { return };
    match read(path) {
        Ok(wall) => {
            clock.offer(wall, Offer { source: Source::Rtc, accuracy: ACCURACY });
            let time = jiff::Timestamp::from_microsecond(wall.0).map(|time| time.to_string()).unwrap_or_default();
            tracing::info!(time, "the time is taken from the clock chip");
        }
        Err(why) => tracing::warn!("the time is not known yet: {why}"),
    }
}

/// Reads a DS3231 on the I2C bus `path`, such as `/dev/i2c-1`. Waits for the bus: about a millisecond.
///
/// # Errors
/// A sentence on what stands in the way, and what to do: no such bus, no permission, no chip, a chip that was never set.
pub fn read(path: &Path) -> Result<Wall, String> {
    let opened = I2cdev::new(path).and_then(|mut bus| {
        // Asked here, because the kernel's word on a chip that it drives itself is lost further on.
        bus.set_slave_address(u16::from(ADDRESS))?;
        Ok(bus)
    });
    let bus = opened.map_err(|why| unopened(path, &io::Error::from(why)))?;
    judge(path, Ds3231::new(bus).read())
}

fn unopened(path: &Path, why: &io::Error) -> String {
    let at = path.display();
    match why.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV) => format!(
            "there is no I2C bus {at}: `ls /dev/i2c-*` shows those that there are; if there are none, the bus is \
             switched off in the board's settings, or the kernel module i2c-dev is not loaded"
        ),
        Some(Errno::ACCESS | Errno::PERM) => format!(
            "no permission for {at}: add the user gatehouse to the group that `ls -l {at}` shows \
             (`usermod -aG i2c gatehouse`) and restart"
        ),
        Some(Errno::NOTTY) => format!("{at} is not an I2C bus: `clock.rtc` wants a path such as /dev/i2c-1"),
        Some(Errno::BUSY) => format!(
            "the kernel drives the chip at address 0x{ADDRESS:02x} of {at} itself and sets the clock from it: \
             remove `clock.rtc`"
        ),
        _ => format!("the I2C bus {at} cannot be opened: {why}"),
    }
}

fn judge(path: &Path, reading: Result<RtcReading, Ds3231Error>) -> Result<Wall, String> {
    let at = path.display();
    match reading {
        Ok(RtcReading { trust: Trust::Unset, .. }) => {
            Err(format!("the clock chip on {at} has stood still since it was set: change its battery, then set it"))
        }
        Ok(RtcReading { wall, .. }) if wall < clock::built() => {
            Err(format!("the clock chip on {at} is set to a time before this program was made: set it"))
        }
        Ok(RtcReading { wall, .. }) => Ok(wall),
        // Many adapters report an address that nothing acknowledges like any other fault.
        Err(Ds3231Error::Missing | Ds3231Error::Bus(_)) => Err(format!(
            "no clock chip answers at address 0x{ADDRESS:02x} of {at}: is a DS3231 fitted, and is this its bus?"
        )),
        Err(why) => Err(format!("{at}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(path: &str) -> String {
        read(Path::new(path)).expect_err("that is no bus")
    }

    fn judged(reading: Result<RtcReading, Ds3231Error>) -> Result<Wall, String> {
        judge(Path::new("/dev/i2c-1"), reading)
    }

    #[test]
    fn what_is_no_bus_is_told_from_a_bus_that_may_not_be_used() {
        assert!(fails("/dev/i2c-none").starts_with("there is no I2C bus /dev/i2c-none: `ls /dev/i2c-*`"));
        assert!(fails("/dev/null").starts_with("/dev/null is not an I2C bus"));
        let told = |errno: Errno| unopened(Path::new("/dev/i2c-1"), &io::Error::from(errno));
        assert!(told(Errno::ACCESS).contains("usermod -aG i2c gatehouse"));
        assert!(told(Errno::BUSY).ends_with("remove `clock.rtc`"));
        assert!(told(Errno::IO).starts_with("the I2C bus /dev/i2c-1 cannot be opened: "));
    }

    #[test]
    fn a_chip_is_believed_only_when_it_ran_on_and_was_set() {
        let wall = Wall(clock::built().0 + 1_000_000);
        assert_eq!(judged(Ok(RtcReading { wall, trust: Trust::FreeRunning })), Ok(wall));
        let why = judged(Ok(RtcReading { wall, trust: Trust::Unset })).unwrap_err();
        assert!(why.contains("has stood still since it was set: change its battery"), "{why}");
        let early = RtcReading { wall: Wall(clock::built().0 - 1), trust: Trust::FreeRunning };
        assert!(judged(Ok(early)).unwrap_err().contains("before this program was made"));
    }

    #[test]
    fn a_missing_chip_is_said_with_its_bus() {
        let why = judged(Err(Ds3231Error::Missing)).unwrap_err();
        assert_eq!(
            why,
            "no clock chip answers at address 0x68 of /dev/i2c-1: is a DS3231 fitted, and is this its bus?"
        );
        let why = judged(Err(Ds3231Error::NotADate { register: 2, value: 0xff })).unwrap_err();
        assert!(why.starts_with("/dev/i2c-1: register 0x02"), "{why}");
    }
}
