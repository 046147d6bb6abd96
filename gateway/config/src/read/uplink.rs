//! `[uplink]`: the way to the core.

use std::ops::Range;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::Keys;
use gatehouse_uplink::{AckMode, Broker, Settings, Version};
use toml::de::{DeTable, DeValue};

use super::{Context, secret};
use crate::code;
use crate::units::{duration, size};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn read(
    context: &mut Context<'_>,
    table: &DeTable<'_>,
    span: Range<usize>,
    id: Option<&Name>,
) -> Option<Settings> {
    let mut keys = Keys::new(table, span);
    let brokers = brokers(context, &mut keys);
    // A site without an id has an error already; the rest of the table is read all the same.
    let id = id.cloned().or_else(|| Name::new("unnamed").ok())?;
    let mut settings = Settings::new(id, brokers.iter().map(|(broker, _)| broker.clone()).collect());
    identity(context, &mut keys, &mut settings);
    tls(context, &mut keys, &mut settings);
    limits(&mut keys, &mut settings);
    delivery(&mut keys, &mut settings);
    for (broker, span) in &brokers {
        let local = matches!(broker.host.as_str(), "localhost" | "::1") || broker.host.starts_with("127.");
        if !broker.tls && !local {
            let what =
                if settings.password_file.is_some() { "the password and every reading" } else { "every reading" };
            let message = format!("{broker} is not encrypted: {what} can be read and changed on the way");
            context.sink.warn(code::PLAIN_UPLINK, span.clone(), message, "use mqtts:// with a `ca`");
        }
    }
    context.end(keys);
    Some(settings)
}

fn brokers(context: &mut Context<'_>, keys: &mut Keys<'_, '_>) -> Vec<(Broker, Range<usize>)> {
    const HELP: &str = "brokers = [\"mqtts://core.example:8883\"], the preferred one first";
    if !keys.has("brokers") {
        keys.missing("brokers", HELP);
    }
    let values = keys.list("brokers");
    if values.is_empty() && keys.has("brokers") {
        let span = keys.span_of("brokers");
        keys.error(Rule::BadValue, span, "`brokers` is empty", HELP);
    }
    let mut brokers: Vec<(Broker, Range<usize>)> = Vec::new();
    for value in values {
        let Some(text) = value.get_ref().as_str() else {
            keys.error(Rule::WrongType, value.span(), "`brokers` takes texts in quotes", HELP);
            continue;
        };
        if text.contains('@') {
            context.sink.hide(value.span());
        }
        match Broker::parse(text) {
            Ok(broker) if brokers.iter().any(|(known, _)| *known == broker) => {
                keys.error(Rule::Duplicate, value.span(), format!("{broker} is listed twice"), "");
            }
            Ok(broker) => brokers.push((broker, value.span())),
            Err(why) => keys.error(Rule::BadValue, value.span(), why.to_string(), ""),
        }
    }
    brokers
}

fn identity(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, settings: &mut Settings) {
    settings.version = version(keys);
    if let Some(prefix) = keys.text("prefix") {
        let level = |level: &str| !level.is_empty() && !level.contains(['+', '#', '\0']) && !level.starts_with('$');
        if prefix.value.split('/').all(level) && prefix.value.len() <= 128 {
            settings.prefix = prefix.value.to_owned();
        } else {
            let message = format!("`prefix` = {:?} cannot begin a topic", prefix.value);
            keys.error(Rule::BadValue, prefix.span, message, "for example \"gatehouse\" or \"property/sites\"");
        }
    }
    if let Some(client) = keys.text("client_id") {
        if client.value.is_empty() || client.value.len() > 128 || client.value.chars().any(char::is_control) {
            keys.error(Rule::BadValue, client.span, "`client_id` has 1 to 128 characters", "");
        } else {
            settings.client_id = client.value.to_owned();
        }
    }
    settings.username = keys.text("username").map(|found| found.value.to_owned());
    let password = secret::read(context, keys, "password");
    if password.is_some() && settings.username.is_none() && settings.version == Version::V311 {
        let span = keys.span_of("password");
        keys.error(Rule::Conflict, span, "MQTT 3.1.1 has no password without a `username`", "add username = \"...\"");
    }
    settings.password_file = password.map(|found| found.value);
}

