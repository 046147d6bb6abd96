//! `[[alarm]]` and `[builtin]` of a rule file: conditions over points, and what the box finds by itself.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{Decimal, DeviceIx, Name};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::alarm::{AlarmSpec, builtin};
use gatehouse_rules::engine::{RuleInstance, RuleSpec};
use gatehouse_rules::expr::error::code::NO_DEVICE;
use gatehouse_rules::expr::{Clearing, Expr, ExprError, Template, clearing, deadband};
use gatehouse_rules::words::Priority;
use gatehouse_rules::{Catalog, CatalogDevice};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Context, labels, name, required_name};
use crate::code;
use crate::site::Labels;
use crate::units::duration;

const DELAYS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);

pub(super) const PRIORITIES: [(&str, Priority); 4] =
    [("p0", Priority::P0), ("p1", Priority::P1), ("p2", Priority::P2), ("p3", Priority::P3)];

/// Reads one rule.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    catalog: &Catalog,
    known: &[RuleSpec],
) -> Option<RuleSpec> {
    let mut keys = Keys::new(table, span.clone());
    let id = required_name(&mut keys, "id", "the rule's permanent name, for example id = \"overvoltage\"");
    if !keys.has("priority") {
        keys.missing("priority", "\"p0\" (life safety), \"p1\", \"p2\" or \"p3\"");
    }
    let priority = keys.choice("priority", &PRIORITIES).map(|found| found.value);
    let mut spec = AlarmSpec::new(id.as_ref().map_or("", |id| &id.value), priority.unwrap_or(Priority::P3));
    life(&mut keys, &mut spec);
    let selected = select(context, &mut keys, catalog);
    let instances = instances(context, &mut keys, catalog, selected, &spec);
    let sound = keys.errors.is_empty();
    context.end(keys);
    let id = id?;
    if builtin::spec(&id.value).is_some() || known.iter().any(|other| other.alarm.class == *id.value) {
        let (message, help) = match builtin::spec(&id.value) {
            Some(_) => (
                format!("`{}` is built in", id.value),
                format!("change it under [builtin.{}], or give the rule another id", id.value),
            ),
            None => (format!("there is another rule `{}` already", id.value), "give this one another id".to_owned()),
        };
        context.sink.error(code::DUPLICATE, id.span.clone(), message, help);
        return None;
    }
    (sound && priority.is_some()).then_some(RuleSpec { alarm: spec, instances: instances? })
}

/// What a rule and a built-in class may both say of an alarm's life.
fn life(keys: &mut Keys<'_, '_>, spec: &mut AlarmSpec) {
    if let Some(title) = keys.text("title") {
        spec.title = title.value.to_owned();
    }
    if let Some(text) = keys.text("instruction") {
        spec.instruction = text.value.to_owned();
    }
    if let Some(delay) = either(keys, "for", "on_delay") {
        spec.on_delay = delay;
    }
    if let Some(delay) = either(keys, "keep_firing_for", "off_delay") {
        spec.off_delay = delay;
    }
    if let Some(found) = keys.flag("life_safety") {
        spec.life_safety = found.value;
    }
    if spec.life_safety && !spec.on_delay.is_zero() {
        let span = keys.span_of(if keys.has("for") { "for" } else { "on_delay" });
        let help = "take the delay out: what threatens life is told at once";
        keys.error(Rule::Conflict, span, "an alarm of life safety has no on-delay", help);
    }
    if let Some(found) = keys.flag("latch") {
        spec.latch = found.value;
    }
    if let Some(found) = keys.flag("auto_acknowledge") {
        spec.auto_acknowledge = found.value;
    }
    if spec.latch && spec.auto_acknowledge {
        let span = keys.span_of(if keys.has("auto_acknowledge") { "auto_acknowledge" } else { "latch" });
        let help = match (keys.has("latch"), keys.has("auto_acknowledge")) {
            (true, false) => "this class acknowledges itself: write auto_acknowledge = false too",
            (false, true) => "this class is latched: write latch = false too",
            (true, true) | (false, false) => "a latched alarm waits for a person: take one of them out",
        };
        keys.error(Rule::Conflict, span, "`latch` and `auto_acknowledge` exclude each other", help);
    }
    spec.re_alarm = duration(keys, "re_alarm", DELAYS).map(|found| found.value).or(spec.re_alarm);
    spec.no_data = duration(keys, "no_data", DELAYS).map(|found| found.value).or(spec.no_data);
    if let Some(found) = duration(keys, "max_shelve", DELAYS) {
        spec.max_shelve = found.value;
    }
    if let Some(found) = duration(keys, "linger", DELAYS) {
        spec.linger = found.value;
    }
    match keys.raw("ticket").map(|value| (value.get_ref(), value.span())) {
        None => {}
        Some((DeValue::Boolean(false), _)) => spec.ticket = None,
        Some(_) => spec.ticket = name(keys, "ticket").map(|found| found.value),
    }
}

