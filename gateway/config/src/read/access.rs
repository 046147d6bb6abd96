//! `[access]`: whose word counts for credentials, and the areas that are counted. Secrets are named, never read here.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::access::wiegand::{Format, Parity, Span};
use gatehouse_rules::access::{
    AntiPassback, Decide, GateAccess, GatePolicy, GuessLimits, Offline, PublicKey, UnpaidExit, ZoneSpec,
};
use gatehouse_rules::words::HolderClass;
use gatehouse_uplink::Settings;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::commands::core_key;
use super::decider::{self, AtController};
use super::{Context, byte, name, required_name, secret};
use crate::code;
use crate::site::AccessSecrets;
use crate::units::{duration, duration_text};

/// The classes of holders.
pub(super) const CLASSES: [(&str, HolderClass); 4] = [
    ("resident", HolderClass::Resident),
    ("staff", HolderClass::Staff),
    ("visitor", HolderClass::Visitor),
    ("emergency", HolderClass::Emergency),
];
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// The longest that a box waits for the core's answer.
const DEADLINE_MAX: Duration = Duration::from_secs(10);
/// Keys of the core that may sign.
const MOST_KEYS: usize = 4;
/// How long it waits unless the gate says otherwise.
const DEADLINE: Duration = Duration::from_millis(800);

/// `[access]` as it was read.
#[derive(Debug)]
pub(super) struct AccessEntry {
    pub(super) core_keys: Vec<PublicKey>,
    pub(super) secrets: AccessSecrets,
    pub(super) zones: Vec<ZoneSpec>,
    pub(super) formats: Vec<Format>,
    pub(super) guesses: GuessLimits,
}

