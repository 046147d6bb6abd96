//! Bad profiles and what an installer is told: one folder entry per kind of mistake, every mistake of a file in one run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gatehouse_drivers::profile::Profile;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-profiles")
}

/// What is said of a profile: one line for each mistake, its code last.
fn said(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).expect("the case is a text file");
    let errors = Profile::parse(&name, &text).expect_err("a bad profile is refused");
    errors.iter().fold(String::new(), |mut said, error| {
        let _ = writeln!(said, "{error} [{}]", error.code());
        said
    })
}

#[test]
fn each_bad_profile_is_refused_with_every_mistake_and_its_place() {
    let mut cases = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            assert_eq!(said(&path), expected, "{}", path.display());
            cases += 1;
        }
    }
    assert_eq!(cases, 11);
}
