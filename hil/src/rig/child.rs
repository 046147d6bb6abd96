//! Child processes that never outlive the run, whatever ends it.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// A child process. Dropping it kills it; the kernel does the same when the run itself is killed.
pub struct Child(std::process::Child);

impl Child {
    /// Starts a process. The thread that calls this must live as long as the child shall.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        // Ctrl-C at a terminal reaches a whole process group: the run decides when its children end.
        command.process_group(0);
        // SAFETY: between fork and exec only one prctl call is made, which allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        Ok(Child(command.spawn().with_context(|| format!("cannot start {program}"))?))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // A process that has ended by itself needs no signal.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    /// Kills it at once and takes its status.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Its status, once it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Asks it to end and waits until then; `None` when it had to be killed after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.status() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status().is_none() {
            // A stopped process cannot die of SIGTERM; SIGKILL reaches it in any state.
            self.kill();
        }
    }
}