/// One delay that has two names, by Prometheus and by ISA-18.2.
fn either(keys: &mut Keys<'_, '_>, one: &'static str, other: &'static str) -> Option<Duration> {
    let (first, second) = (duration(keys, one, DELAYS), duration(keys, other, DELAYS));
    if let (Some(_), Some(second)) = (&first, &second) {
        let message = format!("`{one}` and `{other}` are the same delay");
        keys.error(Rule::Conflict, second.span.clone(), message, "take one of them out");
    }
    first.or(second).map(|found| found.value)
}

/// The devices that `on` selects; `None`: the rule is about the site.
fn select(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, catalog: &Catalog) -> Option<Vec<DeviceIx>> {
    let (table, span) = keys.table("on")?;
    let mut on = Keys::new(table, span.clone());
    let before = context.sink.errors();
    let profiles = catalog.devices.iter().filter_map(|device| device.profile.as_ref().map(Name::as_str)).collect();
    let profile = one(&mut on, "profile").map(|found| known(context, found, "profile", profiles));
    let categories = catalog.devices.iter().map(|device| device.category.as_str()).filter(|c| !c.is_empty()).collect();
    let category = one(&mut on, "category").map(|found| known(context, found, "category", categories));
    let buses: BTreeSet<&str> = catalog.buses.iter().map(Name::as_str).collect();
    let bus = one(&mut on, "bus").map(|found| {
        if !buses.contains(&*found.value) {
            let message = format!("the site has no bus `{}`", found.value);
            context.sink.error(code::UNKNOWN_BUS, found.span, message, nearest_of(&found.value, &buses));
        }
        found.value
    });
    let devices = device_list(context, &mut on, catalog);
    let labels = wanted_labels(context, &mut on, catalog);
    context.end(on);
    let matches = |device: &CatalogDevice| {
        profile.as_ref().is_none_or(|name| device.profile.as_ref().is_some_and(|of| *of == **name))
            && category.as_ref().is_none_or(|name| device.category == **name)
            && bus
                .as_ref()
                .is_none_or(|name| device.bus.and_then(|bus| catalog.buses.get(bus)).is_some_and(|of| *of == **name))
            && devices.as_ref().is_none_or(|ids| ids.iter().any(|id| device.id == **id))
            && labels.iter().all(|(key, value)| device.labels.get(key) == Some(value))
    };
    let selected: Vec<_> = catalog.devices_with_ix().filter(|(_, device)| matches(device)).map(|(ix, _)| ix).collect();
    if selected.is_empty() && context.sink.errors() == before {
        let help = "a device is selected when everything in `on` holds of it: take one condition out and look again";
        context.sink.error(code::UNREACHABLE, span, "`on` selects no device: the rule would never be looked at", help);
    }
    Some(selected)
}

fn one(on: &mut Keys<'_, '_>, key: &'static str) -> Option<Found<String>> {
    on.text(key).map(|found| Found { value: found.value.to_owned(), span: found.span })
}

fn nearest_of(given: &str, all: &BTreeSet<&str>) -> String {
    did_you_mean(given, &all.iter().copied().collect::<Vec<_>>())
}

