//! What is decided on the box: from the site's tables and its rule files to the engine's setup.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gatehouse_core::Name;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::alarm::{AlarmSpec, builtin};
use gatehouse_rules::billing::BillingSetup;
use gatehouse_rules::controller::ControllerSpec;
use gatehouse_rules::engine::{AccessSetup, BoxLimits, CardSource, Engine, Mains, ReaderSpec, RuleSpec, Setup};
use gatehouse_rules::gate::GateSpec;
use gatehouse_rules::mode::ModeSettings;
use gatehouse_rules::schedule::{Calendar, Proof, RoundSpec, Weekly};
use gatehouse_rules::supply::SupplySetup;
use gatehouse_rules::ticket::{TicketKind, TicketRules};
use gatehouse_rules::{Catalog, CatalogDevice, CatalogPoint, PointRef, command};
use jiff::tz::TimeZone;
use toml::de::DeTable;

use super::reference::Devices;
use super::{Context, alarm, round, ticket};
use crate::code;
use crate::problem::Problem;
use crate::sink::Sink;
use crate::site::{Bus, Device};

/// The tables that a rule file may have.
const TABLES: [&str; 6] = ["alarm", "builtin", "ticket", "quiet_hours", "round", "calendar"];
/// A rule file is refused beyond this.
const MOST_BYTES: u64 = 1 << 20;

/// What rule files say.
#[derive(Debug)]
pub(super) struct RuleFiles {
    rules: Vec<RuleSpec>,
    tickets: BTreeMap<Name, TicketKind>,
    quiet: BTreeMap<String, Weekly>,
    rounds: Vec<RoundSpec>,
    calendar: Option<Calendar>,
    builtin: Option<Vec<AlarmSpec>>,
    limits: BoxLimits,
    /// Everything that was read, for naming this state of it.
    text: String,
}

/// Gates, who comes to them, and by whose word they open.
#[derive(Debug)]
pub(super) struct EntranceParts {
    pub(super) gates: Vec<GateSpec>,
    pub(super) readers: Vec<ReaderSpec>,
    pub(super) controllers: Vec<ControllerSpec>,
    pub(super) access: Option<AccessSetup>,
}

impl EntranceParts {
    /// The points that show who is at a reader, or what is typed there.
    pub(super) fn personal(&self) -> impl Iterator<Item = PointRef> {
        self.readers.iter().filter_map(|reader| reader.card.as_ref()).flat_map(CardSource::personal)
    }
}

