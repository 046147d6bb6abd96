//! Processes that end with the test, and waiting for what they do.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// One second.
pub const SECONDS: Duration = Duration::from_secs(1);

/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// When `deadline` passes first; the message names `what` was waited for.
pub fn eventually<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "still waiting after {deadline:?}: {what}");
        std::thread::park_timeout(LOOK);
    }
}

/// A child process; killed by its id when dropped. What it says on stderr is kept in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its stderr is added to `<folder>/<name>.log`. Should the test be killed, the process ends too. It takes a
    /// hang-up as it does by itself, even where the test runs under `nohup`.
    pub fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut leashed = Command::new("setpriv");
        leashed
            .args(["--pdeathsig", "KILL", "--", "env", "--default-signal=HUP"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => leashed.env(key, value),
                None => leashed.env_remove(key),
            };
        }
        leashed.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let child = leashed.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Process { child, name: name.to_owned(), log }
    }

    /// The lines of its stdout, from now on. Can be asked once.
    pub fn lines(&mut self) -> Receiver<String> {
        let stdout = self.child.stdout.take().expect("the lines were not asked for before");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, deadline, || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All that it and its namesakes before it said on stderr.
    pub fn log(&self) -> String {
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut File::open(&self.log).unwrap(), &mut text);
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- the last words of {}:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("    {line}"));
        }
    }
}
