//! Where the site file goes: a place that is free, and a file that is there as a whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Most files of scans in one folder that have no name of their own.
const NUMBERED_MOST: u32 = 1000;

/// Refuses a place at which no file can be made, before a long scan has nowhere to put what it found.
pub(super) fn check(out: Option<&Path>) -> Result<(), String> {
    if let Some(path) = out.filter(|path| is_taken(path)) {
        let there = match std::fs::read_link(path) {
            Ok(to) if !path.exists() => format!(
                "it is a link to {}, which is not there, and a scan writes through no link: name that file itself, or another",
                to.display()
            ),
            Ok(_) | Err(_) => "the file exists, and a scan overwrites none: name another".to_owned(),
        };
        return Err(format!("--out {}: {there}", path.display()));
    }
    let folder = folder(out.unwrap_or(Path::new("")));
    let asked = match out {
        Some(path) => format!("--out {}", path.display()),
        None => "the site file goes into this folder".to_owned(),
    };
    if !folder.is_dir() {
        return Err(format!("{asked}: there is no folder {}: make it first, or name another", folder.display()));
    }
    // Rights alone do not say it: the folder may be one of the kernel's, or on a disk that is full.
    fresh(folder).and_then(NamedTempFile::close).map_err(|why| {
        let hint = if out.is_none() { "go to another folder, or name a file with --out" } else { "name another" };
        format!("{asked}: no file can be made there ({why}): {hint}")
    })
}

/// The file that was named, or the first free one of `site-scan.toml`, `site-scan-2.toml` and so on.
pub(super) fn free(out: Option<&Path>) -> PathBuf {
    let numbered = |number: u32| match number {
        1 => PathBuf::from("site-scan.toml"),
        number => PathBuf::from(format!("site-scan-{number}.toml")),
    };
    let named = out.map(Path::to_owned);
    let path = named.or_else(|| (1..NUMBERED_MOST).map(numbered).find(|path| !is_taken(path)));
    path.unwrap_or_else(|| numbered(1))
}

/// Makes the file with this text. It is written beside its place first, so that a full disk leaves no half of it.
///
/// # Errors
/// When there is no room, or something is at its place by now; then nothing is left behind.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fresh(folder(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|refused| refused.error)
}

/// Whether something is there, be it a link to nothing.
fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that goes away unless it is put somewhere, with the rights that a new file gets.
fn fresh(folder: &Path) -> io::Result<NamedTempFile> {
    let rights = Permissions::from_mode(0o666);
    tempfile::Builder::new().prefix(".gatehouse-scan-").permissions(rights).tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_where_no_file_can_be_made_is_refused_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| check(Some(&folder.path().join(name)));
        assert_eq!(at("site.toml"), Ok(()));
        assert_eq!(check(Some(Path::new("no-such-site.toml"))), Ok(()));
        std::fs::write(folder.path().join("is.toml"), "").unwrap();
        assert!(at("is.toml").unwrap_err().ends_with("the file exists, and a scan overwrites none: name another"));
        let missing = folder.path().join("no/such");
        let expected =
            format!("--out {0}/site.toml: there is no folder {0}: make it first, or name another", missing.display());
        assert_eq!(at("no/such/site.toml"), Err(expected));
        let refused = check(Some(Path::new("/proc/site.toml"))).unwrap_err();
        assert!(refused.contains("no file can be made there"), "{refused}");
    }

    #[test]
    fn a_link_is_a_file_that_is_there_or_one_to_nothing_and_neither_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("is.toml"), "kept").unwrap();
        std::os::unix::fs::symlink(at("is.toml"), at("link.toml")).unwrap();
        std::os::unix::fs::symlink("gone.toml", at("dangling.toml")).unwrap();
        assert!(check(Some(&at("link.toml"))).unwrap_err().ends_with("overwrites none: name another"));
        let why = check(Some(&at("dangling.toml"))).unwrap_err();
        assert!(why.contains("it is a link to gone.toml, which is not there"), "{why}");
        for name in ["is.toml", "link.toml", "dangling.toml"] {
            assert_eq!(write(&at(name), "new").unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
        }
        assert_eq!(std::fs::read_to_string(at("is.toml")).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is left beside them");
        assert!(!at("gone.toml").exists());
    }

    #[test]
    fn a_file_has_the_rights_that_the_shell_gives_new_files() {
        let folder = tempfile::tempdir().unwrap();
        let (made, plain) = (folder.path().join("made.toml"), folder.path().join("plain.toml"));
        write(&made, "text").unwrap();
        std::fs::write(&plain, "text").unwrap();
        let rights = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(rights(&made), rights(&plain));
        assert_eq!(std::fs::read_to_string(&made).unwrap(), "text");
    }
}
