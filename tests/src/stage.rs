//! A folder, ports and certificates for one test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Where one test happens; gone when dropped.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    http: u16,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// An empty stage.
    pub fn new() -> Self {
        Stage { folder: tempfile::Builder::new().prefix("gatehouse-").tempdir().unwrap(), http: free_port() }
    }

    /// The port of `/metrics` and `/health`.
    pub fn http(&self) -> u16 {
        self.http
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes `site.toml` of a box named `box-1` that keeps everything in the stage's folder and hurries to `broker` after a
    /// failure; `uplink` goes on in the same table, then come buses and devices.
    pub fn site(&self, broker: &str, uplink: &str, rest: &str) -> PathBuf {
        let folder = self.path().display();
        let http = self.http;
        let text = format!(
            "[site]\nid = \"box-1\"\n[data]\ndir = \"{folder}/data\"\ntail = \"{folder}/tail\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n[api]\nsocket = \"{folder}/api.sock\"\n\
             [uplink]\nbrokers = [\"{broker}\"]\nbackoff_first = \"100ms\"\nbackoff_last = \"200ms\"\n{uplink}\n{rest}"
        );
        self.write("site.toml", &text)
    }

    /// Makes an authority, a broker's certificate for 127.0.0.1, a box's and a receiver's, all in PEM: `ca.pem`,
    /// `broker.pem` and `broker.key`, `box.pem` and `box.key`, `receiver.pem` and `receiver.key`. The box's common name is
    /// `name`.
    pub fn certificates(&self, name: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write("ca.pem", &authority.pem());
        for (file, name, hosts, usage) in [
            ("broker", "test broker", vec!["127.0.0.1".to_owned()], ExtendedKeyUsagePurpose::ServerAuth),
            ("box", name, vec![], ExtendedKeyUsagePurpose::ClientAuth),
            ("receiver", "receiver", vec![], ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let mut params = CertificateParams::new(hosts).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            self.write(&format!("{file}.pem"), &certificate.pem());
            self.write(&format!("{file}.key"), &key.serialize_pem());
        }
    }
}

/// A port of 127.0.0.1 that is free now and stays so: below those that the kernel gives to outgoing connections (from 32768
/// on), one of which may even meet itself when it tries a port whose owner is away.
pub(crate) fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(20_000..32_000)).find(free).expect("the iterator never ends")
}

/// A program of the system.
///
/// # Panics
/// When it is not installed.
pub(crate) fn program(name: &str) -> Command {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{name} is not installed: run ./tests/run, which installs it")))
}
