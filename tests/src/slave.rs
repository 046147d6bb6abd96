//! Slaves made of pymodbus, and serial ports made of pseudo-terminals.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, SECONDS, eventually};
use crate::stage::{Stage, program};

/// A pymodbus slave: see `tests/peers/slave.py` for its registers.
#[derive(Debug)]
pub struct Slave {
    process: Process,
    port: u16,
}

impl Slave {
    /// A Modbus TCP slave with these units.
    pub fn tcp(stage: &Stage, units: &[u8]) -> Self {
        Self::start(stage, &["tcp"], units)
    }

    /// A slave that speaks RTU over a socket, as one does behind a transparent serial server.
    pub fn rtu_over_tcp(stage: &Stage, units: &[u8]) -> Self {
        Self::start(stage, &["rtu_over_tcp"], units)
    }

    /// A Modbus RTU slave at one end of a [`Pty`], at [`PTY_BAUD`].
    pub fn serial(stage: &Stage, port: &Path, units: &[u8]) -> Self {
        Self::start(stage, &["serial", &port.display().to_string(), &PTY_BAUD.to_string()], units)
    }

    fn start(stage: &Stage, arguments: &[&str], units: &[u8]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/slave.py");
        let mut command = Command::new(python());
        command.arg(script).args(arguments).args(units.iter().map(u8::to_string));
        let mut process = Process::start("slave", stage.path(), &mut command);
        let lines = process.lines();
        let said = lines.recv_timeout(30 * SECONDS).unwrap_or_else(|_| panic!("no slave: {}", process.log()));
        let port = said.strip_prefix("listening ").and_then(|port| port.parse().ok());
        Slave { process, port: port.unwrap_or_else(|| panic!("the slave says {said:?}")) }
    }

    /// Where it listens on 127.0.0.1; 0 for a serial one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The Python that has pymodbus, cryptography and openpyxl: `GATEHOUSE_TEST_PYTHON`, or the one that `tests/run` makes.
pub fn python() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin/python");
    let python = std::env::var_os("GATEHOUSE_TEST_PYTHON").map_or(made, PathBuf::from);
    assert!(python.is_file(), "{} is missing: run ./tests/run, which makes it", python.display());
    python
}

/// The speed for slaves on a [`Pty`]: so fast that no answer comes sooner than a wire of that speed could carry it, which
/// the gateway would take for one left over from before.
pub const PTY_BAUD: u32 = 921_600;

/// Two pseudo-terminals that hear each other: a serial line with one end for each side.
#[derive(Debug)]
pub struct Pty {
    _process: Process,
    /// One end.
    pub near: PathBuf,
    /// The other end.
    pub far: PathBuf,
}

impl Pty {
    /// Makes `<name>` and `<name>-far` in the stage's folder.
    pub fn new(stage: &Stage, name: &str) -> Self {
        let (near, far) = (stage.file(name), stage.file(&format!("{name}-far")));
        let end = |path: &Path| format!("pty,rawer,link={}", path.display());
        let process = Process::start("socat", stage.path(), program("socat").args([end(&near), end(&far)]));
        eventually("the pseudo-terminals", 10 * SECONDS, || (near.exists() && far.exists()).then_some(()));
        Pty { _process: process, near, far }
    }
}
