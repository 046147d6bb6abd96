//! From a file to a [`Site`], with every problem found in one run.

use std::ops::Range;
use std::path::Path;

use gatehouse_drivers::profile::Library;
use toml::de::DeTable;

use crate::box_io::RelaySettings;
use crate::code;
use crate::problem::{Problem, Problems, Severity};
use crate::read::{self, Context};
use crate::sink::Sink;
use crate::site::Site;

/// A site file is refused beyond this; a site of 1,000 devices has about 100 kB.
const MOST_BYTES: u64 = 4 << 20;

/// A site, and what someone should look at.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The site.
    pub site: Site,
    /// Warnings, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads and checks the site file at `path`. Devices may name the profiles of `library`, and those of the folder that
/// the file itself names.
///
/// # Errors
/// Every problem of the file, at least one of them an error.
pub fn load(path: &Path, library: &Library) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    match text_of(path) {
        Ok(text) => check(&file, &text, path.parent().unwrap_or(Path::new("")), library),
        Err((message, help)) => {
            let mut sink = Sink::new(&file, "");
            sink.error(code::UNREADABLE, 0..0, message, help);
            Err(Problems(sink.finish()))
        }
    }
}

/// The relays of the box that the site file at `path` names, and what is wrong with its `[box]`. The rest of the file is
/// not looked at: outputs are to be driven off also while somebody is in the middle of changing it.
///
/// # Errors
/// When the file cannot be read.
pub fn relays(path: &Path) -> Result<(Vec<RelaySettings>, Vec<Problem>), Problems> {
    let file = path.display().to_string();
    let text = text_of(path).map_err(|(message, help)| {
        let mut sink = Sink::new(&file, "");
        sink.error(code::UNREADABLE, 0..0, message, help);
        Problems(sink.finish())
    })?;
    let mut sink = Sink::new(&file, &text);
    let (root, _) = DeTable::parse_recoverable(&text);
    let library = Library::new();
    let mut context = Context { base: path.parent().unwrap_or(Path::new("")), library: &library, sink: &mut sink };
    let relays = read::relays(&mut context, root.get_ref());
    Ok((relays, sink.finish()))
}

/// The text of a file, or what is wrong with it and what to do.
fn text_of(path: &Path) -> Result<String, (String, String)> {
    let file = path.display();
    let help = "name the site file with --config; a first one is in docs/examples/first-site.toml";
    let failed = |why: &std::io::Error| (format!("{file} cannot be read: {}", read::reason(why)), help.to_owned());
    let meta = std::fs::metadata(path).map_err(|why| failed(&why))?;
    if meta.is_dir() {
        return Err((format!("{file} is a folder, not a site file"), help.to_owned()));
    }
    if meta.len() > MOST_BYTES {
        return Err((format!("{file} has more than 4 MiB: this is no site file"), help.to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|why| failed(&why))?;
    String::from_utf8(bytes).map_err(|why| {
        let valid = why.utf8_error().valid_up_to();
        let line = why.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        (format!("{file} is not UTF-8 text (line {line})"), "save it as UTF-8".to_owned())
    })
}

/// Checks the text of a site file. `file` is its name in messages; relative paths in it begin from `base`.
///
/// # Errors
/// Every problem of the file, at least one of them an error.
pub fn check(file: &str, text: &str, base: &Path, library: &Library) -> Result<Loaded, Problems> {
    let mut sink = Sink::new(file, text);
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let span = error.span().unwrap_or(0..0);
        sink.error(code::SYNTAX, span, format!("this is not TOML: {}", error.message()), "");
    }
    let mut library = library.clone();
    let mut others = profiles(&mut sink, root.get_ref(), base, &mut library);
    let site = read::site(&mut Context { base, library: &library, sink: &mut sink }, root.get_ref(), &mut others);
    if !syntax.is_empty() {
        sink.keep_what_syntax_allows();
    }
    let mut problems = sink.finish();
    problems.append(&mut others);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    match site {
        Some(site) if !refused => Ok(Loaded { site, warnings: problems }),
        _ => Err(Problems(problems)),
    }
}

/// Adds the profiles of the folder that `[site] profiles` names.
fn profiles(sink: &mut Sink, root: &DeTable<'_>, base: &Path, library: &mut Library) -> Vec<Problem> {
    let site = root.get("site").and_then(|site| site.get_ref().as_table());
    let Some(value) = site.and_then(|site| site.get("profiles")) else { return Vec::new() };
    let Some(folder) = value.get_ref().as_str() else { return Vec::new() };
    add_folder(&base.join(folder), library).unwrap_or_else(|why| {
        let message = format!("`profiles`: {} cannot be read: {}", base.join(folder).display(), read::reason(&why));
        sink.error(code::FILE_ABSENT, value.span(), message, "a folder with one .toml per profile");
        Vec::new()
    })
}

/// Adds every `*.toml` of a folder to the library, in alphabetical order; the problems of those that are refused.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn add_folder(folder: &Path, library: &mut Library) -> std::io::Result<Vec<Problem>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut problems = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let file = path.display().to_string();
        if let Err(errors) = library.add_text(&file, &text) {
            let mut sink = Sink::new(&file, &text);
            for error in errors {
                let span: Range<usize> = error.error.span;
                sink.error(code::BAD_PROFILE, span, error.error.message, error.error.help);
            }
            problems.append(&mut sink.finish());
        }
    }
    Ok(problems)
}
