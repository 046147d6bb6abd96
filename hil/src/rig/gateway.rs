//! The real gateway as a child process, and what it says of itself over its socket.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Child;

/// How long the daemon may take to end cleanly.
const STOP: Duration = Duration::from_secs(20);
/// How long the API may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a person's command may wait for its turn.
const COMMAND_LIFE: Duration = Duration::from_secs(10);

/// Builds the gateway with the cargo that runs us and gives the binary's path; `given` is taken as it is.
///
/// # Errors
/// When the build fails or the binary is not there.
pub fn binary(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    let own = std::env::current_exe().context("cannot find the own program")?;
    let folder = own.parent().context("the own program lies in no folder")?;
    let path = folder.join("gatehouse");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    if !manifest.exists() {
        // An installed rig without the sources: the gateway lies beside it.
        return if path.exists() {
            Ok(path)
        } else {
            bail!("no gateway at {}: name one with --gateway", path.display())
        };
    }
    let release = folder.file_name().is_some_and(|name| name == "release");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "gatehouse", "--manifest-path"]).arg(&manifest);
    command.args(release.then_some("--release"));
    command.arg("--target-dir").arg(folder.parent().unwrap_or(folder));
    // What `cargo run` tells its child of the package: ring's build script watches it, and all that stands on ring
    // would be built anew.
    for (name, _) in std::env::vars_os() {
        let told =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if told {
            command.env_remove(&name);
        }
    }
    let mode = if release { "release" } else { "debug" };
    eprintln!("building the gateway ({mode}; the first time takes a few minutes)");
    let status = command.status().context("cannot run cargo")?;
    if !status.success() || !path.exists() {
        bail!("the gateway did not build: run `cargo build -p gatehouse` to see why");
    }
    Ok(path)
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    /// What it says of itself.
    pub api: Api,
}

impl Gateway {
    /// Starts `gatehouse run` with a site file whose API socket is `socket`; its log goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Path, config: &Path, socket: &Path, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log).context("cannot write the gateway's log")?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).env_remove("NOTIFY_SOCKET");
        Ok(Gateway { child: Child::spawn(&mut command)?, api: Api { socket: socket.to_owned() } })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power cut would end it.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Its status, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// Ends it with SIGTERM; `None` when it did not end in time.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.child.terminate(STOP)
    }
}

/// The gateway's API on its unix socket.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// Asks `GET /api/v1/status`.
    ///
    /// # Errors
    /// When the socket does not answer, or with something else.
    pub fn status(&self) -> anyhow::Result<Status> {
        serde_json::from_slice(&self.get("/api/v1/status")?).context("the status is not what was expected")
    }

    /// Asks for everything that is decided on the box.
    ///
    /// # Errors
    /// When the socket does not answer, or with something else.
    pub fn decided(&self) -> anyhow::Result<Decided> {
        Ok(Decided {
            gates: serde_json::from_slice(&self.get("/api/v1/gates")?).context("the gates")?,
            alarms: serde_json::from_slice(&self.get("/api/v1/alarms")?).context("the alarms")?,
            tickets: serde_json::from_slice(&self.get("/api/v1/tickets")?).context("the tickets")?,
            mode: serde_json::from_slice(&self.get("/api/v1/mode")?).context("the mode")?,
            access: serde_json::from_slice(&self.get("/api/v1/access")?).context("the credentials")?,
        })
    }

    /// Shows a plate to a reader, as its camera would.
    ///
    /// # Errors
    /// When the socket does not answer, or refuses.
    pub fn present_plate(&self, reader: &str, plate: &str) -> anyhow::Result<Presented> {
        let body = serde_json::json!({ "plate": { "text": plate, "confidence": 98 } });
        let answer = self.post(&format!("/api/v1/readers/{reader}/present"), &body, ANSWER)?;
        serde_json::from_slice(&answer).context("the answer to a plate is not what was expected")
    }

    /// Has a target act, as a person at the box would; how it ended.
    ///
    /// # Errors
    /// When the socket does not answer, or refuses.
    pub fn command(&self, target: &str, action: &str, issuer: &str) -> anyhow::Result<CommandEnd> {
        let now = jiff::Timestamp::now();
        let body = serde_json::json!({
            "v": 1, "id": format!("hil-{:016x}", fastrand::u64(..)), "target": target, "action": action, "args": {},
            "issuer": issuer, "issued_at": now.to_string(), "expires_at": (now + COMMAND_LIFE).to_string(),
        });
        let answer = self.post("/api/v1/commands", &body, COMMAND_LIFE * 2)?;
        serde_json::from_slice(&answer).context("the answer to a command is not what was expected")
    }

    fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.ask(path, &format!("GET {path} HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\n\r\n"), ANSWER)
    }

    fn post(&self, path: &str, body: &serde_json::Value, patience: Duration) -> anyhow::Result<Vec<u8>> {
        let body = body.to_string();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: gatehouse\r\nConnection: close\r\nContent-Length: {}", body.len());
        self.ask(path, &format!("{head}\r\n\r\n{body}"), patience)
    }

    fn ask(&self, path: &str, request: &str, patience: Duration) -> anyhow::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket).context("the gateway's socket does not answer")?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").context("the answer is no HTTP")?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("{path} answered {}", String::from_utf8_lossy(&answer[..head.min(40)]));
        }
        Ok(answer.split_off(head + 4))
    }
}

