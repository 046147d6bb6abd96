//! OSDP readers made of libosdp.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;

use serde_json::Value;

use crate::process::{Process, SECONDS, eventually};
use crate::slave::python;
use crate::stage::Stage;

/// An OSDP reader: see `tests/peers/reader.py`.
#[derive(Debug)]
pub struct Reader {
    _process: Process,
    lines: Receiver<String>,
    script: PathBuf,
    /// The port at which it is.
    pub port: PathBuf,
}

impl Reader {
    /// True where libosdp is there; says so in one line where it is not.
    pub fn can_be_had() -> bool {
        let there = Command::new(python()).args(["-c", "import osdp_sys"]).output().unwrap().status.success();
        if !there {
            eprintln!("skipped: libosdp is not installed; ./tests/run does it where it can be had");
        }
        there
    }

    /// A reader at an address of its own port, with a key in hexadecimal digits.
    pub fn start(stage: &Stage, name: &str, address: u8, key: Option<&str>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/reader.py");
        let (port, orders) = (stage.file(name), stage.file(&format!("{name}.orders")));
        let mut command = Command::new(python());
        command.arg(script).arg(&port).arg(&orders).arg(address.to_string()).arg(key.unwrap_or("-"));
        let mut process = Process::start(name, stage.path(), &mut command);
        let lines = process.lines();
        eventually("the reader's port", 30 * SECONDS, || port.exists().then_some(()));
        Reader { _process: process, lines, script: orders, port }
    }

    /// Has something happen at it.
    pub fn happens(&self, what: &str) {
        let mut orders = OpenOptions::new().create(true).append(true).open(&self.script).unwrap();
        writeln!(orders, "{what}").unwrap();
    }

    /// Waits for a command in which `found` finds something.
    pub fn until<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        eventually(what, 30 * SECONDS, || {
            let told = self.lines.try_recv().ok()?;
            found(&serde_json::from_str(&told).unwrap())
        })
    }
}
