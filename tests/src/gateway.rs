//! The `gatehouse` command, as built by this workspace.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Process, eventually};
use crate::stage::Stage;

/// The command: `GATEHOUSE_BIN`, or the workspace's own, which is built first if need be.
pub fn gatehouse() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BINARY.get_or_init(|| match std::env::var_os("GATEHOUSE_BIN") {
        Some(path) => path.into(),
        None => build(),
    }))
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace's features, as in `cargo test --workspace`: nothing is built a second time.
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--workspace", "--bin", "gatehouse"])
        .current_dir(workspace)
        .status();
    assert!(built.unwrap().success(), "gatehouse does not build");
    // target/debug/deps/test-0123 -> target/debug/gatehouse
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("gatehouse")
}

/// A running `gatehouse run`.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub process: Process,
    config: PathBuf,
}

impl Gateway {
    /// Starts the daemon with a site file.
    pub fn start(stage: &Stage, config: &Path) -> Self {
        Self::start_with(stage, config, &[])
    }

    /// Starts the daemon with a site file and these variables in its environment.
    pub fn start_with(stage: &Stage, config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = gatehouse();
        command.arg("run").arg("--config").arg(config).envs(environment.iter().copied());
        let process = Process::start("gatehouse", stage.path(), &mut command);
        Gateway { process, config: config.to_owned() }
    }

    /// Asks the daemon's HTTP port; gives the status and the body.
    pub fn get(&self, stage: &Stage, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.http())).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        parts(&answer)
    }

    /// Asks the API on the unix socket; gives the status and the document.
    pub fn call(&self, stage: &Stage, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = UnixStream::connect(stage.file("api.sock")).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: box\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (status, body) = parts(&answer);
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    /// Runs a command that talks to this daemon.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        gatehouse().arg(command).arg("--config").arg(&self.config).args(rest).output().unwrap()
    }

    /// The JSON that a command prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gatehouse {arguments:?}: {said}\n{}", self.process.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Asks for the status until `found` finds something in it.
    pub fn until<T>(&self, what: &str, deadline: Duration, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        eventually(what, deadline, || {
            let output = self.ask(&["status", "--json"]);
            let status = output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())?;
            found(&status)
        })
    }

    /// Asks it to end, as systemd does, and waits for it.
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(deadline)
    }
}

/// The status and the body of an answer.
fn parts(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}
