//! What the uplink is told: brokers, identity, limits and how delivery is proven.

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::{Name, Wall};

/// Midnight of 2026-11-23 (UTC): no box with this software lives before it.
const RELEASED: Wall = Wall(1_795_392_000_000_000);

/// Everything that the uplink needs to know. Made by the site file; [`Settings::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The box's permanent identity: a topic level and a field of every message.
    pub box_id: Name,
    /// Topics begin with `<prefix>/v1/<box_id>/`. No wildcards, no leading or trailing slash. Default `gatehouse`.
    pub prefix: String,
    /// Brokers in order of preference; at least one.
    pub brokers: Vec<Broker>,
    /// The MQTT client identifier, unique at the broker. Default: `gatehouse-<box_id>`.
    pub client_id: String,
    /// The user name, where the broker wants one.
    pub username: Option<String>,
    /// The file that holds the password; one trailing newline is not part of it. Read again at each connect.
    pub password_file: Option<PathBuf>,
    /// Certificates for `mqtts` brokers. Read again at each connect.
    pub tls: TlsFiles,
    /// A time that has certainly passed: the latest that the box ever knew, or the software's own. While the clock is
    /// unset, certificates are checked at this time.
    pub known_past: Wall,
    /// The protocol version. Default MQTT 5.
    pub version: Version,
    /// Messages in flight, 4 to 250, and never above what the broker allows. Default 100.
    pub window: u16,
    /// The largest packet to send, in bytes, 4 KiB to 1 MiB; a broker may allow less. Default 128 KiB.
    pub max_packet: u32,
    /// How long readings may wait for company before they leave; zero sends each at once. Events never wait.
    pub batch_window: Duration,
    /// Compresses payloads of records with zstd where that makes them smaller. Default off.
    pub compress: bool,
    /// Bytes of telemetry a day (UTC), overhead included; beyond it telemetry waits in the spool. `None`: no limit.
    pub daily_telemetry_bytes: Option<u64>,
    /// What counts as delivered. Default [`AckMode::PubAck`].
    pub ack: AckMode,
    /// Keeps a record that the broker took without any subscriber (0x10) and sends it again. Default on.
    pub hold_unsubscribed: bool,
    /// In watermark mode: how long a delivered message may lack the core's word before it is sent again.
    /// Default 15 min.
    pub watermark_timeout: Duration,
    /// The longest silence towards the broker, 1 s to 18 h. Default 30 s.
    pub keep_alive: Duration,
    /// How long resolving, connecting, TLS and CONNACK may take together, for one address. Default 10 s.
    pub connect_timeout: Duration,
    /// How long the broker may leave a message or a ping without any answer before the link counts as dead.
    /// Default 15 s.
    pub response_timeout: Duration,
    /// The pauses between attempts to connect.
    pub backoff: BackoffSettings,
}

impl Settings {
    /// The defaults for this box and these brokers.
    pub fn new(box_id: Name, brokers: Vec<Broker>) -> Self {
        Settings {
            prefix: "gatehouse".to_owned(),
            client_id: format!("gatehouse-{box_id}"),
            box_id,
            brokers,
            username: None,
            password_file: None,
            tls: TlsFiles::default(),
            known_past: RELEASED,
            version: Version::V5,
            window: 100,
            max_packet: 128 * 1024,
            batch_window: Duration::ZERO,
            compress: false,
            daily_telemetry_bytes: None,
            ack: AckMode::PubAck,
            hold_unsubscribed: true,
            watermark_timeout: Duration::from_secs(15 * 60),
            keep_alive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(15),
            backoff: BackoffSettings::default(),
        }
    }
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// A DNS name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// True for `mqtts`: TLS, with the server always checked.
    pub tls: bool,
}

/// Why a text is not the address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBroker {
    /// The scheme is missing or unknown.
    #[error("a broker begins with mqtt:// or mqtts://, for example mqtts://core.example:8883")]
    Scheme,
    /// There is no host.
    #[error("the broker has no host: write it like mqtts://core.example:8883")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is not a port: use 1 to 65535 (mqtt is usually 1883, mqtts 8883)")]
    Port(String),
    /// Something follows the port, or credentials precede the host.
    #[error("a broker is only scheme, host and port: user name and password have keys of their own")]
    Extra,
}