fn version(keys: &mut Keys<'_, '_>) -> Version {
    let Some(value) = keys.raw("version") else { return Version::default() };
    let text = match value.get_ref() {
        DeValue::Integer(number) => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        DeValue::String(text) => text,
        _ => "",
    };
    match text {
        "5" | "5.0" => Version::V5,
        "3.1.1" => Version::V311,
        _ => {
            let help = "version = 5, or version = \"3.1.1\" for old brokers";
            keys.error(Rule::BadValue, value.span(), "`version` is no version of MQTT that gatehouse speaks", help);
            Version::default()
        }
    }
}

fn tls(context: &mut Context<'_>, keys: &mut Keys<'_, '_>, settings: &mut Settings) {
    settings.tls.ca = context.file(keys, "ca").map(|found| found.value);
    settings.tls.cert = context.file(keys, "cert").map(|found| found.value);
    settings.tls.key = context.file(keys, "key").map(|found| found.value);
    settings.tls.server_name = keys.text("server_name").map(|found| found.value.to_owned());
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if keys.has(one) && !keys.has(other) {
            let span = keys.span_of(one);
            let message = format!("`{one}` needs `{other}`: the certificate and its private key go together");
            keys.error(Rule::Conflict, span, message, format!("add {other} = \"/etc/gatehouse/{other}.pem\""));
        }
    }
    if settings.brokers.iter().any(|broker| broker.tls) || settings.brokers.is_empty() {
        return;
    }
    for key in ["ca", "cert", "key", "server_name"] {
        if keys.has(key) {
            let message = format!("`{key}` is not used: no broker begins with mqtts://");
            context.sink.warn(code::UNUSED, keys.span_of(key), message, "write the broker as mqtts://...");
        }
    }
}

fn limits(keys: &mut Keys<'_, '_>, settings: &mut Settings) {
    if let Some(window) = keys.word("window", 4..=250) {
        settings.window = window.value;
    }
    if let Some(most) = size(keys, "max_packet", 4096..=1 << 20) {
        settings.max_packet = u32::try_from(most.value).unwrap_or(u32::MAX);
    }
    if let Some(window) = duration(keys, "batch_window", Duration::ZERO..=HOUR) {
        settings.batch_window = window.value;
    }
    if let Some(compress) = keys.flag("compress") {
        settings.compress = compress.value;
    }
    settings.daily_telemetry_bytes = size(keys, "daily_telemetry", 10_000..=1_000_000_000_000).map(|found| found.value);
    if let Some(alive) = duration(keys, "keep_alive", SECOND..=18 * HOUR) {
        settings.keep_alive = alive.value;
    }
    if let Some(timeout) = duration(keys, "connect_timeout", SECOND..=300 * SECOND) {
        settings.connect_timeout = timeout.value;
    }
    if let Some(timeout) = duration(keys, "response_timeout", SECOND..=300 * SECOND) {
        settings.response_timeout = timeout.value;
    }
    if let Some(first) = duration(keys, "backoff_first", SECOND / 10..=HOUR) {
        settings.backoff.first = first.value;
    }
    if let Some(last) = duration(keys, "backoff_last", SECOND / 10..=24 * HOUR) {
        settings.backoff.last = last.value;
    }
    if settings.backoff.first > settings.backoff.last {
        let key = if keys.has("backoff_first") { "backoff_first" } else { "backoff_last" };
        let span = keys.span_of(key);
        keys.error(
            Rule::Conflict,
            span,
            "`backoff_first` is longer than `backoff_last`",
            "the pauses grow from first to last",
        );
    }
}

fn delivery(keys: &mut Keys<'_, '_>, settings: &mut Settings) {
    let modes = [("puback", AckMode::PubAck), ("watermark", AckMode::Watermark)];
    settings.ack = keys.choice("ack", &modes).map(|found| found.value).unwrap_or_default();
    if let Some(hold) = keys.flag("hold_unsubscribed") {
        settings.hold_unsubscribed = hold.value;
    }
    if let Some(timeout) = duration(keys, "watermark_timeout", 10 * SECOND..=24 * HOUR) {
        settings.watermark_timeout = timeout.value;
    }
}