/// Reads the table.
pub(super) fn read(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> Option<AccessEntry> {
    let mut keys = Keys::new(table, span);
    let core_keys = public_keys(context, &mut keys);
    for (key, what) in [
        ("lookup_key", "the key that credentials are hashed under, which the core shares"),
        ("seal_key", "the box's own key for what lies on its disk"),
    ] {
        if !keys.has(key) {
            keys.missing(key, format!("{what}: 32 random bytes; write {key} = {{ credential = \"{key}\" }}"));
        }
    }
    let lookup = secret::read(context, &mut keys, "lookup_key");
    let seal = secret::read(context, &mut keys, "seal_key");
    let seal_before = secret::read(context, &mut keys, "seal_key_before").map(|found| found.value);
    let code_key = secret::read(context, &mut keys, "code_key").map(|found| found.value);
    let pin_secret = secret::read(context, &mut keys, "pin_secret").map(|found| found.value);
    let mut zones: Vec<ZoneSpec> = Vec::new();
    for at in keys.tables("zone") {
        zones.extend(zone(context, at, &zones));
    }
    let mut formats: Vec<Format> = Vec::new();
    for at in keys.tables("format") {
        formats.extend(format(context, at, &formats));
    }
    let guesses = keys.table("guesses").map(|at| guesses(context, at)).unwrap_or_default();
    context.end(keys);
    let secrets = AccessSecrets { lookup: lookup?.value, seal: seal?.value, seal_before, code_key, pin_secret };
    Some(AccessEntry { core_keys, secrets, zones, formats, guesses })
}

fn public_keys(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Vec<PublicKey> {
    let help = "core_keys = [\"...\"]: the 32 bytes of the core's ed25519 public key in base64, as `openssl pkey -in KEY.pem \
                -pubout -outform DER | tail -c 32 | base64` prints them; two while keys are changed";
    if !keys.has("core_keys") {
        keys.missing("core_keys", help);
    }
    let values = keys.list("core_keys");
    if values.is_empty() && keys.has("core_keys") {
        let message = "`core_keys` is empty: nobody's credentials would be taken";
        keys.error(Rule::BadValue, keys.span_of("core_keys"), message, help);
    }
    if let Some(fifth) = values.get(MOST_KEYS) {
        let message = format!("at most {MOST_KEYS} keys of the core may sign credentials");
        keys.error(Rule::BadValue, fifth.span(), message, "take out those that the core has given up");
    }
    values.into_iter().filter_map(|value| core_key(context, "core_keys", value)).collect()
}

fn zone(
    context: &mut Context<'_>,
    (table, span): (&DeTable<'_>, Range<usize>),
    above: &[ZoneSpec],
) -> Option<ZoneSpec> {
    let mut keys = Keys::new(table, span);
    let own = required_name(&mut keys, "name", "what gates call it, for example name = \"garage\"");
    if let Some(own) = own.as_ref().filter(|own| above.iter().any(|zone| zone.name == *own.value)) {
        let message = format!("there is another zone `{}` above", own.value);
        keys.error(Rule::Duplicate, own.span.clone(), message, "give this one another name, or take it out");
    }
    let capacity = keys.integer("capacity", 1..=1_000_000).and_then(|found| u32::try_from(found.value).ok());
    let mut full_refuses = BTreeSet::new();
    for value in keys.list("full_refuses") {
        full_refuses.extend(class(&mut keys, value));
    }
    let full_refuses_unknown = keys.flag("full_refuses_unknown").is_some_and(|found| found.value);
    if capacity.is_none() && !keys.has("capacity") && (full_refuses_unknown || !full_refuses.is_empty()) {
        keys.missing("capacity", "how many have room; without it the zone is never full");
    }
    context.end(keys);
    Some(ZoneSpec { name: own?.value.to_string(), capacity, full_refuses, full_refuses_unknown })
}

fn class(keys: &mut Keys<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<HolderClass> {
    let known = || format!("known are {}", CLASSES.map(|(name, _)| name).join(", "));
    let Some(text) = value.get_ref().as_str() else {
        keys.error(Rule::WrongType, value.span(), "a class of holders is a text in quotes", known());
        return None;
    };
    let found = CLASSES.iter().find(|(name, _)| *name == text).map(|(_, class)| *class);
    if found.is_none() {
        let help = did_you_mean(text, &CLASSES.map(|(name, _)| name));
        keys.error(Rule::BadValue, value.span(), format!("{text:?} is no class of holders"), help);
    }
    found
}

fn guesses(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> GuessLimits {
    let mut keys = Keys::new(table, span);
    let mut limits = GuessLimits::default();
    for (key, slot) in [("per_reader", &mut limits.per_reader), ("per_site", &mut limits.per_site)] {
        if let Some(found) = keys.integer(key, 1..=100) {
            *slot = u32::try_from(found.value).unwrap_or(*slot);
        }
    }
    for (key, slot) in [("within", &mut limits.within), ("first", &mut limits.first), ("longest", &mut limits.longest)]
    {
        if let Some(found) = duration(&mut keys, key, SECOND..=DAY) {
            *slot = found.value;
        }
    }
    if limits.first > limits.longest && keys.errors.is_empty() {
        let key = if keys.has("first") { "first" } else { "longest" };
        let (first, longest) = (duration_text(limits.first), duration_text(limits.longest));
        let message = format!("the first closure, {first}, is longer than the longest, {longest}");
        keys.error(Rule::Conflict, keys.span_of(key), message, "each closure is twice as long as the one before");
    }
    context.end(keys);
    limits
}

fn format(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>), above: &[Format]) -> Option<Format> {
    let mut keys = Keys::new(table, span.clone());
    let own = required_name(&mut keys, "name", "what readers call it, for example name = \"site-32\"");
    if let Some(own) = own.as_ref().filter(|own| above.iter().any(|format| format.name() == own.value.as_str())) {
        let message = format!("there is another format `{}` above", own.value);
        keys.error(Rule::Duplicate, own.span.clone(), message, "give this one another name");
    }
    for key in ["bits", "number"] {
        if !keys.has(key) {
            keys.missing(key, "bits = 32, number = [16, 16]: a run of bits is [first, how many], counted from 0");
        }
    }
    let bits = byte(&mut keys, "bits", 1..=128);
    let facility = keys.raw("facility").and_then(|value| run(&mut keys, value));
    let number = keys.raw("number").and_then(|value| run(&mut keys, value));
    let mut parity = Vec::new();
    for (table, span) in keys.tables("parity") {
        let mut inner = Keys::new(table, span);
        let at = byte(&mut inner, "at", 0..=127);
        let odd = inner.flag("odd");
        for key in ["at", "odd", "over"] {
            if !inner.has(key) {
                inner.missing(key, "{ at = 0, odd = false, over = [[1, 12]] }");
            }
        }
        let over = inner.list("over").into_iter().filter_map(|value| run(&mut inner, value)).collect();
        context.end(inner);
        if let (Some(at), Some(odd)) = (at, odd) {
            parity.push(Parity { at: at.value, odd: odd.value, over });
        }
    }
    let sound = keys.errors.is_empty();
    context.end(keys);
    let own = own?;
    let made = Format::new(&own.value, bits?.value, facility, number?, parity);
    match made {
        Ok(format) => Some(format),
        Err(why) if sound => {
            let message = format!("the format `{}` contradicts itself: {why}", own.value);
            context.sink.error(code::CONFLICT, span, message, "bits are counted from 0, in the order of transmission");
            None
        }
        Err(_) => None,
    }
}

/// A run of bits: `[first, count]`.
fn run(keys: &mut Keys<'_, '_>, value: &Spanned<DeValue<'_>>) -> Option<Span> {
    let numbers: Option<Vec<u8>> = value.get_ref().as_array().and_then(|array| {
        let number = |value: &Spanned<DeValue<'_>>| {
            let number = value.get_ref().as_integer().and_then(gatehouse_drivers::profile::keys::integer)?;
            u8::try_from(number).ok()
        };
        array.iter().map(number).collect()
    });
    match numbers.as_deref() {
        Some([first, count]) if *count > 0 => Some(Span::new(*first, *count)),
        _ => {
            let help = "write [first, how many], for example [1, 8] for the bits 1 to 8";
            keys.error(Rule::BadValue, value.span(), "this is no run of bits", help);
            None
        }
    }
}

/// Reads how a gate decides, from its table `access`.
pub(super) fn gate(context: &mut Context<'_>, (table, span): (&DeTable<'_>, Range<usize>)) -> GateZone {
    let mut keys = Keys::new(table, span.clone());
    let mut policy = GatePolicy::default();
    let deadline = duration(&mut keys, "deadline", Duration::from_millis(100)..=DEADLINE_MAX);
    let deciders = [("local", Decider::Local), ("core", Decider::Core), ("controller", Decider::Controller)];
    let decider = keys.choice("decide", &deciders).map_or(Decider::Local, |found| found.value);
    let core = decider == Decider::Core;
    let controller = decider::read(&mut keys, decider == Decider::Controller);
    if decider == Decider::Controller {
        policy.decide = Decide::Controller;
    }
    if let (false, Some(deadline)) = (core, &deadline) {
        let message = "a deadline is for gates where the core decides";
        keys.error(Rule::Conflict, deadline.span.clone(), message, "write decide = \"core\", or take it out");
    }
    if core {
        let wait = deadline.map_or(DEADLINE, |found| found.value);
        policy.decide = Decide::Core { deadline_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) };
    }
    let offline = [
        ("allow_known", Offline::AllowKnown),
        ("allow_all_in", Offline::AllowAllIn),
        ("guard_only", Offline::GuardOnly),
        ("deny", Offline::Deny),
    ];
    let passback = [("off", AntiPassback::Off), ("soft", AntiPassback::Soft), ("hard", AntiPassback::Hard)];
    let unpaid =
        [("open", UnpaidExit::Open), ("refuse", UnpaidExit::Refuse), ("open_and_record", UnpaidExit::OpenAndRecord)];
    set(&mut policy.offline, keys.choice("offline", &offline));
    set(&mut policy.anti_passback, keys.choice("anti_passback", &passback));
    policy.unpaid_exit = keys.choice("unpaid_exit", &unpaid).map(|found| found.value);
    set(&mut policy.plate_confidence_min, byte(&mut keys, "plate_confidence", 0..=100));
    set(&mut policy.max_snapshot_age, duration(&mut keys, "max_credentials_age", SECOND * 60..=DAY * 366));
    set(&mut policy.repeat_window, duration(&mut keys, "repeat_window", SECOND * 5..=SECOND * 30));
    set(&mut policy.visitor_pins, keys.flag("visitor_pins"));
    let zone = name(&mut keys, "zone");
    let core = core.then(|| keys.span_of("decide"));
    context.end(keys);
    GateZone { policy, zone, span: Some(span), core, controller }
}

/// Who decides, as the file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decider {
    Local,
    Core,
    Controller,
}

