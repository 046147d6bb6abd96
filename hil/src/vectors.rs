//! The conformance runner: golden vectors through the drivers and the rules.
//!
//! Each file of a folder names its schema, and its protocol where the schema has several. `SUITES` says what runs
//! it; a new protocol is one more entry there. What nothing runs counts as failed.

mod alarm;
mod checksum;
mod cjt188;
mod delivery;
mod device;
mod dlt645;
mod folder;
mod formats;
mod interlock;
mod maps;
mod modbus;
mod names;
mod osdp;
mod relay;
mod same;
mod timeline;
mod uhppote;
mod wiegand;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gatehouse_drivers::profile::{Library, Profile};
use serde::Serialize;
use serde_json::Value;

use folder::{MAX_DEPTH, vector_files};
use same::same_fields;

/// Runs golden vectors through the drivers and the rules.
#[derive(Debug, clap::Args)]
pub struct VectorsArgs {
    /// Folders with vector files (*.json), which may lie in folders within.
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Folder with register maps (register-map/1) to use in place of the built-in profiles.
    #[arg(long, value_name = "FOLDER")]
    pub maps: Option<PathBuf>,
    /// Only files of these schemas or protocols, for example modbus,crc-vectors/1.
    #[arg(long, value_name = "SCHEMA_OR_PROTOCOL", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why no vector could be run at all.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    /// A folder cannot be read.
    #[error("cannot read the folder {folder}: {why}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },
    /// The folder has no vector files.
    #[error("{0} holds no *.json file: name the folder with the vector files")]
    Empty(PathBuf),
    /// Folders lie within folders without end.
    #[error("{0} lies more than {MAX_DEPTH} folders deep: name the folder with the vector files")]
    TooDeep(PathBuf),
    /// A register map cannot be used.
    #[error("the register map {file} cannot be used: {why}")]
    Map {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No file is of the schemas and protocols that were asked for.
    #[error("no file in {folders} is of {only}; there are: {there}")]
    NothingSelected {
        /// The folders.
        folders: String,
        /// What was asked for.
        only: String,
        /// The schemas and protocols in them.
        there: String,
    },
}

/// What came out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Vectors that passed.
    pub passed: usize,
    /// Vectors that failed, unknown ones included.
    pub failed: usize,
    /// The files, by name.
    pub files: Vec<FileReport>,
    /// Names of `--only` that no file has.
    pub unmatched: Vec<String>,
}

/// What came out of one file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// The file's name; with its folder where there are several.
    pub file: String,
    /// Its schema, as written.
    pub schema: String,
    /// Its protocol, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Vectors that passed.
    pub passed: usize,
    /// Vectors that failed.
    pub failed: usize,
    /// Why they failed; one entry may stand for a whole file.
    pub failures: Vec<Failure>,
}

/// Why a vector failed.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The vector.
    pub id: String,
    /// What differs.
    pub reason: String,
}

/// Runs the vectors and prints what came out. Exit code 0 when all passed, 1 when any failed, 2 when none could be run.
///
/// # Errors
/// When the report cannot be printed; a closed pipe is success.
pub fn run(args: VectorsArgs) -> anyhow::Result<ExitCode> {
    let report = match run_folders(&args.folders, args.maps.as_deref(), &args.only) {
        Ok(report) => report,
        Err(why) => {
            eprintln!("error: {why}");
            return Ok(ExitCode::from(2));
        }
    };
    for name in &report.unmatched {
        eprintln!("warning: no file is of {name}");
    }
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_text() };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => return Err(why.into()),
        _ => {}
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs every vector file of `folders` that is of one of the schemas or protocols `only` (empty: all).
///
/// # Errors
/// [`VectorsError`] when nothing could be run.
pub fn run_folders<P: AsRef<Path>>(
    folders: &[P],
    maps: Option<&Path>,
    only: &[String],
) -> Result<Report, VectorsError> {
    let bench = Bench { profiles: Library::new(), maps: maps.map_or_else(|| Ok(Vec::new()), maps::read_folder)? };
    let mut there = Vec::new();
    let mut report = Report::default();
    for path in vector_files(folders)? {
        let name = match folders {
            [folder] => path.strip_prefix(folder).unwrap_or(&path),
            _ => &path,
        };
        let vectors = VectorFile::read(&path, name.display().to_string());
        if only.is_empty() || only.iter().any(|name| vectors.is_of(name)) {
            let outcome = vectors.run(&bench);
            report.passed += outcome.passed;
            report.failed += outcome.failed;
            report.files.push(outcome);
        }
        there.push(vectors);
    }
    report.unmatched = only.iter().filter(|name| !there.iter().any(|file| file.is_of(name))).cloned().collect();
    if report.files.is_empty() {
        let mut kinds: Vec<_> = there.iter().map(|file| file.protocol().unwrap_or(file.schema()).to_owned()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let folders: Vec<_> = folders.iter().map(|folder| folder.as_ref().display().to_string()).collect();
        let (folders, only, there) = (folders.join(", "), only.join(", "), kinds.join(", "));
        return Err(VectorsError::NothingSelected { folders, only, there });
    }
    Ok(report)
}

/// What the suites work with.
struct Bench {
    profiles: Library,
    maps: Vec<maps::DeviceMap>,
}

impl Bench {
    /// The register map of that name, or else the built-in profile.
    fn profile(&self, name: &str) -> Result<&Profile, String> {
        if let Some(found) = self.maps.iter().find(|map| map.device == name) {
            return found.map.as_ref().map_err(Clone::clone);
        }
        let profile =
            self.profiles.find(name).ok_or_else(|| format!("there is no register map or profile of {name}"))?;
        Ok(profile)
    }
}

/// What comes out of one vector: nothing, or the reason why it failed.
type Outcome = Result<(), String>;

/// Runs one vector.
type Run = fn(&Bench, &Value) -> Outcome;

/// What runs the files of one schema, or of one protocol of a schema.
struct Suite {
    schema: &'static str,
    /// `None`: the schema has no protocols.
    protocol: Option<&'static str>,
    /// The lists of a file and what runs each of their entries.
    lists: &'static [(&'static str, Run)],
}

