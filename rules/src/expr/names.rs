//! Names in expressions: points, devices, labels and functions.

use std::ops::Range;
use std::time::Duration;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use gatehouse_core::{DeviceIx, Kind};

use super::check::Check;
use super::error::code;
use super::nearest::{nearest, suggestion};
use super::source::name_around;
use super::tree::{Flag, Node, Number, Place, Text};
use crate::{CatalogDevice, PointRef};

/// Every function, and how it is written.
const FUNCTIONS: [(&str, &str); 12] = [
    ("age", "age(\"point\") or age(\"device\", \"point\")"),
    ("contains", "text.contains(\"part\")"),
    ("device", "device(\"device\").point"),
    ("endsWith", "text.endsWith(\"part\")"),
    ("has", "has(point)"),
    ("label", "label(\"floor\")"),
    ("online", "online() or online(\"device\")"),
    ("point", "point(\"point\")"),
    ("quality", "quality(\"point\") or quality(\"device\", \"point\")"),
    ("size", "size(text)"),
    ("startsWith", "text.startsWith(\"part\")"),
    ("value", "value(\"device\", \"point\")"),
];

/// A reading is good for this many intervals,
const GOOD_INTERVALS: u32 = 3;

/// and at least for this long.
const GOOD_AT_LEAST: Duration = Duration::from_secs(10);

impl<'a> Check<'a> {
    pub(super) fn ident(&mut self, expr: &IdedExpr, name: &str) -> Option<Node> {
        let span = self.source.span(expr);
        if name == "mode" {
            return Some(Node::Text(Text::Mode));
        }
        if self.is_covered(&span) {
            return None;
        }
        if name == "device" {
            let help = "write device.id, device.title or device(\"meter-101\").voltage";
            return self.error(code::UNSUPPORTED, span, "`device` alone is no value", help);
        }
        let Some((ix, device)) = self.own() else {
            let message = format!("`{name}` could only be a point of the rule's own device, and this rule has none");
            return self.error(code::NO_DEVICE, span, message, "write value(\"device\", \"point\")");
        };
        if let Some((point, found)) = device.point_by_name(name) {
            return Some(Node::of(PointRef { device: ix, point }, found.kind));
        }
        self.unknown_ident(span, name, device)
    }