/// How a gate decides, and the zone that it leads into.
#[derive(Debug, Default)]
pub(super) struct GateZone {
    policy: GatePolicy,
    zone: Option<Found<Name>>,
    /// Where the table stands, if it is there.
    span: Option<Range<usize>>,
    /// Where it says that the core decides, if it does.
    core: Option<Range<usize>>,
    /// The door of a controller that decides itself.
    pub(super) controller: Option<AtController>,
}

impl GateZone {
    /// Notes what does nothing here: a table without `[access]`, and a core whose answers would not count.
    pub(super) fn check(&self, context: &mut Context<'_>, gate: &Name, (absent, uplink): (bool, Option<&Settings>)) {
        // A controller needs no credentials of the box.
        if let (true, Some(span), None) = (absent, &self.span, &self.controller) {
            let message = format!("the site has no [access]: this says nothing of the gate `{gate}`");
            let help = "add [access] with core_keys, lookup_key and seal_key; docs/site-file.md tells what they are";
            return context.sink.warn(code::UNUSED, span.clone(), message, help);
        }
        let plain = uplink.and_then(|uplink| uplink.brokers.iter().find(|broker| !broker.tls));
        if let (Some(span), Some(broker)) = (&self.core, plain) {
            let message = format!(
                "the core's answers do not count over {broker}: `{gate}` waits in vain, then goes by `offline`"
            );
            let help = "answers open gates, and so they have to come over TLS: use mqtts:// with a `ca`";
            context.sink.warn(code::PLAIN_UPLINK, span.clone(), message, help);
        }
    }

    /// The gate as access sees it; notes a zone that there is not.
    pub(super) fn of(self, context: &mut Context<'_>, gate: &Name, zones: &[ZoneSpec]) -> GateAccess {
        if let Some(zone) = self.zone.as_ref().filter(|zone| !zones.iter().any(|own| own.name == *zone.value)) {
            let known: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
            let help = match known.is_empty() {
                true => "add [[access.zone]] with a name".to_owned(),
                false => did_you_mean(&zone.value, &known),
            };
            context.sink.error(code::BAD_VALUE, zone.span.clone(), format!("there is no zone `{}`", zone.value), help);
        }
        GateAccess { gate: gate.to_string(), zone: self.zone.map(|zone| zone.value.to_string()), policy: self.policy }
    }
}

fn set<T>(slot: &mut T, found: Option<Found<T>>) {
    if let Some(found) = found {
        *slot = found.value;
    }
}
