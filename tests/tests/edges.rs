//! Who may depend on whom, read from `cargo metadata`: purity holds by the crate graph or it does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The core that all share.
const CORE: &[&str] = &["gatehouse-core"];

/// The parts, which know the core and not each other.
const PARTS: &[&str] =
    &["gatehouse-drivers", "gatehouse-rules", "gatehouse-firmware-bridge", "gatehouse-store", "gatehouse-uplink"];

/// What puts the parts together.
const SHELL: &[&str] = &["gatehouse-config", "gatehouse"];

/// Each crate of the workspace and the crates of the workspace that it may use.
const MAY_USE: [(&str, &[&[&str]]); 10] = [
    ("gatehouse-core", &[]),
    ("gatehouse-drivers", &[CORE]),
    ("gatehouse-rules", &[CORE]),
    ("gatehouse-firmware-bridge", &[CORE]),
    ("gatehouse-store", &[CORE]),
    ("gatehouse-uplink", &[CORE]),
    ("gatehouse-config", &[CORE, PARTS]),
    ("gatehouse", &[CORE, PARTS, &["gatehouse-config"]]),
    ("gatehouse-hil", &[CORE, PARTS, SHELL]),
    ("gatehouse-tests", &[CORE, PARTS, SHELL, &["gatehouse-hil"]]),
];

/// Crates that hold no I/O, read no clock and run no tasks.
const PURE: &[&str] = &["gatehouse-core", "gatehouse-drivers", "gatehouse-rules", "gatehouse-firmware-bridge"];

/// Crates that do I/O or run tasks; a pure crate reaches none of them.
const IMPURE: [&str; 12] = [
    "tokio",
    "mio",
    "async-io",
    "async-std",
    "smol",
    "socket2",
    "serialport",
    "tokio-serial",
    "rumqttc",
    "hyper",
    "axum",
    "sled",
];

/// What the sources of a pure crate never say outside their tests.
const IMPURE_WORDS: [&str; 8] =
    ["std::fs", "std::net", "std::env", "std::process", "std::thread", "SystemTime", "Instant::now", "std::io::stdin"];

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").into()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text in cargo metadata")
}

#[test]
fn every_crate_uses_only_the_crates_below_it() {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages");
    let members: BTreeSet<&str> = packages.iter().map(|package| text(&package["name"])).collect();
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, known, "a new crate has to say here what it may use");

    let mut broken = Vec::new();
    for package in packages {
        let name = text(&package["name"]);
        let (_, allowed) = MAY_USE.iter().find(|(member, _)| *member == name).expect("checked above");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let dependency = text(&dependency["name"]);
            if members.contains(dependency) && !allowed.concat().contains(&dependency) {
                broken.push(format!("{name} uses {dependency}"));
            }
        }
    }
    assert!(broken.is_empty(), "edges that design forbids: {broken:?}");
}

#[test]
fn pure_crates_reach_no_runtime() {
    let metadata = metadata(&["--offline"]);
    let mut names = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        names.insert(text(&package["id"]), text(&package["name"]));
    }
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
        let normal = |dependency: &&Value| {
            dependency["dep_kinds"].as_array().expect("kinds").iter().any(|kind| kind["kind"].is_null())
        };
        let below = node["deps"].as_array().expect("deps").iter().filter(normal).map(|dep| text(&dep["pkg"]));
        edges.insert(text(&node["id"]), below.collect());
    }

    for pure in PURE {
        let start = names.iter().find(|(_, name)| *name == pure).map(|(id, _)| *id).expect("a member");
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(&edges[id]);
            }
        }
        let impure: Vec<&str> = reached.iter().map(|id| names[id]).filter(|name| IMPURE.contains(name)).collect();
        assert!(impure.is_empty(), "{pure} reaches {impure:?}");
    }
}

#[test]
fn the_sources_of_pure_crates_name_no_file_clock_thread_or_socket() {
    let mut broken = Vec::new();
    for folder in ["gateway/core", "drivers", "rules", "firmware-bridge"] {
        for file in sources(&workspace().join(folder).join("src")) {
            let source = std::fs::read_to_string(&file).expect("a source file");
            let shipped = source.split("#[cfg(test)]\nmod").next().unwrap_or_default();
            for (number, line) in shipped.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if let Some(word) = IMPURE_WORDS.iter().find(|word| code.contains(**word)) {
                    broken.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "pure crates take time, bytes and files as arguments:\n{}", broken.join("\n"));
}

/// Rust files below a folder, those of tests left out.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("a folder entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
