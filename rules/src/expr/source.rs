//! The text of an expression: parsed by `cel`, with the places of its parts and its syntax errors explained.

use std::ops::Range;

use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::{Env, ParseError};

use super::error::{ExprError, code};

/// Longest expression, in bytes. The parser recurses over what it reads.
pub(super) const LONGEST: usize = 4_000;

/// A parsed expression and where its parts stand.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) expr: IdedExpr,
    info: SourceInfo,
}

impl<'a> Source<'a> {
    /// Parses without CEL's macros: `all`, `exists`, `map` and `filter` walk over lists that no point has, and `has` is
    /// a function of ours.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<ExprError>> {
        if text.len() > LONGEST {
            let message = format!("this expression has {} bytes; the most is {LONGEST}", text.len());
            return Err(vec![ExprError::new(code::TOO_LARGE, 0..text.len(), message, "split it into several rules")]);
        }
        match Env::default().parser().parse_with_source_info(text) {
            Ok((expr, info)) => Ok(Source { text, expr, info }),
            Err(errors) => Err(explain_all(text, &errors.errors)),
        }
    }

    /// The bytes of one expression, with the parentheses that belong to it.
    pub(super) fn span(&self, expr: &IdedExpr) -> Range<usize> {
        let Some(token) = self.token(expr) else { return 0..self.text.len() };
        let mut span = token.clone();
        let include = |span: &mut Range<usize>, part: Range<usize>| {
            *span = span.start.min(part.start)..span.end.max(part.end);
        };
        match &expr.expr {
            Expr::Call(call) => {
                for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                    include(&mut span, self.span(part));
                }
                if self.text.get(token.clone()) == Some("(") {
                    include(&mut span, self.name_before(token.start, &call.func_name));
                }
            }
            Expr::Select(select) => {
                include(&mut span, self.span(&select.operand));
                span.end = self.end_of_name(span.end);
            }
            Expr::List(list) => {
                for part in &list.elements {
                    include(&mut span, self.span(part));
                }
            }
            Expr::Literal(_) => {
                // The token of a negative number is the number alone.
                let signed = self.text.get(..span.start).is_some_and(|before| before.ends_with('-'));
                let number =
                    self.text.get(span.clone()).is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()));
                let negative = signed && number && is_negative(&expr.expr);
                span.start -= usize::from(negative);
            }
            Expr::Ident(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {}
        }
        balanced(self.text, span)
    }

    /// The bytes of the token by which the parser remembers an expression: an operator, an opening parenthesis, ...
    fn token(&self, expr: &IdedExpr) -> Option<Range<usize>> {
        let (start, last) = self.info.offset_for(expr.id)?;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(last).ok()?.checked_add(1)?);
        (start < end && self.text.is_char_boundary(start) && self.text.is_char_boundary(end)).then_some(start..end)
    }

    /// The bytes of a function's name, which stands before its opening parenthesis.
    pub(super) fn name_span(&self, call: &IdedExpr, name: &str) -> Range<usize> {
        self.token(call).map_or(0..self.text.len(), |token| self.name_before(token.start, name))
    }

    fn name_before(&self, open: usize, name: &str) -> Range<usize> {
        let before = self.text.get(..open).unwrap_or_default().trim_end();
        if before.ends_with(name) { before.len() - name.len()..before.len() } else { open..open + 1 }
    }

    fn end_of_name(&self, dot: usize) -> usize {
        let rest = self.text.get(dot..).unwrap_or_default();
        let name = rest.trim_start();
        let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        dot + (rest.len() - name.len()) + length
    }
}

fn is_negative(expr: &Expr) -> bool {
    use cel::common::ast::LiteralValue;
    match expr {
        Expr::Literal(LiteralValue::Int(x)) => *x.inner() < 0,
        Expr::Literal(LiteralValue::Double(x)) => x.inner().is_sign_negative(),
        _ => false,
    }
}

/// The span grown until its brackets match.
fn balanced(text: &str, mut span: Range<usize>) -> Range<usize> {
    let (mut open, mut closed) = (0usize, 0usize);
    let mut quote = None;
    let mut escaped = false;
    for c in text.get(span.clone()).unwrap_or_default().chars() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => open += 1,
            (None, ')' | ']' | '}') if open > 0 => open -= 1,
            (None, ')' | ']' | '}') => closed += 1,
            (None, _) => {}
        }
    }
    for _ in 0..open {
        let rest = text.get(span.end..).unwrap_or_default();
        let next = rest.trim_start();
        if !next.starts_with([')', ']', '}']) {
            break;
        }
        span.end += rest.len() - next.len() + 1;
    }
    for _ in 0..closed {
        let before = text.get(..span.start).unwrap_or_default().trim_end();
        if !before.ends_with(['(', '[', '{']) {
            break;
        }
        span.start = before.len() - 1;
    }
    span
}

/// Explains what the parser found. Its later errors mostly follow from the first one, so of these only such are kept
/// that say something of their own.
fn explain_all(text: &str, errors: &[ParseError]) -> Vec<ExprError> {
    let mut found: Vec<ExprError> = Vec::new();
    for error in errors {
        let (explained, telling) = explain(text, error);
        let known =
            found.iter().any(|other| other.span.start <= explained.span.start && explained.span.end <= other.span.end);
        if (found.is_empty() || telling) && !known {
            found.push(explained);
        }
    }
    found
}

