//! The MQTT broker of a run: rumqttd inside this process, or mosquitto as a child.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use rustix::process::Signal;

use super::{Child, free_port};

/// Which broker it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// rumqttd, embedded.
    Rumqttd,
    /// mosquitto, from the system's packages.
    Mosquitto,
}

/// A running broker on 127.0.0.1 without passwords.
pub struct Broker {
    kind: BrokerKind,
    /// Where MQTT 3.1.1 clients connect.
    pub v4: SocketAddr,
    /// Where MQTT 5 clients connect; the same for mosquitto.
    pub v5: SocketAddr,
    child: Option<Child>,
    config: PathBuf,
}

/// How long a broker may take until it listens.
const START: Duration = Duration::from_secs(10);
/// Where mosquitto is looked for beside PATH: Debian keeps it out of a user's PATH.
const MOSQUITTO: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];

impl Broker {
    /// Starts rumqttd in this process. It cannot be stopped: it ends with the process. Its MQTT 3.1.1 port is `port`,
    /// or a free one.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn embedded(port: Option<u16>) -> anyhow::Result<Self> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port.map_or_else(free_port, Ok)?));
        let v5 = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        if TcpStream::connect(v4).is_ok() {
            bail!("port {} is in use: choose another with --port, or leave --port out", v4.port());
        }
        let mut broker = rumqttd::Broker::new(config(v4, v5));
        std::thread::Builder::new().name("broker".into()).spawn(move || {
            if let Err(error) = broker.start() {
                eprintln!("the embedded broker ended: {error}");
            }
        })?;
        wait_until_listening(v4)?;
        wait_until_listening(v5)?;
        Ok(Broker { kind: BrokerKind::Rumqttd, v4, v5, child: None, config: PathBuf::new() })
    }

    /// Starts mosquitto with its configuration in `folder`; `None` when it is not installed.
    ///
    /// # Errors
    /// When it is installed and does not listen in time.
    pub fn mosquitto(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !MOSQUITTO.iter().any(|path| Path::new(path).exists()) {
            return Ok(None);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = folder.join("mosquitto.conf");
        // No limits per client: a slow receiver must not look like a loss of the gateway's.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\n",
            address.port()
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut broker = Broker { kind: BrokerKind::Mosquitto, v4: address, v5: address, child: None, config };
        broker.restart()?;
        Ok(Some(broker))
    }

    /// Starts mosquitto, or rumqttd where mosquitto is not installed.
    ///
    /// # Errors
    /// When the broker does not listen in time.
    pub fn best(folder: &Path) -> anyhow::Result<Self> {
        match Self::mosquitto(folder)? {
            Some(broker) => Ok(broker),
            None => Self::embedded(None),
        }
    }

    /// Which broker it is.
    pub fn kind(&self) -> BrokerKind {
        self.kind
    }

    /// Kills mosquitto at once. An embedded broker stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Stops mosquitto where it stands (SIGSTOP), or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        if let Some(child) = &self.child {
            child.signal(if frozen { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Starts mosquitto again after [`Broker::kill`], on the same port.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let program = MOSQUITTO.iter().find(|path| Path::new(path).exists()).context("mosquitto is not installed")?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(Child::spawn(&mut command)?);
        wait_until_listening(self.v4)
    }
}

fn wait_until_listening(address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("the broker does not listen on {address}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn config(v4: SocketAddr, v5: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 60_000,
        max_payload_size: 4 << 20,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = |name: &str, listen| {
        let settings = ServerSettings {
            name: name.into(),
            listen,
            tls: None,
            next_connection_delay_ms: 1,
            connections: connections.clone(),
        };
        Some(HashMap::from([(name.to_owned(), settings)]))
    };
    let router = RouterConfig {
        max_connections: 1000,
        max_outgoing_packet_count: 500,
        max_segment_size: 16 << 20,
        max_segment_count: 8,
        ..RouterConfig::default()
    };
    Config { id: 0, router, v4: server("v4", v4), v5: server("v5", v5), ..Config::default() }
}
