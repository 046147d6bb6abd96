//! What ends a scan early, so that it keeps what it found: Ctrl-C, the end of the session, a plea to end, an ear that is gone.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::task::{Context, Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The number of SIGHUP, as the kernel's masks count signals (signal(7)).
const HANGUP: u32 = 1;

/// The signals that end a scan, and the terminal that may be gone.
pub(super) struct Stop {
    signals: Vec<Signal>,
    /// Nobody hears any more what is told.
    is_unheard: bool,
}

impl Stop {
    /// Takes Ctrl-C, `kill`, and the hang-up of a terminal or an ssh session; the last not where somebody had it ignored,
    /// as `nohup` does.
    ///
    /// # Errors
    /// When the kernel gives no handler.
    pub(super) fn new() -> io::Result<Stop> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !ignores(&status, HANGUP) {
            kinds.push(SignalKind::hangup());
        }
        let signals = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
        Ok(Stop { signals, is_unheard: false })
    }

    /// Ready once the scan is to end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let came = self.signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
        if came || self.is_unheard { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Says a line on stderr. Where nobody hears it any more, the scan is to end.
    pub(super) fn tell(&mut self, text: Arguments<'_>) {
        self.is_unheard |= writeln!(io::stderr(), "{text}").is_err();
    }
}

/// Whether a process with this `/proc/PID/status` ignores a signal.
fn ignores(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_that_nohup_has_ignored_is_left_so() {
        assert!(ignores("Name:\tgatehouse\nSigIgn:\t0000000000001001\n", HANGUP));
        assert!(!ignores("Name:\tgatehouse\nSigIgn:\t0000000000001000\n", HANGUP));
        assert!(!ignores("", HANGUP));
    }
}
