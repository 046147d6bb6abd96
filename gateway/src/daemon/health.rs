//! How the box is: looked up now and then, for the alarms that need no rule.

use std::path::Path;

use gatehouse_core::{Stamp, Trust};
use gatehouse_rules::engine::BoxHealth;
use gatehouse_uplink::TlsFiles;

/// Reads what the kernel tells of memory and temperature, and of the disk of `data`.
pub fn look(data: &Path) -> BoxHealth {
    BoxHealth {
        disk_free: disk_free(data),
        memory_free: memory_free(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        temperature_c: hottest(Path::new("/sys/class/thermal")),
        ..BoxHealth::default()
    }
}

/// Days until the first certificate that the link needs ends: the box's own, and the authorities'. `None` without any,
/// and while the clock is unset.
pub fn certificate_days(files: &TlsFiles, now: Stamp) -> Option<i64> {
    if now.trust == Trust::Unset {
        return None;
    }
    let ends = [&files.cert, &files.ca].into_iter().flatten().filter_map(|path| std::fs::read(path).ok());
    let first = ends.filter_map(|pem| first_end(&pem)).min()?;
    Some((first - now.wall.0.div_euclid(1_000_000)).div_euclid(86_400))
}

/// When the first certificate of a PEM text ends, in seconds since 1970.
fn first_end(pem: &[u8]) -> Option<i64> {
    let blocks = x509_parser::pem::Pem::iter_from_buffer(pem).filter_map(Result::ok);
    let ends = blocks.filter_map(|block| Some(block.parse_x509().ok()?.validity().not_after.timestamp()));
    ends.min()
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn disk_free(data: &Path) -> Option<f64> {
    let stat = rustix::fs::statvfs(data).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail as f64 / stat.f_blocks as f64)
}

/// The share of memory that can be had, from the text of `/proc/meminfo`.
fn memory_free(text: &str) -> Option<f64> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    };
    let total = kilobytes("MemTotal:").filter(|total| *total > 0.0)?;
    Some(kilobytes("MemAvailable:")? / total)
}

/// The hottest zone of the kernel's thermal sensors, °C.
fn hottest(zones: &Path) -> Option<f64> {
    let read = |zone: std::fs::DirEntry| {
        let text = std::fs::read_to_string(zone.path().join("temp")).ok()?;
        Some(text.trim().parse::<f64>().ok()? / 1000.0)
    };
    let all = std::fs::read_dir(zones).ok()?.filter_map(|zone| read(zone.ok()?));
    all.filter(|celsius| (-50.0..200.0).contains(celsius)).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_could_be_had_of_all() {
        let text = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     250 kB\n";
        assert_eq!(memory_free(text), Some(0.25));
        assert_eq!(memory_free("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(memory_free(""), None);
    }

    #[test]
    fn the_first_certificate_that_ends_counts_and_an_unset_clock_knows_none() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, year| {
            let mut params = rcgen::CertificateParams::new(vec!["box".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 11);
            let key = rcgen::KeyPair::generate().unwrap();
            let path = dir.path().join(name);
            std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
            path
        };
        let files =
            TlsFiles { ca: Some(write("ca.pem", 2040)), cert: Some(write("cert.pem", 2030)), ..TlsFiles::default() };
        // 2030-01-01T00:00:00Z.
        let wall = gatehouse_core::Wall(1_893_456_000_000_000);
        let now = Stamp { wall, trust: Trust::FreeRunning, ..Stamp::default() };
        assert_eq!(certificate_days(&files, now), Some(10));
        assert_eq!(certificate_days(&files, Stamp { trust: Trust::Unset, ..now }), None);
        assert_eq!(certificate_days(&TlsFiles::default(), now), None);
    }

    #[test]
    fn the_hottest_zone_counts_and_broken_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        for (zone, text) in [("zone0", "41000\n"), ("zone1", "63500\n"), ("zone2", "-274000\n"), ("zone3", "?")] {
            std::fs::create_dir(dir.path().join(zone)).unwrap();
            std::fs::write(dir.path().join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(hottest(dir.path()), Some(63.5));
        assert_eq!(hottest(&dir.path().join("none")), None);
    }
}