/// A word by which devices are selected; noted when no device of the site has it.
fn known(context: &mut Context<'_>, found: Found<String>, what: &str, all: BTreeSet<&str>) -> String {
    if !all.contains(&*found.value) {
        let message = format!("no device of the site has the {what} `{}`", found.value);
        let help = if all.is_empty() { String::new() } else { nearest_of(&found.value, &all) };
        context.sink.error(code::UNREACHABLE, found.span, message, help);
    }
    found.value
}

/// The ids of `device`, one or a list.
fn device_list(context: &mut Context<'_>, on: &mut Keys<'_, '_>, catalog: &Catalog) -> Option<Vec<String>> {
    let ids: BTreeSet<&str> = catalog.devices.iter().map(|device| device.id.as_str()).collect();
    let mut devices = Vec::new();
    for value in on.list("device") {
        match value.get_ref().as_str() {
            Some(id) => {
                if !ids.contains(id) {
                    let message = format!("the site has no device `{id}`");
                    context.sink.error(code::UNKNOWN_DEVICE, value.span(), message, nearest_of(id, &ids));
                }
                devices.push(id.to_owned());
            }
            None => {
                let help = "write device = \"meter-101\", or a list of ids";
                context.sink.error(code::WRONG_TYPE, value.span(), "`device` names devices by their ids", help);
            }
        }
    }
    on.has("device").then_some(devices)
}

/// The labels that a device has to have; noted when no device has one.
fn wanted_labels(context: &mut Context<'_>, on: &mut Keys<'_, '_>, catalog: &Catalog) -> Labels {
    let wanted = labels(on);
    let Some((table, _)) = on.table("labels") else { return wanted };
    for (key, value) in table {
        let Some((name, text)) = wanted.get_key_value(key.get_ref().as_ref()) else { continue };
        let of = |device: &'_ CatalogDevice| device.labels.get(name).cloned();
        let values: BTreeSet<String> = catalog.devices.iter().filter_map(of).collect();
        if values.is_empty() {
            let names: BTreeSet<&str> =
                catalog.devices.iter().flat_map(|device| device.labels.keys().map(String::as_str)).collect();
            let message = format!("no device of the site has a label `{name}`");
            let help = if names.is_empty() { String::new() } else { nearest_of(name, &names) };
            context.sink.error(code::UNREACHABLE, key.span(), message, help);
        } else if !values.contains(text) {
            let message = format!("no device of the site has the label {name} = \"{text}\"");
            let help = nearest_of(text, &values.iter().map(String::as_str).collect());
            context.sink.error(code::UNREACHABLE, value.span(), message, help);
        }
    }
    wanted
}

/// Compiles the rule for each device.
fn instances(
    context: &mut Context<'_>,
    keys: &mut Keys<'_, '_>,
    catalog: &Catalog,
    selected: Option<Vec<DeviceIx>>,
    spec: &AlarmSpec,
) -> Option<Vec<Arc<RuleInstance>>> {
    if !keys.has("when") {
        keys.missing("when", "the condition that raises it, for example when = \"voltage_l1 > 253\"");
    }
    let texts = Texts {
        when: text(context, keys, "when"),
        clear_when: text(context, keys, "clear_when"),
        message: text(context, keys, "message"),
        title: if spec.title.is_empty() { spec.class.clone() } else { spec.title.clone() },
    };
    let band = band(keys);
    texts.when.as_ref()?;
    let own: Vec<Option<DeviceIx>> = match selected {
        None => vec![None],
        Some(devices) => devices.into_iter().map(Some).collect(),
    };
    let mut mistakes = Mistakes { of: own.len(), found: Vec::new() };
    let mut instances = Vec::new();
    for device in own {
        match texts.compile(catalog, device) {
            Ok(instance) => instances.push(instance),
            Err(errors) => mistakes.note(device.and_then(|ix| catalog.device(ix)), errors),
        }
    }
    let sound = mistakes.found.is_empty();
    mistakes.tell(context);
    if let Some(first) = instances.first() {
        check_life(context, &texts, first);
    }
    if let Some(band) = band {
        for rule in &mut instances {
            rule.clear_when = deadband(&rule.when, band.value);
            if rule.clear_when.is_none() {
                let help = "write what clears it: when = \"v > 253 && w > 0\", clear_when = \"v < 250 || w <= 0\"";
                let message = "a dead-band needs a `when` that compares one point with one number, by <, <=, > or >=";
                context.sink.error(code::CONFLICT, band.span, message, help);
                return None;
            }
        }
    }
    sound.then(|| instances.into_iter().map(Arc::new).collect())
}

