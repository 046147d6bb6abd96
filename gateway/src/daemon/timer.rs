//! Timers fine enough for serial lines: tokio's wheel ticks at 1 ms, a silence at 115200 baud is a third of that.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use gatehouse_core::Mono;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// One re-armable deadline on the monotonic clock, through a kernel timer.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    armed: Option<Mono>,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// When the kernel has no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned by the AsyncFd and stays open until that is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE)? };
        Ok(Timer { fd, armed: None })
    }

    /// Sets the deadline, or none. Costs a system call only if it differs from the present one.
    ///
    /// # Errors
    /// When the kernel refuses, which it has no reason to.
    pub fn arm(&mut self, at: Option<Mono>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        // A zero deadline would disarm; one nanosecond after boot has long passed.
        let ns = at.map_or(0, |at| at.0.max(1));
        let value = Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = at;
        Ok(())
    }

    /// Ready once the deadline has passed; it is not armed then.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            let mut count = [0u8; 8];
            match rustix::io::read(guard.get_inner(), &mut count) {
                Ok(_) => {
                    self.armed = None;
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Poll::Ready(Err(e.into())),
            }
        }
    }
}
