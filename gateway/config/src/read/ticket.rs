//! `[[ticket]]` and `[quiet_hours]` of a rule file: what a fault becomes, and whom it reaches.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_rules::schedule::Weekly;
use gatehouse_rules::ticket::{EndsOn, EscalationStep, OutputRef, Targets, TicketKind, When};
use gatehouse_rules::words::Priority;
use toml::de::DeTable;

use super::alarm::PRIORITIES;
use super::reference::Devices;
use super::{Context, required_name};
use crate::code;
use crate::units::duration;

const DAY: Duration = Duration::from_secs(86_400);
const MINUTES: std::ops::RangeInclusive<i64> = 1..=60 * 24 * 366;

/// The kinds that built-in alarms name, for sites that say nothing of them: category, and minutes to respond to and to
/// resolve P0 to P3.
const USUAL: [(&str, &str, &str); 9] = [
    ("fire", "safety", "A fire contact: the panel tells where."),
    ("fire_system", "safety", "A broken wire between the fire panel and the box."),
    ("power", "electrical", "The supplier, the main switch or its protection."),
    ("bus", "network", "The bus's converter, its supply, or its wire at the first device."),
    ("device", "network", "The device's supply, its wire or its address."),
    ("box", "network", "The box itself."),
    ("link", "network", "The router, the SIM card or the supplier's network."),
    ("security", "security", ""),
    ("gate", "access", "The gate's motor, its sensors or something in its way."),
];

/// The kinds of ticket before a rule file says anything.
pub(super) fn usual() -> BTreeMap<Name, TicketKind> {
    let targets = |(response, resolve)| Targets { response_min: Some(response), resolve_min: Some(resolve) };
    let by_priority = [
        (Priority::P0, targets((5, 240))),
        (Priority::P1, targets((30, 480))),
        (Priority::P2, targets((240, 2880))),
        (Priority::P3, targets((1440, 10_080))),
    ];
    let kind = |category: &str, suggestion: &str| TicketKind {
        category: category.to_owned(),
        suggestion: suggestion.to_owned(),
        targets: by_priority.into_iter().collect(),
        ..TicketKind::default()
    };
    let named = USUAL.into_iter().chain([("round", "security", "")]);
    named.filter_map(|(name, category, text)| Some((Name::new(name).ok()?, kind(category, text)))).collect()
}

/// The kinds that rules, built-in alarms and rounds of a rule file name, and where.
pub(super) fn named(root: &DeTable<'_>) -> Vec<Found<Name>> {
    let list = |key| root.get(key).and_then(|list| list.get_ref().as_array()).into_iter().flatten();
    let builtin = root.get("builtin").and_then(|table| table.get_ref().as_table());
    let builtin = builtin.into_iter().flatten().map(|(_, value)| value);
    let tables = list("alarm").chain(list("round")).chain(builtin).filter_map(|value| value.get_ref().as_table());
    let kinds = tables.filter_map(|table| {
        let value = table.get("ticket")?;
        Some(Found { value: Name::new(value.get_ref().as_str()?).ok()?, span: value.span() })
    });
    kinds.collect()
}

/// Reads one kind; it takes the place of a usual one of that name.
pub(super) fn read(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
    kinds: &mut BTreeMap<Name, TicketKind>,
) {
    let mut keys = Keys::new(table, span);
    let id = required_name(
        &mut keys,
        "id",
        "the kind's name, for example id = \"pump\"; rules name it as ticket = \"pump\"",
    );
    let known = id.as_ref().and_then(|id| kinds.get(&id.value)).cloned();
    let mut kind = known.unwrap_or_default();
    for (key, slot) in
        [("title", &mut kind.title), ("category", &mut kind.category), ("suggestion", &mut kind.suggestion)]
    {
        if let Some(found) = keys.text(key) {
            *slot = found.value.to_owned();
        }
    }
    kind.priority = keys.choice("priority", &PRIORITIES).map(|found| found.value).or(kind.priority);
    if let Some(found) = duration(&mut keys, "settle", Duration::ZERO..=DAY) {
        kind.settle = found.value;
    }
    if let Some((table, span)) = keys.table("targets") {
        targets(context, (table, span), &mut kind.targets);
    }
    let steps: Vec<_> = keys.tables("escalation").into_iter().map(|at| step(context, at, devices)).collect();
    if !steps.is_empty() {
        kind.escalation = steps;
    }
    let ends = EndsOn {
        acknowledged: keys.flag("ends_on_acknowledge").map_or(kind.ends_on.acknowledged, |found| found.value),
        cleared: keys.flag("ends_on_clear").map_or(kind.ends_on.cleared, |found| found.value),
    };
    kind.ends_on = ends;
    context.end(keys);
    if let Some(id) = id {
        kinds.insert(id.value, kind);
    }
}

