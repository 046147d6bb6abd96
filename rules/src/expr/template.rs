//! Messages with values in them.

use std::ops::Range;

use gatehouse_core::DeviceIx;

use super::check;
use super::error::{ExprError, code};
use super::tree::Node;
use super::{Catalog, Facts};

/// Most characters that a message has.
const LONGEST_MESSAGE: usize = 500;

/// Longest template, in bytes.
const LONGEST_TEMPLATE: usize = 4_000;

/// A text for people with expressions in braces: `{voltage_l1} V at {device.title}`. `{{` and `}}` are plain braces.
///
/// A point prints with the digits of its reading, other numbers with six significant digits, and what has no value now
/// as `?`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Plain(String),
    Value(Node),
}

/// A piece as it was written: plain text, or the place of an expression.
enum Written {
    Plain(String),
    Expression(Range<usize>),
}

impl Template {
    /// Compiles a template, for a rule that has a device of its own or none.
    ///
    /// # Errors
    /// Every mistake, in the order of the text, with its place in it; at least one.
    pub fn compile(text: &str, catalog: &Catalog, own: Option<DeviceIx>) -> Result<Template, Vec<ExprError>> {
        if text.len() > LONGEST_TEMPLATE {
            let message = format!("this text has {} bytes; the most is {LONGEST_TEMPLATE}", text.len());
            return Err(vec![ExprError::new(code::TOO_LARGE, 0..text.len(), message, "say it shorter")]);
        }
        let (written, mut errors) = split(text);
        let mut pieces = Vec::with_capacity(written.len());
        for piece in written {
            match piece {
                Written::Plain(plain) => pieces.push(Piece::Plain(plain)),
                Written::Expression(span) => {
                    let source = text.get(span.clone()).unwrap_or_default();
                    match check::compile(source, catalog, own) {
                        Ok(Node::Text(super::tree::Text::Const(fixed))) => pieces.push(Piece::Plain(fixed.into())),
                        Ok(node) => pieces.push(Piece::Value(node)),
                        Err(found) => errors.extend(found.into_iter().map(|error| moved(error, span.start))),
                    }
                }
            }
        }
        errors.sort_by_key(|error| error.span.start);
        if errors.is_empty() { Ok(Template { pieces }) } else { Err(errors) }
    }

    /// The message now, of at most 500 characters; a longer one ends with `…`.
    pub fn render(&self, facts: &dyn Facts) -> String {
        let mut message = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Plain(plain) => message.push_str(plain),
                Piece::Value(node) => message.push_str(&node.print(facts).unwrap_or_else(|| "?".to_owned())),
            }
        }
        if let Some((cut, _)) = message.char_indices().nth(LONGEST_MESSAGE - 1)
            && message.chars().nth(LONGEST_MESSAGE).is_some()
        {
            message.truncate(cut);
            message.push('…');
        }
        message
    }
}

fn moved(error: ExprError, by: usize) -> ExprError {
    ExprError { span: error.span.start + by..error.span.end + by, ..error }
}

/// The pieces, and the braces that do not match.
fn split(text: &str) -> (Vec<Written>, Vec<ExprError>) {
    let (mut pieces, mut errors) = (Vec::new(), Vec::new());
    let mut plain = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(brace) = rest.find(['{', '}']) else {
            plain.push_str(rest);
            break;
        };
        let (before, rest) = rest.split_at(brace);
        plain.push_str(before);
        at += brace;
        if rest.starts_with("{{") || rest.starts_with("}}") {
            plain.push_str(rest.get(..1).unwrap_or_default());
            at += 2;
        } else if rest.starts_with('}') {
            errors.push(ExprError::new(code::SYNTAX, at..at + 1, "this `}` has no `{`", "write }} for a plain }"));
            at += 1;
        } else if let Some(length) = expression_length(rest.get(1..).unwrap_or_default()) {
            pieces.push(Written::Plain(std::mem::take(&mut plain)));
            pieces.push(Written::Expression(at + 1..at + 1 + length));
            at += length + 2;
        } else {
            errors.push(ExprError::new(code::SYNTAX, at..at + 1, "this `{` has no `}`", "write {{ for a plain {"));
            break;
        }
    }
    pieces.push(Written::Plain(plain));
    pieces.retain(|piece| !matches!(piece, Written::Plain(plain) if plain.is_empty()));
    (pieces, errors)
}

/// Bytes up to the brace that ends an expression; braces within its quoted texts do not count.
fn expression_length(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '}' => return Some(at),
            None => {}
        }
    }
    None
}