/// The mistakes of one rule: the same mistake over a hundred meters is one mistake.
struct Mistakes<'c> {
    /// Devices that were looked at.
    of: usize,
    found: Vec<Mistake<'c>>,
}

struct Mistake<'c> {
    span: Range<usize>,
    error: ExprError,
    /// The first device that it was found with.
    device: Option<&'c CatalogDevice>,
    count: usize,
}

impl<'c> Mistakes<'c> {
    fn note(&mut self, device: Option<&'c CatalogDevice>, errors: Vec<(Range<usize>, ExprError)>) {
        for (span, error) in errors {
            let same = |known: &&mut Mistake<'_>| known.span == span && known.error.code == error.code;
            match self.found.iter_mut().find(same) {
                Some(known) => known.count += 1,
                None => self.found.push(Mistake { span, error, device, count: 1 }),
            }
        }
    }

    fn tell(self, context: &mut Context<'_>) {
        for Mistake { span, error, device, count } in self.found {
            let ExprError { code, mut message, mut help, .. } = error;
            if let Some(device) = device {
                let named = message.contains(device.id.as_str());
                if !named && count < self.of {
                    message = format!("for {}: {message}", device.id);
                }
                let others =
                    if count == 2 { "1 other device".to_owned() } else { format!("{} other devices", count - 1) };
                if count > 1 && (named || count < self.of) {
                    message = format!("{message} (and so for {others})");
                }
            } else if code == NO_DEVICE {
                help = format!("give the rule devices, for example on = {{ profile = \"...\" }}, or {help}");
            }
            context.sink.error(code, span, message, help);
        }
    }
}

/// How far beyond its limit a value has to be until the alarm clears.
fn band(keys: &mut Keys<'_, '_>) -> Option<Found<Decimal>> {
    let found = keys.decimal("deadband")?;
    if keys.has("clear_when") {
        let message = "`deadband` and `clear_when` both say what clears it";
        keys.error(Rule::Conflict, found.span, message, "take one of them out");
        return None;
    }
    if found.value.mantissa <= 0 {
        let help = "write how far back the value has to go, in the point's own unit: deadband = \"3\"";
        keys.error(Rule::BadValue, found.span, "`deadband` must be more than 0", help);
        return None;
    }
    Some(found)
}

/// A rule that always or never holds, or that nothing clears.
fn check_life(context: &mut Context<'_>, texts: &Texts, rule: &RuleInstance) {
    let Some(when) = &texts.when else { return };
    match rule.when.is_constant() {
        Some(true) => {
            let help = "compare a point with a limit";
            context.sink.error(
                code::NEVER_CLEARS,
                when.span.clone(),
                "this condition always holds: it can never clear",
                help,
            );
        }
        Some(false) => {
            let message = "this condition never holds: the rule would never be raised";
            context.sink.error(code::UNREACHABLE, when.span.clone(), message, "compare a point with a limit");
        }
        None => {}
    }
    let (Some(clear), Some(source)) = (&rule.clear_when, &texts.clear_when) else { return };
    let message = match (clear.is_constant(), clearing(&rule.when, clear)) {
        (Some(false), _) | (None, Some(Clearing::Never)) => "no value clears it: once raised, it stays for ever",
        (Some(true), _) => "`clear_when` always holds: the alarm would flip at every reading",
        (None, Some(Clearing::WithinRaise)) => "every value that clears it raises it again: it can never stay cleared",
        (None, Some(Clearing::Overlaps)) => "some values clear it and raise it again: it would flip at every reading",
        (None, Some(Clearing::Sound) | None) => return,
    };
    let help = "`clear_when` should hold where `when` does not, with some room between: when = \"v > 253\", clear_when = \"v < 250\"";
    context.sink.error(code::NEVER_CLEARS, source.span.clone(), message, help);
}