impl Suite {
    fn runs(&self, schema: &str, protocol: Option<&str>) -> bool {
        let same_protocol = match (self.protocol, protocol) {
            (Some(own), Some(protocol)) => own.eq_ignore_ascii_case(protocol),
            (own, protocol) => own.is_none() && protocol.is_none(),
        };
        self.schema.eq_ignore_ascii_case(schema) && same_protocol
    }
}

/// Everything that can be run.
static SUITES: [Suite; 15] = [
    Suite { schema: "protocol-vectors/1", protocol: Some("modbus"), lists: &[("vectors", modbus::run)] },
    Suite {
        schema: "protocol-vectors/1",
        protocol: Some("modbus-rtu relay boards"),
        lists: &[("vectors", relay::run)],
    },
    Suite { schema: "protocol-vectors/1", protocol: Some("dlt645-2007"), lists: &[("vectors", dlt645::run_2007)] },
    Suite { schema: "protocol-vectors/1", protocol: Some("dlt645-1997"), lists: &[("vectors", dlt645::run_1997)] },
    Suite { schema: "protocol-vectors/1", protocol: Some("cjt188"), lists: &[("vectors", cjt188::run)] },
    Suite { schema: "protocol-vectors/1", protocol: Some("osdp-2.2"), lists: &[("vectors", osdp::run_frame)] },
    Suite { schema: "osdp-session/1", protocol: None, lists: &[("sessions", osdp::run_session)] },
    Suite { schema: "protocol-vectors/1", protocol: Some("uhppote-udp"), lists: &[("vectors", uhppote::run)] },
    Suite { schema: "crc-vectors/1", protocol: None, lists: &[("crc", checksum::run_crc), ("lrc", checksum::run_lrc)] },
    Suite {
        schema: "value-format/1",
        protocol: None,
        lists: &[("vectors", formats::run_orders), ("special", formats::run_special)],
    },
    Suite { schema: "device-decode/1", protocol: None, lists: &[("cases", device::run)] },
    Suite { schema: "alarm-states/1", protocol: None, lists: &[("transitions", alarm::run_transition)] },
    Suite {
        schema: "alarm-scenarios/1",
        protocol: None,
        lists: &[("alarm", alarm::run_life), ("prometheus", timeline::run_delays), ("flood", timeline::run_flood)],
    },
    Suite { schema: "barrier-interlock/1", protocol: None, lists: &[("cases", interlock::run)] },
    Suite { schema: "wiegand/1", protocol: None, lists: &[("vectors", wiegand::run)] },
];

/// What some editors write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One file; a text in place of its content says why there is none.
struct VectorFile {
    file: String,
    vectors: Value,
}

impl VectorFile {
    fn read(path: &Path, file: String) -> Self {
        let read = std::fs::read(path).map_err(|why| why.to_string());
        let parsed = read.and_then(|bytes| {
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
            serde_json::from_slice(text).map_err(|why| format!("not JSON: {why}"))
        });
        VectorFile { file, vectors: parsed.unwrap_or_else(Value::String) }
    }

    fn schema(&self) -> &str {
        self.vectors["schema"].as_str().unwrap_or("no schema")
    }

    fn protocol(&self) -> Option<&str> {
        self.vectors["protocol"].as_str()
    }