impl Broker {
    /// Reads `mqtt://host[:port]` and `mqtts://host[:port]`; the ports default to 1883 and 8883.
    ///
    /// # Errors
    /// [`InvalidBroker`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidBroker> {
        let (tls, rest) = match text.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => return Err(InvalidBroker::Scheme),
        };
        if rest.contains(['@', '/', '?', '#', ' ']) {
            return Err(InvalidBroker::Extra);
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((host, after)) => (host, after.strip_prefix(':').or(after.is_empty().then_some(""))),
            None => rest.rsplit_once(':').map_or((rest, Some("")), |(host, port)| (host, Some(port))),
        };
        let Some(port) = port else { return Err(InvalidBroker::Extra) };
        if host.is_empty() || host.len() > 253 {
            return Err(InvalidBroker::Host);
        }
        let port = match port {
            "" if rest.ends_with(':') => return Err(InvalidBroker::Port(String::new())),
            "" => 1883 + 7000 * u16::from(tls),
            text => text.parse().ok().filter(|&p| p > 0).ok_or_else(|| InvalidBroker::Port(text.to_owned()))?,
        };
        Ok(Broker { host: host.to_owned(), port, tls })
    }
}

impl std::fmt::Display for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The authorities that may have signed the broker's certificate, and no others (a pinned CA). Without it, those
    /// of the operating system.
    pub ca: Option<PathBuf>,
    /// The box's own certificate chain. Needs `key`.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
    /// The name that the broker's certificate must have, where it differs from the host.
    pub server_name: Option<String>,
}

/// The version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1, whose broker cannot say that it refused a message: see [`AckMode`].
    V311,
}

/// What counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// The broker's PUBACK without an error. Under MQTT 3.1.1 billing records still wait for the core's word, since a
    /// refusal looks like success there.
    #[default]
    PubAck,
    /// The core's own word on the `ack` topic, for all lanes.
    Watermark,
}

/// Pauses between attempts to connect: uniformly random from zero to a ceiling (full jitter), which doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffSettings {
    /// The first ceiling. Default 1 s.
    pub first: Duration,
    /// The last ceiling; half of it is the mean pause after repeated failures. Default 40 s.
    pub last: Duration,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        BackoffSettings { first: Duration::from_secs(1), last: Duration::from_secs(40) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_scheme_host_and_port() {
        let broker = |host: &str, port, tls| Ok(Broker { host: host.to_owned(), port, tls });
        assert_eq!(Broker::parse("mqtt://core.example"), broker("core.example", 1883, false));
        assert_eq!(Broker::parse("mqtts://core.example"), broker("core.example", 8883, true));
        assert_eq!(Broker::parse("mqtts://10.0.0.1:443"), broker("10.0.0.1", 443, true));
        assert_eq!(Broker::parse("mqtt://[::1]:1884"), broker("::1", 1884, false));
        assert_eq!(Broker::parse("mqtt://[::1]"), broker("::1", 1883, false));
        assert_eq!(Broker::parse("mqtt://[::1]:1884").unwrap().to_string(), "mqtt://[::1]:1884");
    }

    #[test]
    fn a_wrong_broker_says_what_is_wrong() {
        assert_eq!(Broker::parse("core.example:1883"), Err(InvalidBroker::Scheme));
        assert_eq!(Broker::parse("mqtt://"), Err(InvalidBroker::Host));
        assert_eq!(Broker::parse("mqtt://:1883"), Err(InvalidBroker::Host));
        assert_eq!(Broker::parse("mqtt://a:0"), Err(InvalidBroker::Port("0".into())));
        assert_eq!(Broker::parse("mqtt://a:"), Err(InvalidBroker::Port(String::new())));
        assert_eq!(Broker::parse("mqtt://u:p@a:1883"), Err(InvalidBroker::Extra));
        assert_eq!(Broker::parse("mqtt://a:1883/x"), Err(InvalidBroker::Extra));
        assert_eq!(Broker::parse("mqtt://[::1]x"), Err(InvalidBroker::Extra));
    }
}
