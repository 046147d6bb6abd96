//! What is wrong with an expression, where, and what to write instead.

use std::ops::Range;

/// One mistake in an expression or a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// The bytes of the source that it is about.
    pub span: Range<usize>,
    /// A stable code: one of [`code`].
    pub code: &'static str,
    /// What is wrong, for an installer.
    pub message: String,
    /// What to do; `""` for nothing more to say.
    pub help: String,
}

/// The stable codes of [`ExprError`].
pub mod code {
    /// The text is no CEL expression, or a template's braces do not match.
    pub const SYNTAX: &str = "gatehouse::expr::syntax";
    /// The expression is too long or too deeply nested.
    pub const TOO_LARGE: &str = "gatehouse::expr::too_large";
    /// The device has no such point.
    pub const UNKNOWN_POINT: &str = "gatehouse::expr::unknown_point";
    /// The site has no such device.
    pub const UNKNOWN_DEVICE: &str = "gatehouse::expr::unknown_device";
    /// No device of the site has such a label.
    pub const UNKNOWN_LABEL: &str = "gatehouse::expr::unknown_label";
    /// There is no such function.
    pub const UNKNOWN_FUNCTION: &str = "gatehouse::expr::unknown_function";
    /// A mode or a quality is compared with a word that it never is.
    pub const UNKNOWN_WORD: &str = "gatehouse::expr::unknown_word";
    /// The expression has no device of its own, and names something of it.
    pub const NO_DEVICE: &str = "gatehouse::expr::no_device";
    /// A function has the wrong arguments.
    pub const ARGUMENTS: &str = "gatehouse::expr::arguments";
    /// An operand or the result has the wrong type.
    pub const WRONG_TYPE: &str = "gatehouse::expr::wrong_type";
    /// A part of CEL that makes no sense for points.
    pub const UNSUPPORTED: &str = "gatehouse::expr::unsupported";
    /// The condition depends on nothing and has no result.
    pub const ALWAYS_FAILS: &str = "gatehouse::expr::always_fails";
}

impl ExprError {
    pub(super) fn new(
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        ExprError { span, code, message: message.into(), help: help.into() }
    }
}