/// `targets = { p1 = { response = 30, resolve = 480 } }`, in minutes.
fn targets(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    by: &mut BTreeMap<Priority, Targets>,
) {
    let mut keys = Keys::new(table, span);
    for (name, priority) in PRIORITIES {
        let Some((table, span)) = keys.table(name) else { continue };
        let mut inner = Keys::new(table, span);
        let mut minutes = |key| inner.integer(key, MINUTES).and_then(|found| u32::try_from(found.value).ok());
        let targets = Targets { response_min: minutes("response"), resolve_min: minutes("resolve") };
        if let (Some(response), Some(resolve)) = (targets.response_min, targets.resolve_min)
            && response > resolve
        {
            let help = "both are minutes from the opening of the ticket";
            inner.error(Rule::Conflict, inner.span(), "`response` is longer than `resolve`", help);
        }
        context.end(inner);
        by.insert(priority, targets);
    }
    context.end(keys);
}

fn step(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    devices: Devices<'_>,
) -> EscalationStep {
    let mut keys = Keys::new(table, span.clone());
    let after = duration(&mut keys, "after", Duration::ZERO..=DAY * 7).map_or(Duration::ZERO, |found| found.value);
    let guard_message = keys.flag("guard_message").is_some_and(|found| found.value);
    let when = keys.choice("when", &[("always", When::Always), ("offline", When::Offline)]);
    let mut outputs = Vec::new();
    for value in keys.list("outputs") {
        let Some(text) = value.get_ref().as_str() else {
            keys.error(Rule::WrongType, value.span(), "`outputs` is a list of \"DEVICE/POINT\"", "");
            continue;
        };
        let Some((at, config)) = devices.point(context, text, &value.span()) else { continue };
        if config.spec.kind() != gatehouse_core::Kind::Bool || !config.spec.is_writable() {
            let message = format!("{text} is no switch that can be written");
            keys.error(Rule::BadValue, value.span(), message, "name a relay or a coil");
            continue;
        }
        let name = text.replace('/', ".");
        match Name::new(&name) {
            Ok(name) => outputs.push(OutputRef::point(name, at)),
            Err(_) => keys.error(Rule::BadValue, value.span(), format!("{text} is too long a name for an output"), ""),
        }
    }
    if outputs.is_empty() && !guard_message {
        let help = "outputs = [\"box/buzzer\"], guard_message = true, or both";
        keys.error(Rule::MissingKey, span, "the step reaches nobody", help);
    }
    context.end(keys);
    EscalationStep { after, outputs, guard_message, when: when.map_or(When::Always, |found| found.value) }
}

/// `[quiet_hours]`: hours by category, such as `network = "daily 22:00-07:00"`.
pub(super) fn quiet(context: &mut Context<'_>, (table, _): (&DeTable<'_>, Range<usize>)) -> BTreeMap<String, Weekly> {
    let mut quiet = BTreeMap::new();
    for (key, value) in table {
        let Some(text) = value.get_ref().as_str() else {
            context.sink.error(
                code::WRONG_TYPE,
                value.span(),
                "quiet hours are a text such as \"daily 22:00-07:00\"",
                "",
            );
            continue;
        };
        match Weekly::from_str(text) {
            Ok(hours) => {
                quiet.insert(key.get_ref().to_string(), hours);
            }
            Err(why) => context.sink.error(code::BAD_VALUE, value.span(), why.to_string(), ""),
        }
    }
    quiet
}
