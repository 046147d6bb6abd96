//! The quarantine: damaged bytes, a file for each, and refused records, a JSON line for each in their lane's file.
//!
//! It is for people to look at; nothing is read back. What does not fit is counted and left out.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gatehouse_core::{Body, PointReading, Record, Schema, Trust, Value, Wall};

use crate::disk::Disk;

/// Most bytes in the folder, by blocks of the file system, so that small files are few as well.
pub(crate) const BYTES: u64 = 16 << 20;
/// What file systems on flash give out at a time.
const BLOCK: u64 = 4096;

/// The folder.
pub(crate) struct Quarantine {
    dir: PathBuf,
    disk: Disk,
    used: u64,
}

impl Quarantine {
    /// The folder `dir`, which need not be there.
    pub(crate) fn new(dir: PathBuf, disk: Disk) -> Quarantine {
        let used = measure(&dir);
        Quarantine { dir, disk, used }
    }

    /// Where a file of this name lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes damaged bytes; true when they were written now. A file of that name is the same bytes from earlier.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> bool {
        !self.path(name).exists() && self.append(name, bytes)
    }

    /// Appends to the file of this name; true when that fitted and the disk took it.
    pub(crate) fn append(&mut self, name: &str, bytes: &[u8]) -> bool {
        let path = self.path(name);
        let before = fs::metadata(&path).map_or(0, |meta| meta.len());
        // One byte more: the end of a line that a power cut left open.
        let more = (before + bytes.len() as u64 + 1).next_multiple_of(BLOCK) - before.next_multiple_of(BLOCK);
        if self.used + more > BYTES {
            // Somebody may have made room.
            self.used = measure(&self.dir);
        }
        if self.used + more > BYTES {
            if self.disk.count_quarantine_drop() == 1 {
                let dir = self.dir.display();
                tracing::warn!(%dir, "the quarantine is full: look at what is in it, then delete that");
            }
            return false;
        }
        match self.write(&path, bytes, before) {
            Ok(()) => {
                self.used += more;
                true
            }
            Err(error) => {
                self.disk.count_quarantine_drop();
                tracing::warn!(path = %path.display(), %error, "damaged or refused records could not be put aside");
                false
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8], before: u64) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let file = self.disk.create_or_open(path)?;
        let mut last = [b'\n'];
        if before > 0 {
            file.read_exact_at(&mut last, before - 1)?;
        }
        let written = if last == [b'\n'] {
            self.disk.write_at(&file, bytes, before)
        } else {
            self.disk.write_at(&file, &[b"\n", bytes].concat(), before)
        };
        let written = written.and_then(|()| self.disk.sync(&file, path));
        if written.is_err() {
            let _ = if before == 0 { fs::remove_file(path) } else { file.set_len(before) };
        }
        if before == 0 { written.and_then(|()| self.disk.sync_dir(&self.dir)) } else { written }
    }
}

fn measure(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len().next_multiple_of(BLOCK)).sum()
}

/// A record as one line of JSON, with its mended time. Values are texts, so that no reader rounds them.
pub(crate) fn line(record: &Record, (wall, trust): (Wall, Trust)) -> String {
    let time = jiff::Timestamp::from_microsecond(wall.0).map(|time| time.to_string()).unwrap_or_default();
    let (boot, mono) = (record.stamp.boot, record.stamp.mono.0);
    let body = match &record.body {
        Body::Sample { schema, readings } => sample(schema, readings),
        Body::Event { kind, json } => {
            // A line end is white space in JSON, never a part of a text.
            let data = if json.is_empty() { "{}".to_owned() } else { json.replace(['\n', '\r'], " ") };
            format!("\"event\":{},\"data\":{data}", text(kind))
        }
        Body::Gap { last, lost, reason } => {
            format!("\"gap\":{{\"last\":{last},\"lost\":{lost},\"reason\":{}}}", text(reason))
        }
    };
    format!(
        "{{\"lane\":\"{}\",\"seq\":{},\"time\":\"{time}\",\"trust\":\"{}\",\"boot\":\"{boot}\",\"mono\":{mono},{body}}}\n",
        record.lane,
        record.seq,
        trust.as_str(),
    )
}

fn sample(schema: &Schema, readings: &[PointReading]) -> String {
    let named = |reading: &PointReading| schema.point(reading.point).map(|point| text(&point.name));
    let (mut values, mut missing) = (Vec::new(), Vec::new());
    for reading in readings {
        let Some(name) = named(reading) else { continue };
        match &reading.value {
            Ok(Value::Bool(on)) => values.push(format!("{name}:{on}")),
            Ok(value) => values.push(format!("{name}:{}", text(&value.to_string()))),
            Err(why) => missing.push(format!("{name}:\"{why}\"")),
        }
    }
    let device = text(&schema.device);
    format!("\"device\":{device},\"values\":{{{}}},\"missing\":{{{}}}", values.join(","), missing.join(","))
}

fn text(plain: &str) -> String {
    serde_json::Value::from(plain).to_string()
}
