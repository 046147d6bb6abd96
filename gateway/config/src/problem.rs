//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// One thing that is wrong, or deserves a look.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Stable code, for example `gatehouse::config::unknown_key`.
    pub code: &'static str,
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do; `""` for nothing.
    pub help: String,
    /// The file with its text.
    pub source: Arc<NamedSource<String>>,
    /// The marked bytes of the file; empty at the beginning when the whole file is meant.
    pub span: Range<usize>,
}

/// Whether a file is refused for a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file works; someone should look at it.
    Warning,
    /// The file is refused.
    Error,
}

impl Problem {
    /// The name of the file.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column of the marked place, both from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        let text = self.source.inner();
        let before = text.get(..self.span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let length = self.span.end.saturating_sub(self.span.start);
        Some(Box::new(std::iter::once(LabeledSpan::new(None, self.span.start, length))))
    }
}

/// Every problem that one run found, in the order of the file, at least one of them an error.
#[derive(Debug, Clone)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(&self.0))
    }
}

impl std::error::Error for Problems {}

/// Renders problems for people: message, code, file, line and column, the marked line and what to do.
pub fn render(problems: &[Problem]) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_wrap_lines(false);
    let mut text = String::new();
    for problem in problems {
        if handler.render_report(&mut text, problem).is_err() {
            let (line, column) = problem.position();
            text.push_str(&format!("{}:{line}:{column}: {} [{}]\n", problem.file(), problem.message, problem.code));
        }
        text.push('\n');
    }
    text
}
