//! One re-armable deadline: by a kernel timer where fractions of a millisecond count, else by tokio's wheel.
//!
//! tokio's wheel ticks at 1 ms, while 3.5 characters at 115200 baud last 0.3 ms; but it costs no system call.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gatehouse_core::Mono;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep};

/// One re-armable deadline on the monotonic clock.
#[derive(Debug)]
pub enum Timer {
    /// Exact to some ten microseconds; for serial lines.
    Fine(KernelTimer),
    /// Up to 2 ms late; for sockets.
    Coarse(WheelTimer),
}

impl Timer {
    /// An exact timer, not armed.
    ///
    /// # Errors
    /// When the kernel has no more file descriptors.
    pub fn fine() -> io::Result<Self> {
        KernelTimer::new().map(Timer::Fine)
    }

    /// A cheap timer, not armed.
    pub fn coarse() -> Self {
        Timer::Coarse(WheelTimer { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), armed: None })
    }

    /// Ready once `now` or the clock later has reached `due`, if there is a deadline. The deadline may be another one
    /// each time.
    pub fn poll_due(&mut self, cx: &mut Context<'_>, now: Mono, due: Option<Mono>) -> Poll<()> {
        if due.is_some_and(|due| due <= now) {
            return Poll::Ready(());
        }
        match self {
            // A timer that cannot be armed is as good as due: the caller looks at the clock itself.
            Timer::Fine(timer) => match timer.arm(due) {
                Ok(()) => timer.poll_expired(cx).map(|_| ()),
                Err(_) => Poll::Ready(()),
            },
            Timer::Coarse(timer) => timer.poll_due(cx, now, due),
        }
    }
}

/// A deadline in tokio's wheel.
#[derive(Debug)]
pub struct WheelTimer {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Mono>,
}

impl WheelTimer {
    fn poll_due(&mut self, cx: &mut Context<'_>, now: Mono, due: Option<Mono>) -> Poll<()> {
        let Some(due) = due else {
            self.armed = None;
            return Poll::Pending;
        };
        if self.armed != Some(due) {
            self.sleep.as_mut().reset(Instant::now() + now.until(due));
            self.armed = Some(due);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.armed = None;
        Poll::Ready(())
    }
}

/// A deadline of the kernel's, through a file descriptor.
#[derive(Debug)]
pub struct KernelTimer {
    fd: AsyncFd<OwnedFd>,
    armed: Option<Mono>,
}

impl KernelTimer {
    fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the descriptor is owned by the AsyncFd and stays open until that is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE)? };
        Ok(KernelTimer { fd, armed: None })
    }

    /// Sets the deadline, or none. Costs a system call only if it differs from the present one.
    fn arm(&mut self, at: Option<Mono>) -> io::Result<()> {
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
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Mono {
        super::super::clock::Clock::open().mono()
    }

    async fn wait(timer: &mut Timer, due: Mono) -> Mono {
        std::future::poll_fn(|cx| timer.poll_due(cx, now(), Some(due))).await;
        now()
    }

    #[tokio::test]
    async fn neither_timer_fires_early_and_both_can_be_armed_again() {
        for mut timer in [Timer::fine().unwrap(), Timer::coarse()] {
            for _ in 0..3 {
                let due = now() + Duration::from_millis(5);
                assert!(wait(&mut timer, due).await >= due, "{timer:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_deadline_that_moves_closer_counts() {
        for mut timer in [Timer::fine().unwrap(), Timer::coarse()] {
            let far = now() + Duration::from_secs(3600);
            let first = std::future::poll_fn(|cx| Poll::Ready(timer.poll_due(cx, now(), Some(far)))).await;
            assert!(first.is_pending());
            let near = now() + Duration::from_millis(2);
            assert!(wait(&mut timer, near).await < far, "{timer:?}");
        }
    }
}