/// The error in our words, and whether these are more than "not expected here".
fn explain(text: &str, error: &ParseError) -> (ExprError, bool) {
    if error.msg.contains("ecursion limit") {
        let help = "split it into several rules, or use fewer parentheses inside each other";
        let message = "this expression is nested too deeply";
        return (ExprError::new(code::TOO_LARGE, 0..text.len(), message, help), true);
    }
    let at = offset(text, error.pos);
    let rest = text.get(at..).unwrap_or_default();
    let word = first_word(rest);
    let span = at..at + word.len();
    let syntax = |span: Range<usize>, message: String, help: &str| ExprError::new(code::SYNTAX, span, message, help);
    if let Some(name) = error.msg.strip_prefix("reserved identifier: ") {
        let help = format!("a point of this name is written point({:?})", name_around(text, span.clone()));
        return (syntax(span, format!("`{name}` is a reserved word of CEL"), &help), true);
    }
    if error.msg.starts_with("invalid ") && error.msg.contains("literal") {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return (
                syntax(span, format!("`{word}` is too large"), "write large numbers with an exponent: 1e20"),
                true,
            );
        }
        let message = "this text has a backslash that means nothing";
        return (syntax(span, message.to_owned(), "write a backslash as \\\\"), true);
    }
    if let Some((wrong, message, help)) = known_mistake(text, at) {
        return (syntax(wrong, message, help), true);
    }
    if error.msg.contains("missing ')'") {
        return (syntax(at..at, "a `(` has no matching `)`".to_owned(), "add the `)`"), true);
    }
    if rest.trim().is_empty() {
        let end = text.trim_end().len();
        let message = if end == 0 { "there is no expression" } else { "the expression ends too early" };
        let help = "write a whole expression, for example voltage_l1 > 250";
        return (syntax(end..end, message.to_owned(), help), false);
    }
    let help = "an expression is made of points, numbers, texts in quotes, comparisons, &&, ||, ! and parentheses";
    (syntax(span, format!("`{word}` is not expected here"), help), false)
}

/// What people write who come from another language, or from paper: the place, what is wrong, what to do.
fn known_mistake(text: &str, at: usize) -> Option<(Range<usize>, String, &'static str)> {
    let (before, rest) = text.split_at_checked(at)?;
    let word = first_word(rest);
    let span = at..at + word.len();
    let previous = before.trim_end();
    let found = |span: Range<usize>, help: &'static str| {
        let message = format!("`{}` means nothing here", text.get(span.clone()).unwrap_or_default());
        Some((span, message, help))
    };
    match word.to_ascii_lowercase().as_str() {
        "and" => return found(span, "write &&"),
        "or" => return found(span, "write ||"),
        "is" => return found(span, "write =="),
        "in" => return found(span, "write x in [1, 2], or point(\"in\") for a point of this name"),
        _ => {}
    }
    if previous.to_ascii_lowercase().ends_with("not") && last_word(previous).len() == 3 {
        return found(previous.len() - 3..previous.len(), "write !");
    }
    let first = rest.chars().next();
    let one = at..at + first.map_or(0, char::len_utf8);
    match first {
        Some('=') if rest.starts_with("=>") => found(at..at + 2, "write >= for at least"),
        Some('=') if rest.starts_with("=<") => found(at..at + 2, "write <= for at most"),
        Some('=') => found(one, "write == to compare"),
        Some('&') if !rest.starts_with("&&") => found(one, "write &&"),
        Some('|') if !rest.starts_with("||") => found(one, "write ||"),
        Some('>') if before.ends_with('<') => found(at - 1..at + 1, "write != for different"),
        Some('≥') => found(one, "write >="),
        Some('≤') => found(one, "write <="),
        Some('≠') => found(one, "write !="),
        Some('“' | '”' | '‘' | '’' | '＂') => found(one, "write texts in plain quotes: \"open\""),
        Some('，' | '（' | '）' | '＞' | '＜' | '＝') => {
            found(one, "write the plain character, not the full-width one")
        }
        Some('`') => {
            let help = "a point whose name is no identifier is written point(\"name\")";
            Some((one, "a backtick means nothing here".to_owned(), help))
        }
        Some('"' | '\'') => {
            let help = "end it with the same quote, and write a backslash as \\\\";
            Some((at..text.trim_end().len(), "this text has no end".to_owned(), help))
        }
        Some(',') if before.ends_with(|c: char| c.is_ascii_digit()) => found(one, "write decimals with a point: 1.5"),
        Some(c) if c.is_ascii_alphabetic() && before.ends_with(|c: char| c.is_ascii_digit()) => {
            found(span, "write the number without its unit")
        }
        None if previous.ends_with('%') => {
            found(previous.len() - 1..previous.len(), "write the number without its unit")
        }
        _ => None,
    }
}

/// The identifier, number or single character that a text begins with.
fn first_word(text: &str) -> &str {
    let wordlike = |c: char| c.is_alphanumeric() || c == '_';
    let end = text.find(|c: char| !wordlike(c)).unwrap_or(text.len());
    let one = text.chars().next().map_or(0, char::len_utf8);
    text.get(..end.max(one)).unwrap_or_default()
}

/// The longest run of characters of names around a place: `energy-import` around its `import`.
pub(super) fn name_around(text: &str, span: Range<usize>) -> &str {
    let outside = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let before = text.get(..span.start).unwrap_or_default();
    let start = span.start - before.rsplit(outside).next().map_or(0, str::len);
    let rest = text.get(span.end..).unwrap_or_default();
    let end = span.end + rest.find(outside).unwrap_or(rest.len());
    text.get(start..end).unwrap_or_default()
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The byte at a line and a column, both from 1; the parser counts characters.
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let (Ok(line), Ok(column)) = (usize::try_from(line - 1), usize::try_from(column - 1)) else { return 0 };
    let mut start = 0;
    for (number, content) in text.split_inclusive('\n').enumerate() {
        if number == line {
            return start + content.char_indices().nth(column).map_or(content.len(), |(at, _)| at);
        }
        start += content.len();
    }
    text.len()
}
