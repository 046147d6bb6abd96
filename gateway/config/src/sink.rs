//! Where the readers of a file put the problems they find.

use std::ops::Range;
use std::sync::Arc;

use gatehouse_drivers::profile::{KeyError, Rule};
use gatehouse_rules::expr::error::code::NO_DEVICE;
use miette::NamedSource;

use crate::code;
use crate::problem::{Problem, Severity};

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Sink {
    file: String,
    text: String,
    found: Vec<Noted>,
    secrets: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Noted {
    code: &'static str,
    severity: Severity,
    message: String,
    help: String,
    span: Range<usize>,
}

impl Sink {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        Sink { file: file.to_owned(), text: text.to_owned(), found: Vec::new(), secrets: Vec::new() }
    }

    /// Notes what the file is refused for.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.found.push(Noted { code, severity: Severity::Error, message, help, span });
    }

    /// Notes what someone should look at.
    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (message, help) = (message.into(), help.into());
        self.found.push(Noted { code, severity: Severity::Warning, message, help, span });
    }

    /// Takes over what the reading of a table's keys found.
    pub(crate) fn take(&mut self, errors: Vec<KeyError>) {
        for error in errors {
            self.error(code_of(error.rule), error.span, error.message, error.help);
        }
    }

    /// Has these bytes of the file masked wherever a problem shows them.
    pub(crate) fn hide(&mut self, secret: Range<usize>) {
        self.secrets.push(secret);
    }

    /// A part of the file's text.
    pub(crate) fn text(&self, part: Range<usize>) -> Option<&str> {
        self.text.get(part)
    }

    /// True if anything noted so far refuses the file.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|noted| noted.severity == Severity::Error)
    }

    /// How many problems so far refuse the file.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|noted| noted.severity == Severity::Error).count()
    }

    /// Leaves out what only follows from a broken syntax: things that seem to be missing, and everything on a broken line.
    pub(crate) fn keep_what_syntax_allows(&mut self) {
        let text = &self.text;
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let broken = self.found.iter().filter(|noted| noted.code == code::SYNTAX).map(|noted| line(noted.span.start));
        let broken: Vec<usize> = broken.collect();
        self.found.retain(|noted| {
            let follows = matches!(
                noted.code,
                code::MISSING_KEY | code::UNKNOWN_BUS | code::UNKNOWN_POINT | code::EMPTY_SITE | NO_DEVICE
            );
            noted.code == code::SYNTAX || !follows && !broken.contains(&line(noted.span.start))
        });
    }

    /// The problems, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|noted| (noted.span.start, noted.span.end));
        let mut bytes = self.text.into_bytes();
        for secret in self.secrets {
            for byte in bytes.get_mut(secret).unwrap_or_default() {
                *byte = b'*';
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let source = Arc::new(NamedSource::new(self.file, text).with_language("toml"));
        let problem = |noted: Noted| Problem {
            code: noted.code,
            severity: noted.severity,
            message: noted.message,
            help: noted.help,
            source: source.clone(),
            span: noted.span,
        };
        self.found.into_iter().map(problem).collect()
    }
}

fn code_of(rule: Rule) -> &'static str {
    match rule {
        Rule::Syntax => code::SYNTAX,
        Rule::UnknownKey => code::UNKNOWN_KEY,
        Rule::MissingKey => code::MISSING_KEY,
        Rule::WrongType => code::WRONG_TYPE,
        Rule::BadValue => code::BAD_VALUE,
        Rule::Conflict => code::CONFLICT,
        Rule::Duplicate => code::DUPLICATE,
    }
}
