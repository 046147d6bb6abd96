//! A profile file: its keys, and what they must satisfy together.

use std::fmt;
use std::ops::Range;

use gatehouse_core::Name;
use toml::de::DeTable;

use super::command_keys::parse_command;
use super::keys::{KeyError, Keys, Rule, line_and_column};
use super::points::{TABLES, parse_point};
use super::{Defaults, Limits, Profile};
use crate::cjt188::{Traits, read_traits};
use crate::modbus::point::{ModbusPoint, Table};
use crate::point::{PROTOCOLS, PointSpec, Protocol};

/// One mistake in a profile file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// The file as its reader named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The mistake and the bytes that are meant.
    pub error: KeyError,
}

impl ProfileError {
    /// The stable code of the mistake, for example `gatehouse::profile::unknown_key`.
    pub fn code(&self) -> String {
        format!("gatehouse::profile::{}", self.error.rule.as_str())
    }

    fn new(file: &str, text: &str, error: KeyError) -> Self {
        let (line, column) = line_and_column(text, error.span.start);
        ProfileError { file: file.to_owned(), line, column, error }
    }
}

impl std::error::Error for ProfileError {}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.error.message)?;
        if self.error.help.is_empty() { Ok(()) } else { write!(f, " ({})", self.error.help) }
    }
}

impl Profile {
    /// Reads a profile. Its name is the file's name without folder and `.toml`; no file is read here.
    ///
    /// # Errors
    /// Every mistake of the text, in the order of the file.
    pub fn parse(file_name: &str, text: &str) -> Result<Profile, Vec<ProfileError>> {
        let located = |errors: Vec<KeyError>| {
            let mut errors: Vec<_> =
                errors.into_iter().map(|error| ProfileError::new(file_name, text, error)).collect();
            errors.sort_by_key(|error| error.error.span.start);
            errors
        };
        let base = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        let name = Name::new(base.strip_suffix(".toml").unwrap_or(base)).map_err(|why| {
            let message = format!("the file's name gives the profile's name, and {base:?} cannot: {why}");
            located(vec![KeyError { rule: Rule::BadValue, message, help: String::new(), span: 0..0 }])
        })?;
        let (table, broken) = DeTable::parse_recoverable(text);
        if !broken.is_empty() {
            return Err(located(broken.iter().map(syntax_error).collect()));
        }
        read_profile(name, table.get_ref()).map_err(located)
    }
}

fn syntax_error(error: &toml::de::Error) -> KeyError {
    KeyError {
        rule: Rule::Syntax,
        message: error.message().to_owned(),
        help: "the text is not TOML".to_owned(),
        span: error.span().unwrap_or(0..0),
    }
}

fn read_profile(name: Name, table: &DeTable<'_>) -> Result<Profile, Vec<KeyError>> {
    let mut keys = Keys::new(table, 0..0);
    let mut profile = Profile {
        name,
        vendor: keys.required_text("vendor", "who makes the device"),
        model: keys.required_text("model", "the model as printed on the device"),
        category: keys.required_text("category", "what it is, for example \"electricity_meter_3p\""),
        protocol: keys.choice("protocol", &PROTOCOLS).map(|found| found.value).unwrap_or_default(),
        defaults: Defaults::default(),
        limits: Limits::default(),
        meter: Traits::default(),
        points: Vec::new(),
        commands: Vec::new(),
        notes: keys.texts("notes"),
        sources: keys.texts("sources"),
        status: keys.text("status").map(|found| found.value.to_owned()).unwrap_or_default(),
    };
    if let Some((table, span)) = keys.table("defaults") {
        profile.defaults = read_defaults(table, span, &mut keys.errors);
    }
    if let Some((table, span)) = keys.table("limits") {
        match parse_limits(table, span, &Limits::default()) {
            Ok(limits) => profile.limits = limits,
            Err(errors) => keys.errors.extend(errors),
        }
    }
    read_meter(&mut keys, &mut profile);
    if profile.protocol != Protocol::Modbus {
        for key in ["limits", "command"] {
            if keys.has(key) {
                let span = keys.span_of(key);
                keys.error(Rule::Conflict, span, format!("`{key}` goes with Modbus"), "leave it out");
            }
        }
    }
    for (table, span) in keys.tables("point") {
        match parse_point(profile.protocol, table, span.clone(), &[]) {
            Ok(point) => {
                check_point(&mut keys, &profile, &point, name_span(table, span));
                profile.points.push(point);
            }
            Err(errors) => keys.errors.extend(errors),
        }
    }
    for (table, span) in keys.tables("command") {
        match parse_command(table, span.clone()) {
            Ok(command) => {
                if profile.commands.iter().any(|other| other.name == command.name) {
                    let message = format!("the command `{}` is there twice", command.name);
                    keys.error(Rule::Duplicate, name_span(table, span), message, "give each command its own name");
                }
                profile.commands.push(command);
            }
            Err(errors) => keys.errors.extend(errors),
        }
    }
    keys.deny_others(&[]);
    if profile.points.is_empty() && profile.commands.is_empty() && keys.errors.is_empty() {
        keys.missing("point", "a profile has points, commands or both");
    }
    if keys.errors.is_empty() { Ok(profile) } else { Err(keys.errors) }
}

/// The table `meter`: in what a CJ/T 188 meter differs from others.
fn read_meter(keys: &mut Keys<'_, '_>, profile: &mut Profile) {
    let Some((table, span)) = keys.table("meter") else { return };
    let Protocol::Cjt188(edition) = profile.protocol else {
        let span = keys.span_of("meter");
        return keys.error(Rule::Conflict, span, "`meter` goes with CJ/T 188", "leave it out");
    };
    let mut own = Keys::new(table, span);
    profile.meter = read_traits(&mut own, edition, &profile.meter);
    own.deny_others(&[]);
    keys.errors.extend(own.errors);
}

