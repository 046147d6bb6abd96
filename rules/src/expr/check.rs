//! From what was written to what it means: the whole parsed expression is walked, names and types are checked, and every
//! mistake is noted.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use gatehouse_core::DeviceIx;

use super::error::{ExprError, code};
use super::nearest::suggestion;
use super::source::Source;
use super::tree::{Arithmetic, Flag, Node, Number, Order, Text};
use crate::Catalog;
use crate::words::Mode;

/// Deepest nesting: evaluation recurses that far.
const DEEPEST: usize = 200;

/// What the quality of a point can be.
pub(super) const QUALITIES: [&str; 3] = ["good", "stale", "bad"];

/// What the mode of the site can be.
const MODES: [&str; 3] = [Mode::Online.as_str(), Mode::Degraded.as_str(), Mode::Recovering.as_str()];

/// Checks one expression. Methods that compile a part give `None` once its mistake is noted.
pub(super) struct Check<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) catalog: &'a Catalog,
    pub(super) own: Option<DeviceIx>,
    errors: Vec<ExprError>,
    depth: usize,
}

/// Compiles an expression of any type.
pub(super) fn compile(text: &str, catalog: &Catalog, own: Option<DeviceIx>) -> Result<Node, Vec<ExprError>> {
    let source = Source::parse(text)?;
    let mut check = Check { source: &source, catalog, own, errors: Vec::new(), depth: 0 };
    let node = check.node(&source.expr);
    check.finish(node)
}

/// Compiles an expression that is true or false.
pub(super) fn condition(text: &str, catalog: &Catalog, own: Option<DeviceIx>) -> Result<Flag, Vec<ExprError>> {
    let source = Source::parse(text)?;
    let mut check = Check { source: &source, catalog, own, errors: Vec::new(), depth: 0 };
    let flag = match check.node(&source.expr) {
        Some(Node::Flag(flag)) => Some(flag),
        Some(other) => check.not_a_condition("a condition is true or false", &source.expr, &other),
        None => None,
    };
    check.finish(flag)
}