/// A text, and where its characters lie in the file.
#[derive(Debug, Clone)]
struct Source {
    text: String,
    span: Range<usize>,
    /// Where the first character lies; `None` when escapes keep characters from being counted.
    begins: Option<usize>,
}

impl Source {
    /// The bytes of the file that a part of the text is.
    fn place(&self, part: &Range<usize>) -> Range<usize> {
        match self.begins {
            Some(begins) => begins + part.start..begins + part.end.max(part.start + 1).min(self.text.len().max(1)),
            None => self.span.clone(),
        }
    }
}

fn text(context: &Context<'_>, keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Source> {
    let found = keys.text(key)?;
    let (text, span) = (found.value.to_owned(), found.span);
    // After one or three quotes, and the line break that may follow three.
    let begins = [1, 3, 4, 5].into_iter().map(|quotes| span.start + quotes);
    let begins = begins.filter(|begins| context.sink.text(*begins..begins + text.len()) == Some(&*text));
    Some(Source { begins: begins.min(), text, span })
}

struct Texts {
    when: Option<Source>,
    clear_when: Option<Source>,
    message: Option<Source>,
    title: String,
}

impl Texts {
    fn compile(
        &self,
        catalog: &Catalog,
        device: Option<DeviceIx>,
    ) -> Result<RuleInstance, Vec<(Range<usize>, ExprError)>> {
        let mut errors = Vec::new();
        let mut note = |source: &Source, wrong: Vec<ExprError>| {
            errors.extend(wrong.into_iter().map(|error| (source.place(&error.span), error)));
        };
        let mut expr = |source: &Option<Source>| {
            let source = source.as_ref()?;
            Expr::compile(&source.text, catalog, device).map_err(|wrong| note(source, wrong)).ok()
        };
        let (when, clear_when) = (expr(&self.when), expr(&self.clear_when));
        let message = match &self.message {
            Some(source) => Template::compile(&source.text, catalog, device).map_err(|wrong| note(source, wrong)).ok(),
            None => Template::compile(&self.title.replace('{', "{{").replace('}', "}}"), catalog, device).ok(),
        };
        match (when, message) {
            (Some(when), Some(message)) if errors.is_empty() => {
                let named = device.and_then(|ix| catalog.device(ix)).map(|device| device.id.to_string());
                let source = named.unwrap_or_else(|| "site".to_owned());
                Ok(RuleInstance { source, device, when, clear_when, message })
            }
            _ => Err(errors),
        }
    }
}

/// `[builtin.CLASS]`: another priority, delay, ticket or text for what the box finds by itself.
pub(super) fn builtins(context: &mut Context<'_>, value: Option<(&DeTable<'_>, Range<usize>)>) -> Vec<AlarmSpec> {
    let mut specs = builtin::specs();
    let Some((table, _)) = value else { return specs };
    for (key, value) in table {
        let class = key.get_ref().as_ref();
        let Some(spec) = specs.iter_mut().find(|spec| spec.class == class) else {
            let known: Vec<&str> = builtin::BUILTIN.iter().map(|builtin| builtin.class).collect();
            let message = format!("there is no built-in alarm `{class}`");
            context.sink.error(code::UNKNOWN_KEY, key.span(), message, did_you_mean(class, &known));
            continue;
        };
        overrides(context, value, spec);
    }
    specs
}

fn overrides(context: &mut Context<'_>, value: &Spanned<DeValue<'_>>, spec: &mut AlarmSpec) {
    let Some(table) = value.get_ref().as_table() else {
        context.sink.error(code::WRONG_TYPE, value.span(), "a built-in alarm is changed by a table", "");
        return;
    };
    let mut keys = Keys::new(table, value.span());
    if let Some(found) = keys.choice("priority", &PRIORITIES) {
        spec.priority = found.value;
    }
    life(&mut keys, spec);
    context.end(keys);
}