    fn unknown_ident<T>(&mut self, span: Range<usize>, name: &str, device: &CatalogDevice) -> Option<T> {
        let rest = self.source.text.get(span.start..).unwrap_or_default();
        let longer = device.points.iter().map(|point| point.name.as_str()).filter(|point| {
            let ends =
                rest.get(point.len()..).is_none_or(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
            point.len() > name.len() && rest.starts_with(point) && ends
        });
        if let Some(point) = longer.max_by_key(|point| point.len()) {
            let span = span.start..span.start + point.len();
            let message = format!("`{point}` is a point of {}, but CEL does not read it as one name", device.id);
            return self.error(code::UNKNOWN_POINT, span, message, format!("write point({point:?})"));
        }
        if FUNCTIONS.iter().any(|(function, _)| *function == name) {
            let message = format!("`{name}` is a function");
            return self.error(code::ARGUMENTS, span, message, format!("write {}", usage(name)));
        }
        let message = format!("{} has no point `{name}`", device.id);
        let whole = name_around(self.source.text, span.clone());
        let help = match self.catalog.device_by_id(whole) {
            Some(_) => format!("a point of the device {whole} is written value({whole:?}, \"point\")"),
            None => {
                let known = device.points.iter().map(|point| point.name.as_str()).chain(["mode"]);
                suggestion(name, known, as_expression)
            }
        };
        self.error(code::UNKNOWN_POINT, span, message, help)
    }

    pub(super) fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Option<Node> {
        let span = self.source.span(expr);
        match &select.operand.expr {
            Expr::Ident(name) if name == "device" => self.own_property(span, &select.field),
            Expr::Call(call) if call.target.is_none() && call.func_name == "device" => {
                let [device] = self.texts(&select.operand, call)?;
                let field = span.end.saturating_sub(select.field.len())..span.end;
                let at = self.point_of(Some(device), (&select.field, field))?;
                self.point_node(at)
            }
            _ => {
                let dotted = self.source.text.get(span.clone()).unwrap_or_default();
                let is_point = self.own().is_some_and(|(_, device)| device.point_by_name(dotted).is_some());
                let help = if is_point { format!("write point({dotted:?})") } else { String::new() };
                let message = format!("`.{}` means nothing here: points have no parts", select.field);
                self.error(code::UNSUPPORTED, span, message, help)
            }
        }
    }

    /// `device.id` and `device.title`.
    fn own_property(&mut self, span: Range<usize>, field: &str) -> Option<Node> {
        let Some((_, device)) = self.own() else {
            let message = "this rule has no device of its own";
            return self.error(code::NO_DEVICE, span, message, "write the name as a text in quotes");
        };
        let text = match field {
            "id" => device.id.as_str(),
            // People still have to see which device it is.
            "title" if device.title.is_empty() => device.id.as_str(),
            "title" => device.title.as_str(),
            _ => {
                let help = "write device.id or device.title; a label is written label(\"floor\"), a point by its name";
                return self.error(code::UNKNOWN_POINT, span, format!("a device has no `{field}`"), help);
            }
        };
        Some(Node::Text(Text::Const(text.into())))
    }

    pub(super) fn function(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
        match (call.func_name.as_str(), &call.target) {
            ("startsWith", Some(text)) => self.part(expr, call, Place::Start, text),
            ("endsWith", Some(text)) => self.part(expr, call, Place::End, text),
            ("contains", Some(text)) => self.part(expr, call, Place::Anywhere, text),
            ("size", Some(text)) if call.args.is_empty() => self.size(text),
            ("size", None) if call.args.len() == 1 => call.args.first().and_then(|text| self.size(text)),
            ("has", None) => self.has(expr, call),
            ("label", None) => self.label(expr, call),
            ("online", None) => self.online(expr, call),
            ("point", None) => {
                let [point] = self.texts(expr, call)?;
                let at = self.point_of(None, point)?;
                self.point_node(at)
            }
            ("value", None) => {
                let [device, point] = self.texts(expr, call)?;
                let at = self.point_of(Some(device), point)?;
                self.point_node(at)
            }
            ("age", None) => Some(Node::Number(Number::Age(self.own_or_other(expr, call)?))),
            ("quality", None) => {
                let at = self.own_or_other(expr, call)?;
                let interval = self.catalog.point(at)?.interval;
                Some(Node::Text(Text::Quality(at, interval.saturating_mul(GOOD_INTERVALS).max(GOOD_AT_LEAST))))
            }
            ("device", None) => {
                let help = format!("write {}", usage("device"));
                self.error(code::UNSUPPORTED, self.source.span(expr), "a device alone is no value", help)
            }
            _ => self.unknown_function(expr, call),
        }
    }

    fn unknown_function(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
        let name = call.func_name.as_str();
        let macros = matches!(name, "all" | "exists" | "exists_one" | "map" | "filter");
        // What stands inside may be mistaken too; the variables of a macro would only be reported as unknown points.
        for part in call.target.iter().map(|target| &**target).chain(&call.args).filter(|_| !macros) {
            self.node(part);
        }
        let span = self.source.name_span(expr, name);
        if FUNCTIONS.iter().any(|(function, _)| *function == name) {
            return self.error(
                code::ARGUMENTS,
                span,
                format!("`{name}` is not written so"),
                format!("write {}", usage(name)),
            );
        }
        let help = match name {
            _ if macros => "a point has one value: there is no list to walk over".to_owned(),
            "double" | "int" | "uint" => "leave it out: numbers need no conversion".to_owned(),
            "matches" => "use startsWith, endsWith or contains".to_owned(),
            "timestamp" | "duration" | "now" => "age(\"point\") gives seconds since the last value".to_owned(),
            _ => match nearest(name, FUNCTIONS.iter().map(|(function, _)| *function)) {
                Some(near) => format!("did you mean {}?", usage(near)),
                None => format!("there are {}", FUNCTIONS.map(|(function, _)| function).join(", ")),
            },
        };
        self.error(code::UNKNOWN_FUNCTION, span, format!("there is no function `{name}`"), help)
    }

    fn part(&mut self, expr: &IdedExpr, call: &CallExpr, place: Place, whole: &IdedExpr) -> Option<Node> {
        let name = call.func_name.as_str();
        let left = self.node(whole);
        let [inner] = call.args.as_slice() else { return self.wrong_count(expr, call) };
        let right = self.node(inner);
        let (left, right) = (left?, right?);
        let mut text = |written: &IdedExpr, node: Node| match node {
            Node::Text(text) => Some(text),
            other => {
                let message = format!("`{name}` needs texts, and {} is {}", self.written(written), other.kind());
                self.error(code::WRONG_TYPE, self.source.span(written), message, "write a text in quotes")
            }
        };
        let (left, right) = (text(whole, left), text(inner, right));
        Some(Node::Flag(Flag::part(place, left?, right?)))
    }

    fn size(&mut self, text: &IdedExpr) -> Option<Node> {
        match self.node(text)? {
            Node::Text(text) => Some(Node::Number(Number::size(text))),
            other => {
                let message =
                    format!("`size` counts the characters of a text, and {} is {}", self.written(text), other.kind());
                self.error(code::WRONG_TYPE, self.source.span(text), message, "")
            }
        }
    }

    fn has(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
        let [inner] = call.args.as_slice() else { return self.wrong_count(expr, call) };
        match self.node(inner)? {
            Node::Flag(Flag::Point(at)) | Node::Number(Number::Point(at)) | Node::Text(Text::Point(at)) => {
                Some(Node::Flag(Flag::Has(at)))
            }
            Node::Flag(_) | Node::Number(_) | Node::Text(_) => {
                let message =
                    format!("`has` tells whether a point has a value, and {} is no point", self.written(inner));
                self.error(code::ARGUMENTS, self.source.span(inner), message, "write has(point)")
            }
        }
    }

    fn label(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
        let [(label, span)] = self.texts(expr, call)?;
        let Some((_, device)) = self.own() else {
            let message = "this rule has no device of its own, so that it has no labels";
            return self.error(code::NO_DEVICE, span, message, "write the place as a text in quotes");
        };
        if let Some(text) = device.labels.get(label) {
            return Some(Node::Text(Text::Const(text.as_str().into())));
        }
        let mut known: Vec<&str> =
            self.catalog.devices.iter().flat_map(|device| device.labels.keys()).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        if known.contains(&label) {
            return Some(Node::Text(Text::Const("".into())));
        }
        let help = suggestion(label, known.iter().copied(), |label| format!("{label:?}"));
        self.error(code::UNKNOWN_LABEL, span, format!("no device of this site has a label {label:?}"), help)
    }

    fn online(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
        let ix = if call.args.is_empty() {
            match self.own() {
                Some((ix, _)) => ix,
                None => {
                    let message = "this rule has no device of its own";
                    return self.error(code::NO_DEVICE, self.source.span(expr), message, "write online(\"device\")");
                }
            }
        } else {
            let [device] = self.texts(expr, call)?;
            self.device(device)?.0
        };
        Some(Node::Flag(Flag::Online(ix)))
    }

    /// The point of `f("point")` or `f("device", "point")`.
    fn own_or_other(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<PointRef> {
        if call.args.len() == 1 {
            let [point] = self.texts(expr, call)?;
            return self.point_of(None, point);
        }
        let [device, point] = self.texts(expr, call)?;
        self.point_of(Some(device), point)
    }

    /// The arguments, which have to be so many literal texts, with their places.
    fn texts<'c, const N: usize>(
        &mut self,
        expr: &IdedExpr,
        call: &'c CallExpr,
    ) -> Option<[(&'c str, Range<usize>); N]> {
        if call.args.len() != N {
            return self.wrong_count(expr, call);
        }
        let mut found = Vec::with_capacity(N);
        for arg in &call.args {
            let span = self.source.span(arg);
            match &arg.expr {
                Expr::Literal(LiteralValue::String(text)) => found.push((text.inner(), span)),
                _ => {
                    let message =
                        format!("`{}` takes names as texts in quotes, not {}", call.func_name, self.written(arg));
                    let help = format!("write {}", usage(&call.func_name));
                    self.error::<()>(code::ARGUMENTS, span, message, help);
                }
            }
        }
        found.try_into().ok()
    }

    fn wrong_count<T>(&mut self, expr: &IdedExpr, call: &CallExpr) -> Option<T> {
        let name = call.func_name.as_str();
        let given = match call.args.len() {
            1 => "1 argument".to_owned(),
            count => format!("{count} arguments"),
        };
        let message = format!("`{name}` does not take {given}");
        self.error(code::ARGUMENTS, self.source.span(expr), message, format!("write {}", usage(name)))
    }

    /// The rule's own device.
    pub(super) fn own(&self) -> Option<(DeviceIx, &'a CatalogDevice)> {
        let ix = self.own?;
        Some((ix, self.catalog.device(ix)?))
    }

    fn device(&mut self, (id, span): (&str, Range<usize>)) -> Option<(DeviceIx, &'a CatalogDevice)> {
        let catalog = self.catalog;
        if let Some(found) = catalog.device_by_id(id) {
            return Some(found);
        }
        let help = suggestion(id, catalog.devices.iter().map(|device| device.id.as_str()), |id| format!("{id:?}"));
        self.error(code::UNKNOWN_DEVICE, span, format!("there is no device {id:?}"), help)
    }

    /// A point by the names of its device, or of the own one, and itself.
    fn point_of(
        &mut self,
        device: Option<(&str, Range<usize>)>,
        (point, span): (&str, Range<usize>),
    ) -> Option<PointRef> {
        let (ix, device) = match device {
            Some(named) => self.device(named)?,
            None => match self.own() {
                Some(own) => own,
                None => {
                    let message =
                        format!("{point:?} would be a point of the rule's own device, and this rule has none");
                    return self.error(
                        code::NO_DEVICE,
                        span,
                        message,
                        "name the device first: (\"device\", \"point\")",
                    );
                }
            },
        };
        if let Some((point, _)) = device.point_by_name(point) {
            return Some(PointRef { device: ix, point });
        }
        let known = device.points.iter().map(|point| point.name.as_str());
        let help = match self.catalog.device_by_id(point) {
            Some(_) if nearest(point, known.clone()).is_none() => format!("the device {point} needs its point too"),
            _ => suggestion(point, known, |name| format!("{name:?}")),
        };
        self.error(code::UNKNOWN_POINT, span, format!("{} has no point {point:?}", device.id), help)
    }

    fn point_node(&self, at: PointRef) -> Option<Node> {
        Some(Node::of(at, self.catalog.point(at)?.kind))
    }
}

impl Node {
    fn of(at: PointRef, kind: Kind) -> Node {
        match kind {
            Kind::Bool => Node::Flag(Flag::Point(at)),
            Kind::Decimal { .. } | Kind::FreeDecimal | Kind::F32 | Kind::F64 => Node::Number(Number::Point(at)),
            Kind::Text => Node::Text(Text::Point(at)),
        }
    }
}

/// How a function is written; `""` for what is none.
fn usage(function: &str) -> &'static str {
    FUNCTIONS.iter().find(|(name, _)| *name == function).map_or("", |(_, usage)| usage)
}

/// A point of the own device as it is written in an expression.
fn as_expression(point: &str) -> String {
    let plain = point.starts_with(|c: char| c.is_ascii_alphabetic())
        && point.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { point.to_owned() } else { format!("point({point:?})") }
}
