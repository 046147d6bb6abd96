//! What can be wrong with the link, in words for the person who has to mend it.

use std::path::PathBuf;

/// Why there is no link. Told once per kind of trouble, not once per attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The name has no address.
    #[error("{host} has no address: {why}; check the name of the broker and the box's DNS server")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// The resolver does not answer.
    #[error("the DNS server gave no answer for {host} within {seconds} s; check the box's network and DNS server")]
    DnsSilent {
        /// The name.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// No TCP connection.
    #[error("{address} cannot be reached: {why}; check network, firewall and port")]
    Unreachable {
        /// Address and port.
        address: String,
        /// What the system said.
        why: String,
    },
    /// A connection, but no CONNACK in time.
    #[error("{address} took longer than {seconds} s to admit the box; is an MQTT broker behind that port?")]
    Slow {
        /// Address and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A certificate, key or password file cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The broker's certificate has expired.
    #[error("the broker's certificate expired {when}; renew it at the broker, or check the box's clock")]
    CertificateExpired {
        /// When, as far as known.
        when: String,
    },
    /// The broker's certificate is not valid yet.
    #[error("the broker's certificate is valid only from {when}; check the box's clock")]
    CertificateNotYetValid {
        /// From when, as far as known.
        when: String,
    },
    /// The broker's certificate is signed by someone else.
    #[error("the broker's certificate is signed by an authority that the box does not trust; check the `ca` file")]
    UnknownAuthority,
    /// The broker's certificate is of another name.
    #[error("the broker's certificate is not for {name}; check the broker's address or set `server_name`")]
    WrongName {
        /// The name that was asked for.
        name: String,
    },
    /// Anything else wrong with the broker's certificate.
    #[error("the broker's certificate cannot be accepted: {why}")]
    BadCertificate {
        /// What rustls said.
        why: String,
    },
    /// The broker refused the box's own certificate, or misses one.
    #[error("the broker refuses the box's own certificate ({why}); check the `cert` and `key` files")]
    OwnCertificateRefused {
        /// The alert.
        why: String,
    },
    /// The TLS conversation failed otherwise.
    #[error("TLS failed: {why}; does the port speak TLS?")]
    Tls {
        /// What rustls said.
        why: String,
    },
    /// User name or password are wrong, or the box may not connect.
    #[error("the broker refuses the box's credentials ({why}); check user name, password file and client id")]
    Credentials {
        /// The CONNACK reason.
        why: String,
    },
    /// The broker speaks another version of MQTT.
    #[error("the broker does not speak MQTT {ours}; set the uplink's `version` to the other one")]
    Version {
        /// What was tried.
        ours: &'static str,
    },
    /// The broker refuses for another reason.
    #[error("the broker refuses the connection: {why}")]
    Refused {
        /// The CONNACK reason.
        why: String,
    },
    /// The link broke.
    #[error("the link broke: {why}")]
    Lost {
        /// What the system or the broker said.
        why: String,
    },
    /// The broker stopped answering.
    #[error("the broker has not answered for {seconds} s though it owes an answer; the link is taken as dead")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// Another client took the box's client id.
    #[error("another client connected with the client id {id:?}; each box needs its own")]
    TakenOver {
        /// The id.
        id: String,
    },
    /// The broker sent what MQTT does not allow.
    #[error("the broker sent what is not MQTT: {why}")]
    Malformed {
        /// What was wrong.
        why: String,
    },
    /// The time-only session brought no time.
    #[error(
        "the clock is unset and the broker's certificate not valid at the last known time; waiting for a time offer"
    )]
    TimeOnly,
}

impl Fault {
    /// True when both are the same kind of trouble, whatever the details.
    pub fn same_kind(&self, other: &Fault) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The kind's name in metrics and in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Dns { .. } => "dns",
            Fault::DnsSilent { .. } => "dns_silent",
            Fault::Unreachable { .. } => "unreachable",
            Fault::Slow { .. } => "slow",
            Fault::File { .. } => "file",
            Fault::CertificateExpired { .. } => "certificate_expired",
            Fault::CertificateNotYetValid { .. } => "certificate_not_yet_valid",
            Fault::UnknownAuthority => "unknown_authority",
            Fault::WrongName { .. } => "wrong_name",
            Fault::BadCertificate { .. } => "bad_certificate",
            Fault::OwnCertificateRefused { .. } => "own_certificate_refused",
            Fault::Tls { .. } => "tls",
            Fault::Credentials { .. } => "credentials",
            Fault::Version { .. } => "version",
            Fault::Refused { .. } => "refused",
            Fault::Lost { .. } => "lost",
            Fault::Silent { .. } => "silent",
            Fault::TakenOver { .. } => "taken_over",
            Fault::Malformed { .. } => "malformed",
            Fault::TimeOnly => "time_only",
        }
    }
}