/// Where the name of an entry stands.
fn name_span(table: &DeTable<'_>, entry: Range<usize>) -> Range<usize> {
    table.get("name").map_or(entry, toml::Spanned::span)
}

fn read_defaults(table: &DeTable<'_>, span: Range<usize>, errors: &mut Vec<KeyError>) -> Defaults {
    let mut keys = Keys::new(table, span);
    let unit = keys.word("unit", 1..=255).and_then(|found| u8::try_from(found.value).ok());
    let baud = keys.integer("baud", 300..=4_000_000).and_then(|found| u32::try_from(found.value).ok());
    let parity = keys.choice("parity", &[("none", 'N'), ("even", 'E'), ("odd", 'O')]).map(|found| found.value);
    let data_bits = keys.word("data_bits", 7..=8).and_then(|found| u8::try_from(found.value).ok());
    let stop_bits = keys.word("stop_bits", 1..=2).and_then(|found| u8::try_from(found.value).ok());
    let tcp_port = keys.word("tcp_port", 1..=u16::MAX).map(|found| found.value);
    let verified = keys.flag("verified").is_some_and(|found| found.value);
    keys.deny_others(&[]);
    errors.extend(keys.errors);
    Defaults { unit, baud, data_bits, parity, stop_bits, tcp_port, verified }
}

/// Reads what a device can bear: the table `limits` of a profile, or of a device in the site file; keys that are not
/// there stay as in `base`.
///
/// # Errors
/// Every mistake of the table.
pub fn parse_limits(table: &DeTable<'_>, span: Range<usize>, base: &Limits) -> Result<Limits, Vec<KeyError>> {
    let mut keys = Keys::new(table, span);
    let mut limits = base.clone();
    if let Some(found) = keys.word("max_registers", 1..=125) {
        limits.max_registers = found.value;
    }
    if let Some(found) = keys.word("max_bits", 1..=2000) {
        limits.max_bits = found.value;
    }
    if let Some(found) = keys.word("max_gap", 0..=2000) {
        limits.max_gap = found.value;
    }
    if let Some(found) = keys.flag("even") {
        limits.even = found.value;
    }
    if let Some(found) = keys.millis("pause", 60_000) {
        limits.pause_ms = found.value;
    }
    if keys.has("holes") {
        limits.holes.clear();
    }
    for (table, span) in keys.tables("holes") {
        limits.holes.extend(read_hole(table, span, &mut keys.errors));
    }
    keys.deny_others(&[]);
    if limits.even && limits.max_registers < 2 {
        let span = keys.span_of("even");
        keys.error(Rule::Conflict, span, "even counts need max_registers of 2 or more", "");
    }
    if keys.errors.is_empty() { Ok(limits) } else { Err(keys.errors) }
}

fn read_hole(table: &DeTable<'_>, span: Range<usize>, errors: &mut Vec<KeyError>) -> Option<(Table, u16, u16)> {
    let mut keys = Keys::new(table, span.clone());
    let place = keys.choice("table", &TABLES).map(|found| found.value);
    let first = keys.word("first", 0..=u16::MAX).map(|found| found.value);
    let last = keys.word("last", 0..=u16::MAX).map(|found| found.value);
    keys.deny_others(&[]);
    for key in ["table", "first", "last"] {
        if !keys.has(key) {
            keys.missing(key, "a hole is { table = \"holding\", first = 0x10, last = 0x1F }");
        }
    }
    if let (Some(first), Some(last)) = (first, last)
        && first > last
    {
        keys.error(Rule::Conflict, span, format!("the hole begins at {first} and ends before it, at {last}"), "");
    }
    errors.append(&mut keys.errors);
    Some((place?, first?, last?))
}

/// A point against the profile read so far.
fn check_point(keys: &mut Keys<'_, '_>, profile: &Profile, point: &PointSpec, span: Range<usize>) {
    let name = &point.name;
    if profile.points.iter().any(|other| other.name == *name) {
        let help = "give each point its own name";
        keys.error(Rule::Duplicate, span.clone(), format!("the point `{name}` is there twice"), help);
    }
    let Some(place) = point.modbus() else { return };
    for (rule_broken, message) in limits_broken(&profile.limits, name, place) {
        keys.error(rule_broken, span.clone(), message, "");
    }
}

fn limits_broken(limits: &Limits, name: &Name, point: &ModbusPoint) -> Vec<(Rule, String)> {
    let mut broken = Vec::new();
    let registers = matches!(point.table, Table::Holding | Table::Input);
    if registers && point.width() > limits.max_registers {
        let message = format!("`{name}` takes {} registers, one read gives {}", point.width(), limits.max_registers);
        broken.push((Rule::Conflict, message));
    }
    if limits.even && registers && (point.address % 2 == 1 || point.width() % 2 == 1) {
        let message = format!("`{name}` is not on an even address with an even count, as `limits.even` demands");
        broken.push((Rule::Conflict, message));
    }
    let last = u32::from(point.address) + u32::from(point.width()) - 1;
    for &(table, first, end) in &limits.holes {
        if table == point.table && u32::from(first) <= last && point.address <= end {
            broken.push((Rule::Conflict, format!("`{name}` lies in the hole {first:#06X} to {end:#06X}")));
        }
    }
    broken
}