    /// True when `name` is the schema, with or without its version, or the protocol or its first word.
    fn is_of(&self, name: &str) -> bool {
        let name = name.trim();
        let schema = self.schema();
        let bare = schema.split('/').next().unwrap_or(schema);
        let protocol = self.protocol().unwrap_or("");
        let first_word = protocol.split(' ').next().unwrap_or("");
        !name.is_empty() && [schema, bare, protocol, first_word].iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn run(&self, bench: &Bench) -> FileReport {
        let mut report = FileReport {
            file: self.file.clone(),
            schema: self.schema().to_owned(),
            protocol: self.protocol().map(str::to_owned),
            passed: 0,
            failed: 0,
            failures: Vec::new(),
        };
        let suite = SUITES.iter().find(|suite| suite.runs(self.schema(), self.protocol()));
        match suite {
            Some(suite) => report.run(suite, &self.vectors, bench),
            None => report.unknown(&self.vectors),
        }
        report
    }
}

impl FileReport {
    fn run(&mut self, suite: &Suite, vectors: &Value, bench: &Bench) {
        for (list, run) in suite.lists {
            for (at, vector) in vectors[*list].as_array().into_iter().flatten().enumerate() {
                match run(bench, vector) {
                    Ok(()) => self.passed += 1,
                    Err(reason) => {
                        self.failed += 1;
                        let id = vector["id"].as_str().map_or_else(|| format!("{list}[{at}]"), str::to_owned);
                        self.failures.push(Failure { id, reason });
                    }
                }
            }
        }
        for (name, list) in vectors.as_object().into_iter().flatten() {
            let count = entries(list);
            if count > 0 && suite.lists.iter().all(|(known, _)| known != name) {
                self.fail(count, format!("nothing runs the {name} of {}", suite.schema));
            }
        }
        if self.passed + self.failed == 0 {
            let lists: Vec<_> = suite.lists.iter().map(|(list, _)| *list).collect();
            self.fail(1, format!("there is nothing in its {}", lists.join(" and ")));
        }
    }

    /// A file that nothing runs: each entry of its lists counts as failed.
    fn unknown(&mut self, vectors: &Value) {
        let (count, reason) = match vectors {
            Value::Object(keys) => {
                let protocol = self.protocol.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
                (keys.values().map(entries).sum(), format!("nothing runs {}{protocol}", self.schema))
            }
            Value::String(reason) => (1, reason.clone()),
            _ => (1, "no vector file: its top is no JSON object".to_owned()),
        };
        self.fail(count.max(1), reason);
    }

    fn fail(&mut self, count: usize, reason: String) {
        self.failed += count;
        self.failures.push(Failure { id: "all".to_owned(), reason });
    }
}

/// How many vectors a list has; one that holds other things than objects is no list of vectors.
fn entries(list: &Value) -> usize {
    list.as_array().filter(|list| list.iter().all(Value::is_object)).map_or(0, Vec::len)
}

impl Report {
    /// The report as lines for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let kind = file.protocol.as_ref().unwrap_or(&file.schema);
            let (passed, failed) = (file.passed, file.failed);
            let _ = writeln!(text, "{:<30} {kind:<26} {passed:>4} passed {failed:>4} failed", file.file);
            for failure in &file.failures {
                let _ = writeln!(text, "    {}: {}", failure.id, failure.reason);
            }
        }
        let _ = writeln!(text, "{} passed, {} failed, in {} files", self.passed, self.failed, self.files.len());
        text
    }
}

/// A text of a vector.
fn text<'v>(vector: &'v Value, field: &str) -> Result<&'v str, String> {
    vector[field].as_str().ok_or_else(|| format!("the vector has no text {field}"))
}

/// A list of a vector.
fn list<'v>(vector: &'v Value, field: &str) -> Result<&'v Vec<Value>, String> {
    vector[field].as_array().ok_or_else(|| format!("the vector has no list {field}"))
}

/// A flag of a vector, which is off when the vector does not name it.
fn flag(vector: &Value, field: &str) -> Result<bool, String> {
    match &vector[field] {
        Value::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| format!("{field} is {value}, not true or false")),
    }
}

/// The bytes of a vector's field in hexadecimal.
fn bytes(vector: &Value, field: &str) -> Result<Vec<u8>, String> {
    let text = vector[field].as_str().ok_or_else(|| format!("the vector has no {field}"))?;
    hex(text).ok_or_else(|| format!("{field} is not hexadecimal"))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_in_pairs() {
        assert_eq!(hex("01 aB"), Some(vec![0x01, 0xAB]));
        assert_eq!(hex(""), Some(Vec::new()));
        assert_eq!(hex("012"), None);
        assert_eq!(hex("0x"), None);
    }

    #[test]
    fn a_name_selects_by_schema_or_protocol() {
        let vectors = serde_json::json!({"schema": "protocol-vectors/1", "protocol": "modbus-rtu relay boards"});
        let file = VectorFile { file: "a.json".to_owned(), vectors };
        for name in ["protocol-vectors/1", "protocol-vectors", "modbus-rtu relay boards", "modbus-rtu", "MODBUS-RTU"] {
            assert!(file.is_of(name), "{name}");
        }
        for name in ["modbus", "relay", "", "protocol-vectors/2"] {
            assert!(!file.is_of(name), "{name}");
        }
    }
}
