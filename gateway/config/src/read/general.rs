//! `[site]`, `[data]`, `[http]`, `[api]` and `[clock]`.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_drivers::profile::keys::{Found, Keys, nearest};
use toml::de::DeTable;

use super::{Context, labels, required_name};
use crate::code;
use crate::site::{ApiSettings, ClockSettings, CoreTime, Labels};
use crate::units::{duration, size};

const DATA_DIR: &str = "/var/lib/gatehouse";
const TAIL_DIR: &str = "/run/gatehouse";
const SOCKET: &str = "/run/gatehouse/api.sock";
const HTTP: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
const MB: u64 = 1_000_000;

/// What the small tables say.
#[derive(Debug)]
pub(super) struct General {
    pub(super) id: Option<Name>,
    pub(super) title: String,
    pub(super) timezone: String,
    pub(super) labels: Labels,
    pub(super) http: Option<SocketAddr>,
    pub(super) api: ApiSettings,
    pub(super) clock: ClockSettings,
    pub(super) rules: Vec<Found<PathBuf>>,
}

pub(super) fn read(context: &mut Context<'_>, root: &mut Keys<'_, '_>) -> General {
    let mut general = General {
        id: None,
        title: String::new(),
        timezone: "UTC".to_owned(),
        labels: Labels::new(),
        http: Some(SocketAddr::from(HTTP)),
        api: ApiSettings { socket: PathBuf::from(SOCKET), operators: Vec::new() },
        clock: ClockSettings::default(),
        rules: Vec::new(),
    };
    match root.table("site") {
        Some((table, span)) => site(context, table, span, &mut general),
        None if !root.has("site") => {
            let help = "begin the file with [site] and id = \"...\", the box's permanent name towards the core";
            context.sink.error(code::MISSING_KEY, 0..0, "the file has no [site]", help);
        }
        None => {}
    }
    if let Some((table, span)) = root.table("http") {
        general.http = http(context, table, span);
    }
    if let Some((table, span)) = root.table("api") {
        let mut keys = Keys::new(table, span);
        if let Some(socket) = context.path(&mut keys, "socket") {
            general.api.socket = socket.value;
        }
        general.api.operators = operators(&mut keys);
        context.end(keys);
    }
    if let Some((table, span)) = root.table("clock") {
        let mut keys = Keys::new(table, span);
        let choices = [("never", CoreTime::Never), ("when-unsynchronised", CoreTime::WhenUnsynchronised)];
        general.clock.core_time = keys.choice("core_time", &choices).map(|found| found.value).unwrap_or_default();
        general.clock.rtc = context.path(&mut keys, "rtc").map(|found| found.value);
        context.end(keys);
    }
    general
}

fn site(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>, general: &mut General) {
    let mut keys = Keys::new(table, span);
    let help = "the box's permanent name towards the core, for example id = \"riverside-7\"";
    general.id = required_name(&mut keys, "id", help).map(|found| found.value);
    general.title = keys.text("title").map(|found| found.value.to_owned()).unwrap_or_default();
    general.labels = labels(&mut keys);
    general.rules = super::rules::paths(context, &mut keys);
    if let Some(zone) = keys.text("timezone") {
        timezone(context, zone.value, zone.span);
        general.timezone = zone.value.to_owned();
    }
    // Read before everything else, see `load`.
    let _ = keys.text("profiles");
    context.end(keys);
}

fn timezone(context: &mut Context<'_>, zone: &str, span: Range<usize>) {
    let zones = jiff::tz::db();
    if zones.get(zone).is_ok() {
        return;
    }
    if zones.is_definitively_empty() {
        let message = "this machine has no time zones, so the zone cannot be checked";
        context.sink.warn(code::UNKNOWN_TIMEZONE, span, message, "install the package tzdata");
        return;
    }
    let names: Vec<String> = zones.available().map(|name| name.as_str().to_owned()).collect();
    let help = match nearest(zone, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "zones have names such as \"Asia/Shanghai\", \"Europe/Berlin\" or \"UTC\"".to_owned(),
    };
    context.sink.error(code::UNKNOWN_TIMEZONE, span, format!("there is no time zone {zone:?}"), help);
}

fn http(context: &mut Context<'_>, table: &DeTable<'_>, span: Range<usize>) -> Option<SocketAddr> {
    let mut keys = Keys::new(table, span);
    let listen = keys.text("listen");
    context.end(keys);
    let Some(listen) = listen else { return Some(SocketAddr::from(HTTP)) };
    if listen.value == "off" {
        return None;
    }
    let Ok(address) = listen.value.parse::<SocketAddr>() else {
        let message = format!("`listen` = {:?} is not an address with a port", listen.value);
        context.sink.error(code::BAD_VALUE, listen.span, message, "for example \"127.0.0.1:9464\", or \"off\"");
        return None;
    };
    if !address.ip().is_loopback() {
        let message = format!("/metrics and /health will be open to everybody who reaches {address}");
        let help = "listen on 127.0.0.1 and reach it through ssh or a reverse proxy that asks for a password";
        context.sink.warn(code::OPEN_HTTP, listen.span, message, help);
    }
    Some(address)
}

fn operators(keys: &mut Keys<'_, '_>) -> Vec<u32> {
    let mut operators = Vec::new();
    for value in keys.list("operators") {
        let id = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        match id {
            Some(id) => operators.push(id),
            None => {
                let rule = gatehouse_drivers::profile::Rule::WrongType;
                let help = "write the numbers that `id -u NAME` prints, for example operators = [1000]";
                keys.error(rule, value.span(), "`operators` takes user ids", help);
            }
        }
    }
    operators
}

/// `[data]`: where readings are kept, and how much of them.
pub(super) fn data(
    context: &mut Context<'_>,
    table: Option<(&DeTable<'_>, Range<usize>)>,
) -> Option<gatehouse_store::Settings> {
    let mut settings = gatehouse_store::Settings::new(PathBuf::from(DATA_DIR), PathBuf::from(TAIL_DIR));
    let Some((table, span)) = table else { return Some(settings) };
    let mut keys = Keys::new(table, span);
    let minute = Duration::from_secs(60);
    if let Some(dir) = context.path(&mut keys, "dir") {
        settings.dir = dir.value;
    }
    if let Some(tail) = context.path(&mut keys, "tail") {
        settings.tail_dir = tail.value;
    }
    if let Some(most) = size(&mut keys, "max_size", 16 * MB..=1_000_000 * MB) {
        settings.max_bytes = most.value;
    }
    if let Some(most) = keys.integer("max_events", 16..=10_000_000) {
        settings.max_events = u64::try_from(most.value).unwrap_or(settings.max_events);
    }
    if let Some(window) = duration(&mut keys, "commit_window", Duration::ZERO..=minute) {
        settings.commit_window = window.value;
    }
    if let Some(window) = duration(&mut keys, "commit_window_down", Duration::ZERO..=10 * minute) {
        settings.commit_window_down = window.value;
    }
    if let Some(after) = duration(&mut keys, "down_after", Duration::ZERO..=60 * minute) {
        settings.down_after = after.value;
    }
    if settings.dir == settings.tail_dir {
        let span = keys.span_of("tail");
        let help = "`tail` is a folder in memory, for example under /run; `dir` is on the disk";
        context.sink.error(code::CONFLICT, span, "`tail` and `dir` are the same folder", help);
    }
    context.end(keys);
    Some(settings)
}