/// The parts of `GET /api/v1/status` that are shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Status {
    /// Buses in site order.
    #[serde(default)]
    pub buses: Vec<BusStatus>,
    /// Devices in site order.
    #[serde(default)]
    pub devices: Vec<DeviceStatus>,
    /// What is held.
    #[serde(default)]
    pub spool: SpoolStatus,
    /// The link.
    #[serde(default)]
    pub uplink: Option<UplinkStatus>,
    /// What is wrong right now.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// One bus.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BusStatus {
    /// Its id.
    pub id: String,
    /// Whether its port is open.
    pub open: bool,
    /// Busy share, percent.
    pub load_percent: f64,
    /// Requests sent.
    pub transactions: u64,
    /// Requests without an answer.
    pub timeouts: u64,
    /// Replies after their deadline.
    pub late: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Replies that were not taken, by reason.
    pub rejected: std::collections::BTreeMap<String, u64>,
    /// Polls left out for want of time.
    pub skipped: u64,
}

/// One device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DeviceStatus {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its bus.
    pub bus: String,
    /// Its unit, of a Modbus device.
    pub unit: Option<u8>,
    /// `online`, `offline` or `unknown`.
    pub state: String,
    /// Why it is offline.
    pub reason: Option<String>,
    /// Samples taken.
    pub samples: u64,
}

/// What is held for the core.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SpoolStatus {
    /// The epoch of the numbers.
    pub epoch: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes allowed.
    pub max_bytes: u64,
    /// Lanes.
    pub lanes: Vec<LaneStatus>,
}

/// One lane.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LaneStatus {
    /// Its name.
    pub lane: String,
    /// Records not yet acknowledged.
    pub held: u64,
    /// Newest number given.
    pub newest: u64,
    /// Records lost.
    pub lost: u64,
}

/// The link to the core.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UplinkStatus {
    /// `connecting`, `up`, ...
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// The last error.
    pub error: Option<String>,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Payload bytes sent.
    pub bytes: u64,
    /// Connections made.
    pub connects: u64,
}

/// What is decided on the box: the parts that are shown.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// Gates in site order.
    pub gates: Vec<GateStatus>,
    /// Alarms that are not at rest, the most urgent first.
    pub alarms: Vec<AlarmStatus>,
    /// Tickets, the open ones first.
    pub tickets: Vec<TicketStatus>,
    /// The mode.
    pub mode: ModeStatus,
    /// Credentials.
    pub access: AccessStatus,
}

/// One gate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GateStatus {
    /// Its id.
    pub id: String,
    /// `closed`, `opening`, ..., `unknown`.
    pub state: String,
    /// Present while a fire release stands.
    pub fire: Option<serde_json::Value>,
    /// Requests that were granted and wait for somebody to pass.
    pub waiting: Vec<u64>,
    /// The conditions that hold, by the class of their alarm.
    pub conditions: Vec<String>,
}

/// One alarm.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AlarmStatus {
    /// CLASS/SOURCE.
    pub alarm: String,
    /// Its state of ISA-18.2.
    pub state: String,
    /// Whether its condition holds, its delays over.
    pub active: bool,
    /// `p0` to `p3`.
    pub priority: String,
    /// What happened.
    pub message: String,
}

/// One ticket.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TicketStatus {
    /// The box's number.
    pub ticket: u64,
    /// Counts what the core was told of it.
    pub box_rev: u64,
    /// `open`, `accepted`, ..., `done`.
    pub state: String,
    /// The alarm that it is for.
    pub cause: String,
    /// Its title.
    pub title: String,
    /// Whether the fault is there.
    pub active: bool,
    /// Whether the fault has stayed away for the settle time.
    pub close_proposed: bool,
    /// The core's number.
    pub core_number: Option<String>,
}

impl TicketStatus {
    /// Whether there is work left.
    pub fn is_open(&self) -> bool {
        !matches!(self.state.as_str(), "done" | "rejected" | "merged")
    }
}

/// The mode.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModeStatus {
    /// `online`, `degraded` or `recovering`.
    pub mode: String,
    /// Why it is degraded.
    pub cause: Option<String>,
}

/// Credentials.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccessStatus {
    /// The version in force.
    pub version: Option<u64>,
    /// How many there are.
    pub credentials: u64,
}

/// What became of something that was shown at a reader.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Presented {
    /// The request.
    pub request: u64,
    /// Whether it is decided.
    pub decided: bool,
    /// Whether it may pass.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// Who decided: `box`, `offline_policy`, ...
    pub decided_by: String,
}

/// How a command ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CommandEnd {
    /// `verified`, `acknowledged`, `failed`, `refused`, `expired` or `unknown`.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
}
