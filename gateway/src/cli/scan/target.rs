//! What is scanned, and who has it already.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gatehouse_config::{Parity, PortKind, SerialSource};

use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::cli::{Failure, exit};

/// The port of Modbus TCP.
const MODBUS_PORT: u16 = 502;
/// The port of door controllers.
const CONTROLLERS_PORT: u16 = 60_000;
/// Most characters of a host's name (RFC 1035, 2.3.4).
const HOST_MOST: usize = 253;

/// What is scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A serial port.
    Serial(PathBuf),
    /// A Modbus TCP device or gateway, or a transparent serial server.
    Tcp { host: String, port: u16 },
    /// The door controllers of a network.
    Udp { host: String, port: u16 },
}

impl Target {
    /// Reads what was typed: with a slash it is a device file, and so is the name of one here or in `/dev`. A path that begins from
    /// the folder that one is in becomes a whole one, as a site file wants it.
    pub(super) fn parse(text: &str) -> Result<Target, String> {
        if text.contains('/') {
            let path = std::path::absolute(text).map_err(|why| format!("{text:?} is no path: {why}"))?;
            return Ok(Target::Serial(path));
        }
        let is_device = |path: &PathBuf| path.metadata().is_ok_and(|found| found.file_type().is_char_device());
        let named = [std::path::absolute(text).unwrap_or_default(), Path::new("/dev").join(text)];
        if let Some(device) = named.into_iter().find(is_device) {
            return Ok(Target::Serial(device));
        }
        if text == "udp" {
            return Ok(Target::Udp { host: "255.255.255.255".to_owned(), port: CONTROLLERS_PORT });
        }
        if let Some(rest) = text.strip_prefix("udp:") {
            let (host, port) = endpoint(rest, CONTROLLERS_PORT)?;
            if host.contains(':') {
                return Err(format!("{text:?}: door controllers speak IPv4 only: write udp or udp:192.168.7.255"));
            }
            return Ok(Target::Udp { host, port });
        }
        let (host, port) = endpoint(text, MODBUS_PORT)?;
        Ok(Target::Tcp { host, port })
    }

    /// What is opened.
    pub(super) fn kind(&self) -> PortKind {
        match self {
            Target::Serial(path) => PortKind::Serial {
                source: SerialSource::Path(path.clone()),
                baud: 9600,
                data_bits: 8,
                parity: Parity::None,
                stop_bits: 1,
            },
            Target::Tcp { host, port } => PortKind::Tcp { host: host.clone(), port: *port },
            Target::Udp { host, port } => PortKind::Udp { host: host.clone(), port: *port, listen: None },
        }
    }

    /// Refuses a port that a daemon works on: two masters garble each other, and what the daemon does goes first.
    pub(super) async fn refuse_if_taken(&self, socket: &Path) -> anyhow::Result<()> {
        let taken = |by: String| {
            let text = format!(
                "{self}: {by} works on it. Stop that first (systemctl stop gatehouse), scan, and start it again"
            );
            Err(Failure::error(exit::DEVICE, text))
        };
        if let Some(pid) = self.opened_by() {
            return taken(format!("gatehouse (process {pid})"));
        }
        match client::call(socket, "/api/v1/status", None).await {
            Ok(answer) => {
                let status: doc::Status = serde_json::from_value(answer)?;
                match status.buses.iter().find(|bus| self.is_port(&bus.port)) {
                    Some(bus) => taken(format!("bus {} of the running daemon", bus.id)),
                    None => Ok(()),
                }
            }
            // Who may not ask a daemon may not open its port either.
            Err(ClientError::NoDaemon(_) | ClientError::Broken(_)) => Ok(()),
            Err(error @ ClientError::Refused(_)) => Err(error.into()),
        }
    }

    /// Whether a bus with this port, as the daemon says it, is the same.
    fn is_port(&self, port: &str) -> bool {
        match self {
            Target::Serial(path) => {
                let own = path.canonicalize().ok();
                own.is_some() && own == Path::new(port).canonicalize().ok()
            }
            Target::Tcp { .. } => self.kind().to_string() == port,
            // Whoever is on the network may ask it who is there.
            Target::Udp { .. } => false,
        }
    }

    /// The gatehouse process that has a serial port open, as far as one may see that.
    fn opened_by(&self) -> Option<u32> {
        let Target::Serial(path) = self else { return None };
        let own = path.canonicalize().ok()?;
        let has_it = |process: &Path| {
            let comm = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            let open = || std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            comm.trim() == "gatehouse" && open().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == own))
        };
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let others = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        others.filter(|pid| *pid != std::process::id()).find(|pid| has_it(&Path::new("/proc").join(pid.to_string())))
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
fn endpoint(text: &str, default: u16) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is no PORT or HOST: write /dev/ttyUSB0, 10.0.0.5, 10.0.0.5:{default} or udp");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            // Several colons are an IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => default,
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
    };
    // What a site file takes as a host.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    let sound = (1..=HOST_MOST).contains(&host.len()) && host.chars().all(plain);
    if sound { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

impl fmt::Display for Target {
    /// Writes it as it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Serial(path) => path.display().fmt(f),
            Target::Tcp { .. } => self.kind().fmt(f),
            Target::Udp { host, port } => write!(f, "udp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_port_a_host_or_a_network() {
        let tcp = |host: &str, port| Ok(Target::Tcp { host: host.to_owned(), port });
        assert_eq!(Target::parse("/dev/ttyUSB0"), Ok(Target::Serial("/dev/ttyUSB0".into())));
        assert_eq!(Target::parse("10.0.0.5"), tcp("10.0.0.5", 502));
        assert_eq!(Target::parse("plant:1502"), tcp("plant", 1502));
        assert_eq!(Target::parse("[fd00::5]:503"), tcp("fd00::5", 503));
        assert_eq!(Target::parse("fd00::5"), tcp("fd00::5", 502));
        let udp = |host: &str| Ok(Target::Udp { host: host.to_owned(), port: 60_000 });
        assert_eq!(Target::parse("udp"), udp("255.255.255.255"));
        assert_eq!(Target::parse("udp:192.168.7.255"), udp("192.168.7.255"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(Target::parse("./ttyS9"), Ok(Target::Serial(here.join("ttyS9"))), "a site file wants a whole path");
        assert_eq!(
            Target::parse("null"),
            Ok(Target::Serial("/dev/null".into())),
            "the name of a device file is no host"
        );
        assert!(Target::parse("udp:[fd00::5]").unwrap_err().contains("IPv4 only"));
        for wrong in ["", "host:", "host:70000", "a b", ":502", "h\u{f6}st", "a\"b", "[fd00::5"] {
            assert!(Target::parse(wrong).unwrap_err().contains("/dev/ttyUSB0"), "{wrong}");
        }
    }
}
