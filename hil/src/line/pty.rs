//! A [`Wire`] behind a pseudo-terminal, with a thread that keeps its time.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::faults::{Counts, Faults};
use super::speed::Speed;
use super::wire::Wire;
use crate::sim_clock::now_ns;
use crate::slave::answer::Memory;
use crate::slave::station::Seat;

/// Longest sleep of the line's thread, so that it sees the wish to stop.
const LONGEST_SLEEP_NS: u64 = 500_000_000;

/// A running simulated RS-485 line. It ends when dropped.
pub struct SerialLine {
    path: PathBuf,
    /// What goes wrong on it.
    pub faults: Arc<Faults>,
    /// What happened on it.
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    // Held open so that the master side never sees a hang-up while no gateway has the port.
    slave: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl SerialLine {
    /// Starts a line with these Modbus slaves, by unit.
    ///
    /// # Errors
    /// When the system gives no pseudo-terminal or thread.
    pub fn start(speed: Speed, units: Vec<(u8, Box<dyn Memory>)>) -> anyhow::Result<Self> {
        Self::with_seats(speed, units.into_iter().map(|(unit, memory)| Seat::modbus(unit, speed, memory)).collect())
    }

    /// Starts a line with these devices, whose settings may differ; `speed` is what the port is set to until somebody
    /// sets it.
    ///
    /// # Errors
    /// When the system gives no pseudo-terminal or thread.
    pub fn with_seats(speed: Speed, seats: Vec<Seat>) -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal (/dev/ptmx)")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.to_str().context("the pseudo-terminal's name is not text")?);
        let slave = open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut termios = tcgetattr(&slave)?;
        termios.make_raw();
        termios.set_speed(speed.baud)?;
        tcsetattr(&slave, OptionalActions::Now, &termios)?;
        fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let (faults, counts, stop) = (Arc::<Faults>::default(), Arc::new(Counts::new()), Arc::<AtomicBool>::default());
        let wire = Wire::new(speed, seats, faults.clone(), counts.clone());
        let (stopped, port) = (stop.clone(), slave.try_clone()?);
        let thread = std::thread::Builder::new()
            .name(format!("line-{}", speed.baud))
            .spawn(move || run(File::from(master), &port, wire, &stopped))
            .context("cannot start the line's thread")?;
        Ok(SerialLine { path, faults, counts, stop, slave, thread: Some(thread) })
    }

    /// The device file that the gateway opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets another process open the port after one that held it exclusively was killed.
    pub fn release(&self) {
        // Fails only where exclusive mode does not exist.
        let _ = rustix::termios::ioctl_tiocnxcl(&self.slave);
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks for exact timers and an early turn; a container may refuse either, and the line then is only less exact.
pub(crate) fn be_punctual() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), -15);
}

fn run(mut master: File, port: &OwnedFd, mut wire: Wire, stop: &AtomicBool) {
    be_punctual();
    let mut bytes = [0u8; 1024];
    let mut out = Vec::with_capacity(1024);
    while !stop.load(Relaxed) {
        let wait = wire.poll_timeout().map_or(LONGEST_SLEEP_NS, |at| at.saturating_sub(now_ns()).min(LONGEST_SLEEP_NS));
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait.cast_signed() };
        let mut fds = [PollFd::new(&master, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&timeout)).unwrap_or(0) > 0;
        let now = now_ns();
        if let Ok(termios) = tcgetattr(port) {
            wire.set_port(termios.output_speed());
        }
        // What had come out by now was on the line before the bytes that are read now.
        wire.poll_transmit(now, &mut out);
        if ready && let Ok(n @ 1..) = master.read(&mut bytes) {
            wire.handle_bytes(now, &bytes[..n]);
        }
        if !out.is_empty() {
            // A full buffer means that nobody reads: as on a real pair, the bytes are gone.
            let _ = master.write(&out);
            out.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slave::answer::{Exception, Words};
    use crate::slave::frame::seal_rtu;

    struct Constant;
    impl Memory for Constant {
        fn word(&mut self, _: Words, address: u16) -> Result<u16, Exception> {
            Ok(address)
        }
    }

    /// Reads until `bytes` have come; a line that stays silent for ten seconds ends the test.
    fn read(port: &mut File, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        while all.len() < bytes && poll(&mut [PollFd::new(port, PollFlags::IN)], Some(&patience)).unwrap() > 0 {
            let mut buffer = [0; 256];
            let n = port.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..n]);
        }
        all
    }

    #[test]
    fn a_master_on_the_port_gets_its_answer_no_sooner_than_the_wire_allows() {
        let line = SerialLine::start(Speed::new(19_200), vec![(3, Box::new(Constant))]).unwrap();
        let mut port = File::options().read(true).write(true).open(line.path()).unwrap();
        let begin = now_ns();
        port.write_all(&seal_rtu(3, &[3, 0, 7, 0, 2])).unwrap();
        let reply = read(&mut port, 9);
        assert_eq!(reply, seal_rtu(3, &[3, 4, 0, 7, 0, 8]));
        let speed = Speed::new(19_200);
        assert!(now_ns() - begin >= speed.transaction_ns(8, 9) - speed.silence_ns());
        assert_eq!(line.counts.requests.load(Relaxed), 1);
    }
}