/// Where the rule files are that `[site] rules` names.
pub(super) fn paths(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Vec<Found<PathBuf>> {
    let mut paths = Vec::new();
    for value in keys.list("rules") {
        match value.get_ref().as_str() {
            Some(text) => paths.push(Found { value: context.base.join(text), span: value.span() }),
            None => {
                let help = "write rules = \"rules.toml\", or a list of files";
                context.sink.error(code::WRONG_TYPE, value.span(), "`rules` names files of rules", help);
            }
        }
    }
    paths
}

impl RuleFiles {
    /// Reads the rule files; their problems are told with their own names.
    pub(super) fn read(
        context: &mut Context<'_>,
        paths: &[Found<PathBuf>],
        (catalog, devices): (&Catalog, &[Arc<Device>]),
    ) -> (Self, Vec<Problem>) {
        let mut files = RuleFiles {
            rules: Vec::new(),
            tickets: ticket::usual(),
            quiet: BTreeMap::new(),
            rounds: Vec::new(),
            calendar: None,
            builtin: None,
            limits: BoxLimits::default(),
            text: String::new(),
        };
        let mut sinks = Vec::new();
        for path in paths {
            let name = path.value.display().to_string();
            let text = match text_of(&path.value) {
                Ok(text) => text,
                Err(why) => {
                    let message = format!("`rules`: {name} cannot be read: {why}");
                    let help = "the path begins from the folder of the site file";
                    context.sink.error(code::FILE_ABSENT, path.span.clone(), message, help);
                    continue;
                }
            };
            let mut sink = Sink::new(&name, &text);
            let (root, syntax) = DeTable::parse_recoverable(&text);
            for error in &syntax {
                let message = format!("this is not TOML: {}", error.message());
                sink.error(code::SYNTAX, error.span().unwrap_or(0..0), message, "");
            }
            let mut inner = Context { base: context.base, library: context.library, sink: &mut sink };
            files.file(&mut inner, root.get_ref(), catalog, Devices(devices));
            sinks.push((sink, ticket::named(root.get_ref()), syntax.is_empty()));
            files.text.push_str(&text);
        }
        let finish = |(mut sink, tickets, whole): (Sink, Vec<Found<Name>>, bool)| {
            files.check_tickets(&mut sink, tickets);
            if !whole {
                sink.keep_what_syntax_allows();
            }
            sink.finish()
        };
        let problems = sinks.into_iter().flat_map(finish).collect();
        (files, problems)
    }

    /// Notes kinds of tickets that no file has, once all files are read.
    fn check_tickets(&self, sink: &mut Sink, named: Vec<Found<Name>>) {
        for Found { value: kind, span } in named {
            if !self.tickets.contains_key(&kind) {
                let known: Vec<&str> = self.tickets.keys().map(Name::as_str).collect();
                let message = format!("there is no kind of ticket `{kind}`");
                sink.error(code::BAD_RULE, span, message, did_you_mean(&kind, &known));
            }
        }
    }

    fn file(&mut self, context: &mut Context<'_>, root: &DeTable<'_>, catalog: &Catalog, devices: Devices<'_>) {
        let mut keys = Keys::new(root, 0..0);
        for (table, span) in keys.tables("alarm") {
            if let Some(rule) = alarm::read(context, (table, span), catalog, &self.rules) {
                self.rules.push(rule);
            }
        }
        if let Some((table, span)) = keys.table("builtin") {
            if self.builtin.is_some() {
                let help = "keep them in one file";
                context.sink.error(code::DUPLICATE, span.clone(), "[builtin] is in another rule file already", help);
            }
            self.builtin = Some(alarm::builtins(context, table, &mut self.limits));
        }
        for at in keys.tables("ticket") {
            ticket::read(context, at, devices, &mut self.tickets);
        }
        if let Some(at) = keys.table("quiet_hours") {
            self.quiet.extend(ticket::quiet(context, at));
        }
        for at in keys.tables("round") {
            self.rounds.extend(round::read(context, at, devices));
        }
        if let Some(at) = keys.table("calendar") {
            self.calendar = round::calendar(context, at).or(self.calendar.take());
        }
        for (key, _) in root {
            let name = key.get_ref().as_ref();
            if !TABLES.contains(&name) {
                let message = format!("a rule file has no table `{name}`");
                context.sink.error(code::UNKNOWN_KEY, key.span(), message, did_you_mean(name, &TABLES));
            }
        }
        context.sink.take(keys.errors);
    }
}

fn text_of(path: &std::path::Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|why| super::reason(&why))?;
    if meta.len() > MOST_BYTES {
        return Err("it has more than 1 MiB: this is no rule file".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|why| super::reason(&why))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// The engine's setup. It is checked as a whole once its parts are `sound`; before, that would only repeat their
/// mistakes.
pub(super) fn setup(
    context: &mut Context<'_>,
    (catalog, timezone): (Catalog, &str),
    (mode, commands, mains, supply): (ModeSettings, command::Settings, Option<Mains>, SupplySetup),
    (entrance, billing): (EntranceParts, BillingSetup),
    (files, sound): (RuleFiles, bool),
) -> Setup {
    let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
    let calendar = files.calendar.unwrap_or_default();
    let mut tickets = TicketRules::new(calendar.clone(), zone.clone());
    tickets.kinds = files.tickets;
    tickets.quiet = files.quiet;
    let setup = Setup {
        catalog,
        mode,
        commands,
        rules: files.rules,
        builtin: files.builtin.unwrap_or_else(builtin::specs),
        limits: files.limits,
        mains,
        gates: entrance.gates,
        readers: entrance.readers,
        controllers: entrance.controllers,
        access: entrance.access,
        tickets,
        supply,
        rounds: files.rounds,
        billing,
        calendar,
        zone,
        version: version(&files.text),
    };
    check_rounds(context, &setup);
    for error in if sound { Engine::check(&setup) } else { Vec::new() } {
        context.sink.error(code::BAD_RULE, 0..0, error.to_string(), "");
    }
    setup
}

/// Notes stops of rounds that are proved at a reader that there is not: they would be missed for ever.
fn check_rounds(context: &mut Context<'_>, setup: &Setup) {
    for round in &setup.rounds {
        for stop in &round.stops {
            let Proof::Card { reader, .. } = &stop.proof else { continue };
            if setup.readers.iter().any(|own| own.name == *reader) {
                continue;
            }
            let known: Vec<&str> = setup.readers.iter().map(|own| own.name.as_str()).collect();
            let message = format!(
                "the round `{}`: `{}` is proved at the reader `{reader}`, which there is not",
                round.id, stop.id
            );
            let help = match known.is_empty() {
                true => format!("add [[reader]] with name = \"{reader}\" to the site file"),
                false => did_you_mean(reader, &known),
            };
            context.sink.error(code::BAD_RULE, 0..0, message, help);
        }
    }
}

/// Names a state of the rule files: FNV-1a over their text, which changes with every change.
fn version(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The site as rules see it.
pub(super) fn catalog(devices: &[Arc<Device>], buses: &[Bus]) -> Catalog {
    let device = |device: &Arc<Device>| CatalogDevice {
        id: device.id.clone(),
        title: device.title.clone(),
        bus: device.bus,
        profile: device.profile.clone(),
        category: device.category.clone(),
        labels: device.labels.clone(),
        points: device.points.iter().map(point).collect(),
    };
    Catalog { devices: devices.iter().map(device).collect(), buses: buses.iter().map(|bus| bus.id.clone()).collect() }
}

fn point(point: &crate::site::PointConfig) -> CatalogPoint {
    CatalogPoint {
        name: point.spec.name.clone(),
        unit: point.spec.unit.clone(),
        kind: point.spec.kind(),
        interval: point.slowest(),
        writable: point.spec.is_writable(),
        personal: point.personal,
    }
}
