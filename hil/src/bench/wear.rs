//! Bytes that reach the device in a day, from the kernel's counters of a loop device, with the store's time simulated.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::spool::{self, Meter};
use super::stage::Folders;
use super::{Bench, Row};

/// Simulated hours of a run with the link up, and with the link down, where each hour takes many syncs.
const HOURS_UP: u64 = 24;
const HOURS_DOWN: u64 = 6;
/// Points of one meter.
const POINTS: u16 = 20;
/// Size of the file system.
const MIB: u64 = 256;

/// A file system of its own whose device counts what is written to it.
struct Disk {
    folder: PathBuf,
    device: String,
}

impl Disk {
    /// Makes an ext4 on a loop device; this needs root and a kernel that has them.
    fn mount(under: &Path) -> anyhow::Result<Self> {
        let (image, folder) = (under.join("disk.img"), under.join("disk"));
        std::fs::create_dir(&folder)?;
        std::fs::File::create(&image)?.set_len(MIB << 20)?;
        command("mkfs.ext4", &["-q", "-F", text(&image)?])?;
        let device = command("losetup", &["--find", "--show", text(&image)?])?.trim().to_owned();
        let disk = Disk { folder, device };
        command("mount", &[disk.device.as_str(), text(&disk.folder)?])?;
        Ok(disk)
    }

    /// Bytes written to the device so far, after everything pending was written.
    fn written(&self) -> anyhow::Result<u64> {
        command("sync", &["-f", text(&self.folder)?])?;
        let name = self.device.trim_start_matches("/dev/");
        let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat"))?;
        // Field 7 is sectors written, of 512 bytes (Documentation/block/stat.rst).
        let sectors: u64 = stat.split_whitespace().nth(6).context("an odd block stat")?.parse()?;
        Ok(sectors * 512)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Never mounted or already gone is as good.
        let _ = Command::new("umount").arg(&self.folder).output();
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the folder's name is not text")
}

fn command(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What this process has caused to be written, where there is no loop device.
fn own_writes() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
    Ok(line.parse()?)
}

/// 100, 1,000 and 5,000 points at one minute, link up and link down.
pub(super) fn bytes_per_day(_: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for points in [100u64, 1000, 5000] {
        for link_up in [true, false] {
            let (bytes, how) = day(points, link_up)?;
            #[expect(clippy::cast_precision_loss, reason = "figures for people")]
            let megabytes = bytes as f64 / 1e6;
            let link = if link_up { "up" } else { "down" };
            let measure = format!("written a day, {points} points at 1 min, link {link} ({how})");
            let figure = format!("{megabytes:.2} MB");
            rows.push(match (points, link_up) {
                (1000, true) => Row::new(measure, figure, "≤ 10 MB", "", megabytes <= 10.0),
                (1000, false) => Row::new(measure, figure, "≤ 100 MB", "", megabytes <= 100.0),
                _ => Row::told(measure, figure),
            });
        }
    }
    Ok(rows)
}

/// Bytes of a day, and what counted them.
fn day(points: u64, link_up: bool) -> anyhow::Result<(u64, &'static str)> {
    let folders = Folders::new()?;
    let meters = (0..points / u64::from(POINTS)).map(|number| Meter::of_noisy_floats(POINTS, number));
    let meters = meters.collect::<anyhow::Result<Vec<Meter>>>()?;
    let hours = if link_up { HOURS_UP } else { HOURS_DOWN };
    let run = |dir: &Path| spool::run(dir, folders.memory.path(), &meters, hours * 60, link_up);
    let (bytes, how) = match Disk::mount(folders.disk.path()) {
        Ok(disk) => {
            let before = disk.written()?;
            run(&disk.folder.join("data"))?;
            (disk.written()? - before, "ext4 on a loop device")
        }
        Err(error) => {
            eprintln!("  no loop device ({error:#}): counting this process's own writes, without the file system's");
            let before = own_writes()?;
            run(&folders.disk.path().join("data"))?;
            (own_writes()? - before, "own writes only")
        }
    };
    Ok((bytes * 24 / hours, how))
}
