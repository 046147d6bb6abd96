//! The systemd unit: well-formed, hardened, never in a loop over a wrong configuration; and what the daemon tells systemd.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gatehouse_tests::{Gateway, SECONDS, Stage, gatehouse};
use rustix::process::Signal;

/// The most exposure that we accept, in tenths of systemd's own scale from 0 (closed) to 100 (open).
const MOST_EXPOSURE: &str = "25";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// Runs systemd-analyze; `None`, with a line that says so, where systemd is not installed.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    if output.is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
    }
    output.ok()
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let stage = Stage::new();
    let unit = std::fs::read_to_string(folder().join("gatehouse.service")).unwrap();
    let binary = gatehouse().get_program().to_str().unwrap().to_owned();
    let unit = stage.write("gatehouse.service", &unit.replace("/usr/bin/gatehouse", &binary));
    let Some(output) = systemd_analyze(&["verify", "--man=no"], &unit) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    let faults: Vec<&str> = said.lines().filter(|line| line.contains("gatehouse.service")).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn systemd_finds_the_unit_well_locked() {
    let security = ["security", "--offline=true", "--no-pager", "--threshold", MOST_EXPOSURE];
    let Some(output) = systemd_analyze(&security, &folder().join("gatehouse.service")) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_wrong_configuration_ends_with_the_code_that_systemd_does_not_restart() {
    let stage = Stage::new();
    let site = stage.write("site.toml", "[site]\nid = \"box-1\"\ntittle = \"x\"\n");
    let output = gatehouse().arg("run").arg("--config").arg(&site).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("tittle") && said.contains("title"), "the message names the key and the nearest: {said}");
    let unit = std::fs::read_to_string(folder().join("gatehouse.service")).unwrap();
    let prevented = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    assert!(prevented.is_some_and(|codes| codes.split(' ').any(|code| code == "3")), "{prevented:?}");
}

#[test]
fn systemd_hears_of_readiness_life_reload_and_end() {
    let stage = Stage::new();
    // Neither the bus nor the broker is there: that is no reason not to be ready.
    let rest = "[[bus]]\nid = \"tcp\"\ntcp = \"127.0.0.1:1\"\n\
         [[device]]\nid = \"meter\"\nbus = \"tcp\"\nunit = 1\n\
         [[device.point]]\nname = \"energy\"\ntable = \"input\"\naddress = 0\ntype = \"u32\"\n";
    let site = stage.site("mqtt://127.0.0.1:1", "", rest);
    let socket = UnixDatagram::bind(stage.file("notify")).unwrap();
    socket.set_read_timeout(Some(30 * SECONDS)).unwrap();
    let until = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            let said = String::from_utf8_lossy(&buffer[..length]);
            if said.lines().any(|line| line == wanted) {
                return;
            }
        }
    };

    let notify = stage.file("notify").display().to_string();
    let environment = [("NOTIFY_SOCKET", notify.as_str()), ("WATCHDOG_USEC", "1000000")];
    let mut gateway = Gateway::start_with(&stage, &site, &environment);
    until("READY=1");
    gateway.json(&["status"]);
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    gateway.process.signal(Signal::HUP);
    until("RELOADING=1");
    until("READY=1");
    gateway.process.signal(Signal::TERM);
    until("STOPPING=1");
    assert_eq!(gateway.process.wait(20 * SECONDS).code(), Some(0), "{}", gateway.process.log());
}
