//! A site file, written piece by piece.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A site file in the making, with its data in the folder of the run.
pub struct SiteFile {
    folder: PathBuf,
    text: String,
    rules: Option<String>,
}

/// The table that every site file begins with.
const SITE: &str = "[site]\n";
/// The name of the rule file beside the site file.
const RULES: &str = "rules.toml";

impl SiteFile {
    /// Begins a file for box `id`: data, tail and socket in `folder` and `memory`, no HTTP, this broker. `memory` is
    /// best a folder on a tmpfs, as the tail is in service.
    pub fn new(id: &str, folder: &Path, memory: &Path, broker: SocketAddr, uplink: &str) -> Self {
        let text = format!(
            "{SITE}id = {id:?}\ntitle = \"A simulated site\"\n\n[data]\ndir = {:?}\ntail = {:?}\n\n\
             [http]\nlisten = \"off\"\n\n[api]\nsocket = {:?}\n\n\
             [uplink]\nbrokers = [\"mqtt://{broker}\"]\nbackoff_first = \"200ms\"\nbackoff_last = \"1s\"\n{uplink}\n",
            folder.join("data"),
            memory.join("tail"),
            folder.join("api.sock"),
        );
        SiteFile { folder: folder.to_owned(), text, rules: None }
    }

    /// Adds a serial bus at 8 data bits without parity; `more` are further lines of its table.
    pub fn serial_bus(&mut self, id: &str, path: &Path, baud: u32, more: &str) {
        self.add(format_args!("\n[[bus]]\nid = {id:?}\nserial = {path:?}\nbaud = {baud}\n{more}"));
    }

    /// Adds a Modbus TCP bus.
    pub fn tcp_bus(&mut self, id: &str, address: SocketAddr, more: &str) {
        self.add(format_args!("\n[[bus]]\nid = {id:?}\ntcp = \"{address}\"\n{more}"));
    }

    /// Adds a Modbus device; `more` are further lines of its table.
    pub fn device(&mut self, id: &str, bus: &str, unit: u8, interval: &str, more: &str) {
        self.device_at(id, bus, &format!("unit = {unit}"), interval, more);
    }

    /// Adds a device of any protocol; `address` is the line that says where it is on its bus.
    pub fn device_at(&mut self, id: &str, bus: &str, address: &str, interval: &str, more: &str) {
        self.add(format_args!("\n[[device]]\nid = {id:?}\nbus = {bus:?}\n{address}\ninterval = {interval:?}\n{more}"));
    }

    /// Adds further tables as they are written.
    pub fn tables(&mut self, text: &str) {
        self.add(format_args!("\n{text}"));
    }

    /// Puts rules into a file of their own.
    pub fn rules(&mut self, text: &str) {
        if self.rules.replace(text.to_owned()).is_none() {
            self.text.insert_str(SITE.len(), &format!("rules = {RULES:?}\n"));
        }
    }

    fn add(&mut self, piece: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(piece);
        self.text.push('\n');
    }

    /// Where the daemon's socket will be.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }

    /// Writes the file, and that of the rules, and gives its path.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("site.toml");
        let rules = self.rules.as_ref().map(|text| (self.folder.join(RULES), text));
        for (path, text) in rules.into_iter().chain([(path.clone(), &self.text)]) {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }
}