impl Check<'_> {
    fn finish<T>(mut self, compiled: Option<T>) -> Result<T, Vec<ExprError>> {
        self.errors.sort_by_key(|error| error.span.start);
        match compiled {
            Some(compiled) if self.errors.is_empty() => Ok(compiled),
            _ => Err(self.errors),
        }
    }

    pub(super) fn error<T>(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<T> {
        self.errors.push(ExprError::new(code, span, message, help));
        None
    }

    /// True when a mistake is noted whose place covers this one.
    pub(super) fn is_covered(&self, span: &Range<usize>) -> bool {
        self.errors.iter().any(|error| error.span.start <= span.start && span.end <= error.span.end)
    }

    /// What was written, in quotes and shortened.
    pub(super) fn written(&self, expr: &IdedExpr) -> String {
        const MOST: usize = 40;
        let text = self.source.text.get(self.source.span(expr)).unwrap_or_default();
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("`{}...`", text.get(..end).unwrap_or_default()),
            None => format!("`{text}`"),
        }
    }

    pub(super) fn node(&mut self, expr: &IdedExpr) -> Option<Node> {
        if self.depth == DEEPEST {
            let help = "split it into several rules";
            return self.error(code::TOO_LARGE, self.source.span(expr), "this expression is nested too deeply", help);
        }
        self.depth += 1;
        let node = self.node_at_depth(expr);
        self.depth -= 1;
        node
    }

    fn node_at_depth(&mut self, expr: &IdedExpr) -> Option<Node> {
        let span = || self.source.span(expr);
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(name) => self.ident(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) if call.target.is_none() => match self.operator(expr, call) {
                Some(node) => node,
                None => self.function(expr, call),
            },
            Expr::Call(call) => self.function(expr, call),
            Expr::List(_) => {
                let help = "for example: mode in [\"degraded\", \"recovering\"]";
                self.error(code::UNSUPPORTED, span(), "a list can only stand after `in`", help)
            }
            Expr::Map(_) | Expr::Struct(_) => {
                let message = "rules have no maps and messages: `{` and `}` mean nothing here";
                self.error(code::UNSUPPORTED, span(), message, "use ( and ) to group")
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                self.error(code::UNSUPPORTED, span(), "this part of CEL cannot be used in rules", "")
            }
        }
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Option<Node> {
        #[expect(clippy::cast_precision_loss, reason = "every number of a rule is a double, as its points are")]
        match literal {
            LiteralValue::Boolean(on) => Some(Node::Flag(Flag::Const(*on.inner()))),
            LiteralValue::Int(x) => Some(Node::Number(Number::Const(*x.inner() as f64))),
            LiteralValue::UInt(x) => Some(Node::Number(Number::Const(*x.inner() as f64))),
            LiteralValue::Double(x) => Some(Node::Number(Number::Const(*x.inner()))),
            LiteralValue::String(text) => Some(Node::Text(Text::Const(text.inner().into()))),
            LiteralValue::Null => {
                let help = "has(x) tells whether the point x has a value now";
                self.error(code::UNSUPPORTED, self.source.span(expr), "no point is ever null", help)
            }
            LiteralValue::Bytes(_) => {
                let help = "write a text: without the b before its quotes";
                self.error(code::UNSUPPORTED, self.source.span(expr), "rules have no bytes", help)
            }
        }
    }

    /// Compiles an operator; the outer `None` is a call that is none.
    fn operator(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Option<Node>> {
        let node = match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => {
                self.flag(inner, "`!` turns a condition round").map(Flag::not).map(Node::Flag)
            }
            (operators::LOGICAL_AND, [a, b]) => self.logic("`&&`", a, b, Flag::all),
            (operators::LOGICAL_OR, [a, b]) => self.logic("`||`", a, b, Flag::any),
            (operators::CONDITIONAL, [condition, then, otherwise]) => self.choice(expr, condition, then, otherwise),
            (operators::NEGATE, [inner]) => self.negative(expr, inner),
            (operators::ADD, [a, b]) => self.arithmetic(expr, Arithmetic::Add, a, b),
            (operators::SUBSTRACT, [a, b]) => self.arithmetic(expr, Arithmetic::Subtract, a, b),
            (operators::MULTIPLY, [a, b]) => self.arithmetic(expr, Arithmetic::Multiply, a, b),
            (operators::DIVIDE, [a, b]) => self.arithmetic(expr, Arithmetic::Divide, a, b),
            (operators::LESS, [a, b]) => self.comparison(expr, Order::Less, a, b),
            (operators::LESS_EQUALS, [a, b]) => self.comparison(expr, Order::LessOrEqual, a, b),
            (operators::EQUALS, [a, b]) => self.comparison(expr, Order::Equal, a, b),
            (operators::NOT_EQUALS, [a, b]) => self.comparison(expr, Order::NotEqual, a, b),
            (operators::GREATER_EQUALS, [a, b]) => self.comparison(expr, Order::GreaterOrEqual, a, b),
            (operators::GREATER, [a, b]) => self.comparison(expr, Order::Greater, a, b),
            (operators::IN, [needle, list]) => self.membership(needle, list),
            (operators::MODULO, [a, b]) => {
                self.node(a);
                self.node(b);
                let help = "a bit of a status word is a point of its own: give it one in the device's profile";
                self.error(
                    code::UNSUPPORTED,
                    self.source.span(expr),
                    "`%` is not there: numbers are not integers",
                    help,
                )
            }
            (operators::INDEX | operators::OPT_INDEX, [list, index]) => {
                self.node(list);
                self.node(index);
                let message = "points have no parts: `[` and `]` mean nothing here";
                self.error(code::UNSUPPORTED, self.source.span(expr), message, "")
            }
            (operators::OPT_SELECT, [whole, _]) => {
                let message = "points have no parts: `.?` means nothing here";
                self.error(
                    code::UNSUPPORTED,
                    self.source.span(whole),
                    message,
                    "has(x) tells whether x has a value now",
                )
            }
            _ => return None,
        };
        Some(node)
    }

    /// A part that has to be true or false, and what needs it.
    fn flag(&mut self, expr: &IdedExpr, needed: &str) -> Option<Flag> {
        match self.node(expr)? {
            Node::Flag(flag) => Some(flag),
            other => self.not_a_condition(needed, expr, &other),
        }
    }

    fn not_a_condition<T>(&mut self, needed: &str, expr: &IdedExpr, node: &Node) -> Option<T> {
        let written = self.written(expr);
        let bare = bare(&written);
        let help = match node {
            Node::Number(Number::Const(_)) => "a condition that is always so is written true or false".to_owned(),
            Node::Number(_) => format!("compare it, for example {bare} > 0"),
            Node::Text(_) => format!("compare it, for example {bare} == \"open\""),
            Node::Flag(_) => String::new(),
        };
        let message = format!("{needed}, and {written} is {}", node.kind());
        self.error(code::WRONG_TYPE, self.source.span(expr), message, help)
    }

    fn logic(&mut self, sign: &str, a: &IdedExpr, b: &IdedExpr, join: fn(Flag, Flag) -> Flag) -> Option<Node> {
        let needed = format!("{sign} joins conditions");
        let (a, b) = (self.flag(a, &needed), self.flag(b, &needed));
        Some(Node::Flag(join(a?, b?)))
    }

    fn choice(&mut self, expr: &IdedExpr, condition: &IdedExpr, then: &IdedExpr, otherwise: &IdedExpr) -> Option<Node> {
        let flag = self.flag(condition, "before `?` stands a condition");
        let (a, b) = (self.node(then), self.node(otherwise));
        let (flag, a, b) = (flag?, a?, b?);
        match (a, b) {
            (Node::Flag(a), Node::Flag(b)) => Some(Node::Flag(Flag::choose(flag, a, b))),
            (Node::Number(a), Node::Number(b)) => Some(Node::Number(Number::choose(flag, a, b))),
            (Node::Text(a), Node::Text(b)) => Some(Node::Text(Text::choose(flag, a, b))),
            (a, b) => {
                let message = format!(
                    "{} is {} and {} is {}: both sides of `:` have one type",
                    self.written(then),
                    a.kind(),
                    self.written(otherwise),
                    b.kind()
                );
                self.error(code::WRONG_TYPE, self.source.span(expr), message, "")
            }
        }
    }

    fn negative(&mut self, expr: &IdedExpr, inner: &IdedExpr) -> Option<Node> {
        match self.node(inner)? {
            Node::Number(number) => Some(Node::Number(Number::negative(number))),
            other => {
                let message = format!("`-` needs a number, and {} is {}", self.written(inner), other.kind());
                self.error(code::WRONG_TYPE, self.source.span(expr), message, "")
            }
        }
    }

    fn arithmetic(&mut self, expr: &IdedExpr, how: Arithmetic, a: &IdedExpr, b: &IdedExpr) -> Option<Node> {
        let (left, right) = (self.node(a), self.node(b));
        match (left?, right?) {
            (Node::Number(a), Node::Number(b)) => Some(Node::Number(Number::sum(how, a, b))),
            (Node::Text(a), Node::Text(b)) if how == Arithmetic::Add => Some(Node::Text(Text::join(a, b))),
            (left, right) => {
                let needed = if how == Arithmetic::Add { "two numbers or two texts" } else { "two numbers" };
                let message = format!("`{}` needs {needed}: {}", how.sign(), self.both(a, &left, b, &right));
                let help = match (&left, &right) {
                    (Node::Flag(_), _) | (_, Node::Flag(_)) => "a condition counts as a number by: (condition ? 1 : 0)",
                    (Node::Text(_), Node::Text(_)) => "texts are joined with + and compared with ==, < and so on",
                    _ => "a text is no number; in a message, values stand one after the other: {a} {b}",
                };
                self.error(code::WRONG_TYPE, self.source.span(expr), message, help)
            }
        }
    }

    fn comparison(&mut self, expr: &IdedExpr, order: Order, a: &IdedExpr, b: &IdedExpr) -> Option<Node> {
        let (left, right) = (self.node(a), self.node(b));
        let equality = matches!(order, Order::Equal | Order::NotEqual);
        match (left?, right?) {
            (Node::Number(a), Node::Number(b)) => Some(Node::Flag(Flag::numbers(order, a, b))),
            (Node::Text(left), Node::Text(right)) => {
                self.expect_word(&left, &right, b)?;
                self.expect_word(&right, &left, a)?;
                Some(Node::Flag(Flag::texts(order, left, right)))
            }
            (Node::Flag(a), Node::Flag(b)) if equality => Some(Node::Flag(Flag::same(order, a, b))),
            (left, right) => {
                let needed = if equality { "two values of one type" } else { "two numbers or two texts" };
                let message = format!("`{}` compares {needed}: {}", order.sign(), self.both(a, &left, b, &right));
                let help = self.comparison_help(a, &left, b, &right);
                self.error(code::WRONG_TYPE, self.source.span(expr), message, help)
            }
        }
    }

    fn comparison_help(&self, a: &IdedExpr, left: &Node, b: &IdedExpr, right: &Node) -> String {
        let flag = match (left, right) {
            (Node::Flag(_), _) => Some(a),
            (_, Node::Flag(_)) => Some(b),
            _ => None,
        };
        if let Some(flag) = flag {
            let written = self.written(flag);
            let bare = bare(&written);
            return format!("a condition stands alone: {bare}, or !{bare}");
        }
        match (left, right) {
            (Node::Text(Text::Const(text)), _) | (_, Node::Text(Text::Const(text))) if text.parse::<f64>().is_ok() => {
                format!("write {text} without quotes")
            }
            (Node::Number(_), _) => format!("compare {} with a number", self.written(a)),
            _ => format!("compare {} with a text in quotes", self.written(a)),
        }
    }

    fn both(&self, a: &IdedExpr, left: &Node, b: &IdedExpr, right: &Node) -> String {
        if left.kind() == right.kind() {
            return format!("{} and {} are each {}", self.written(a), self.written(b), left.kind());
        }
        format!("{} is {} and {} is {}", self.written(a), left.kind(), self.written(b), right.kind())
    }

    fn membership(&mut self, needle: &IdedExpr, list: &IdedExpr) -> Option<Node> {
        let left = self.node(needle);
        let Expr::List(items) = &list.expr else {
            let message = format!("after `in` stands a list, and {} is none", self.written(list));
            return self.error(code::WRONG_TYPE, self.source.span(list), message, "for example: x in [1, 2, 5]");
        };
        let nodes: Vec<Option<Node>> = items.elements.iter().map(|item| self.node(item)).collect();
        let left = left?;
        let (mut flags, mut numbers, mut texts, mut sound) = (Vec::new(), Vec::new(), Vec::new(), true);
        for (item, node) in items.elements.iter().zip(nodes) {
            match (&left, node) {
                (Node::Flag(_), Some(Node::Flag(flag))) => flags.push(flag),
                (Node::Number(_), Some(Node::Number(number))) => numbers.push(number),
                (Node::Text(text), Some(Node::Text(other))) => {
                    sound &= self.expect_word(text, &other, item).is_some();
                    texts.push(other);
                }
                (_, Some(other)) => {
                    sound = false;
                    let both = self.both(needle, &left, item, &other);
                    let span = self.source.span(item);
                    self.error::<()>(code::WRONG_TYPE, span, format!("`in` looks for one type: {both}"), "");
                }
                (_, None) => sound = false,
            }
        }
        sound.then(|| {
            Node::Flag(match left {
                Node::Flag(needle) => Flag::among_flags(needle, flags),
                Node::Number(needle) => Flag::among_numbers(needle, numbers),
                Node::Text(needle) => Flag::among_texts(needle, texts),
            })
        })
    }

    /// Notes a mistake where a mode or a quality is compared with a word that it never is.
    fn expect_word(&mut self, text: &Text, other: &Text, place: &IdedExpr) -> Option<()> {
        let (what, words) = match text {
            Text::Mode => ("the mode", MODES),
            Text::Quality(..) => ("a quality", QUALITIES),
            Text::Const(_) | Text::Point(_) | Text::Join(_) | Text::If(_) => return Some(()),
        };
        match other {
            Text::Const(word) if !words.contains(&&**word) => {
                let help = match self.own().and_then(|(_, device)| device.point_by_name("mode")) {
                    Some(_) if *text == Text::Mode => "the point of this name is written point(\"mode\")".to_owned(),
                    _ => suggestion(word, words, |word| format!("{word:?}")),
                };
                let message = format!("{what} is never {word:?}");
                self.error(code::UNKNOWN_WORD, self.source.span(place), message, help)
            }
            Text::Const(_) | Text::Point(_) | Text::Quality(..) | Text::Mode | Text::Join(_) | Text::If(_) => Some(()),
        }
    }
}

/// What was written, as part of an example: in parentheses unless it is one name or call.
fn bare(written: &str) -> String {
    let bare = written.trim_matches('`');
    if bare.contains(' ') { format!("({bare})") } else { bare.to_owned() }
}

impl Node {
    /// The type, as messages say it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Flag(_) => "true or false",
            Node::Number(_) => "a number",
            Node::Text(_) => "a text",
        }
    }
}

impl Order {
    fn sign(self) -> &'static str {
        match self {
            Order::Less => "<",
            Order::LessOrEqual => "<=",
            Order::Equal => "==",
            Order::NotEqual => "!=",
            Order::GreaterOrEqual => ">=",
            Order::Greater => ">",
        }
    }
}

impl Arithmetic {
    fn sign(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
        }
    }
}
