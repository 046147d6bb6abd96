//! `gatehouse profiles`: the device models that site files may name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gatehouse_core::Decimal;
use gatehouse_drivers::modbus::point::ModbusPoint;
use gatehouse_drivers::point::{Place, PointSpec};
use gatehouse_drivers::profile::keys::did_you_mean;
use gatehouse_drivers::profile::{Command, Library, Profile};
use serde_json::{Value, json};

use super::{Failure, exit, print_json, table};

/// Arguments of `gatehouse profiles`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shows this profile; all are listed when it is left out.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// A folder with further profiles, as `[site] profiles` names it.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the profiles, or shows one.
pub(crate) fn run(args: Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut library = Library::new();
    if let Some(folder) = &args.folder {
        let problems = gatehouse_config::add_folder(folder, &mut library)
            .map_err(|why| Failure::error(exit::CONFIGURATION, unreadable(folder, &why)))?;
        if !problems.is_empty() {
            return Err(Failure::error(exit::CONFIGURATION, gatehouse_config::render(&problems)));
        }
    }
    let Some(name) = &args.name else {
        list(&library, args.json, out)?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(profile) = library.find(name) else {
        let help = did_you_mean(name, &library.names());
        let message = format!("there is no profile {name:?}: {help}");
        return Err(Failure::error(exit::USAGE, message));
    };
    if args.json {
        print_json(out, &document(profile))?;
    } else {
        show(profile, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unreadable(folder: &Path, why: &io::Error) -> String {
    let at = folder.display();
    let wanted = "--folder takes a folder with one .toml file per profile";
    match why.kind() {
        io::ErrorKind::NotFound => format!("there is no folder {at}: {wanted}; make it, or name the one that you mean"),
        io::ErrorKind::NotADirectory => format!("{at} is a file: {wanted}, name the folder that the file is in"),
        io::ErrorKind::PermissionDenied => {
            format!("no permission to read the folder {at} or a file in it: ask as its owner, or with sudo")
        }
        _ => format!("the folder {at} cannot be read: {why}; {wanted}"),
    }
}

fn list(library: &Library, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let profiles = library.names().into_iter().filter_map(|name| library.find(name));
    if json {
        let brief = |p: &Profile| {
            json!({
                "name": p.name.as_str(), "vendor": p.vendor, "model": p.model, "category": p.category,
                "points": p.points.len(), "commands": p.commands.len(), "from_folder": library.is_added(&p.name),
            })
        };
        let all: Vec<Value> = profiles.map(|profile| brief(profile)).collect();
        return print_json(out, &all);
    }
    let mut rows = table(&["NAME", "MODEL", "CATEGORY", "POINTS"]);
    for profile in profiles {
        let from = if library.is_added(&profile.name) { " (folder)" } else { "" };
        let model = format!("{} {}{from}", profile.vendor, profile.model);
        rows.add_row([profile.name.as_str(), &model, &profile.category, &profile.points.len().to_string()]);
    }
    writeln!(out, "{rows}")?;
    Ok(())
}

fn show(profile: &Profile, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}: {} {}, {}", profile.name, profile.vendor, profile.model, profile.category)?;
    writeln!(out, "factory settings: {}", factory(profile))?;
    if !profile.status.is_empty() {
        writeln!(out, "status: {}", profile.status)?;
    }
    let mut rows = table(&["POINT", "TABLE", "ADDRESS", "TYPE", "SCALE", "UNIT", "WRITE", "NOTE"]);
    for point in &profile.points {
        let [table, address, kind, scale, write] = match &point.place {
            Place::Modbus(place) => [
                place.table.as_str().to_owned(),
                format!("{0} ({0:#06X})", place.address),
                kind(place),
                scale(place),
                place.write.map_or("", |write| write.as_str()).to_owned(),
            ],
            Place::Dlt645(place) => {
                [String::new(), place.to_string(), place.format.to_string(), String::new(), String::new()]
            }
            Place::Cjt188(place) => {
                let format = if place.field.is_number() { place.digits.to_string() } else { String::new() };
                [String::new(), place.to_string(), format, String::new(), String::new()]
            }
            Place::Osdp(place) => [String::new(), place.to_string(), String::new(), String::new(), String::new()],
            Place::Uhppote(field) => [String::new(), field.to_string(), String::new(), String::new(), String::new()],
            // No profile is of the box itself.
            Place::Own { .. } => Default::default(),
        };
        rows.add_row([point.name.as_str(), &table, &address, &kind, &scale, &point.unit, &write, &point.note]);
    }
    writeln!(out, "\n{rows}")?;
    if !profile.commands.is_empty() {
        let mut rows = table(&["COMMAND", "FUNCTION", "ADDRESS", "CHANNELS", "NOTE"]);
        for command in &profile.commands {
            rows.add_row([
                command.name.as_str(),
                &format!("{:02}", command.function),
                &format!("{0} ({0:#06X})", command.address),
                &channels(command),
                &command.note,
            ]);
        }
        writeln!(out, "\n{rows}")?;
    }
    for note in &profile.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    for source in &profile.sources {
        writeln!(out, "source: {source}")?;
    }
    Ok(())
}

fn factory(profile: &Profile) -> String {
    let defaults = &profile.defaults;
    let line = defaults
        .baud
        .map(|baud| format!("{baud} 8{}{}", defaults.parity.unwrap_or('N'), defaults.stop_bits.unwrap_or(1)));
    let parts = [
        defaults.unit.map(|unit| format!("unit {unit}")),
        line,
        defaults.tcp_port.map(|port| format!("TCP port {port}")),
        (!defaults.verified).then(|| "not confirmed by a source: look at the device".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn kind(point: &ModbusPoint) -> String {
    let bits = match point.bit {
        Some((low, 1)) => format!(" bit {low}"),
        Some((low, width)) => format!(" bits {low}-{}", low + width - 1),
        None => String::new(),
    };
    let order = if point.width() > 1 { format!(" {}", point.order.as_str()) } else { String::new() };
    format!("{}{order}{bits}", point.data_type.as_str())
}

fn scale(point: &ModbusPoint) -> String {
    let scale = if point.scale.same_number(Decimal::whole(1)) { String::new() } else { format!("x {}", point.scale) };
    if point.offset.mantissa == 0 { scale } else { format!("{scale} + {}", point.offset).trim().to_owned() }
}

fn channels(command: &Command) -> String {
    let channels = command.channels.as_ref();
    channels.map(|c| format!("{} to {}", c.first, c.first + c.count.saturating_sub(1))).unwrap_or_default()
}

fn document(profile: &Profile) -> Value {
    let point = |point: &PointSpec| {
        let mut document = match &point.place {
            Place::Modbus(place) => json!({
                "table": place.table.as_str(), "address": place.address, "type": place.data_type.as_str(),
                "registers": place.width(), "order": place.order.as_str(),
                "bit": place.bit.map(|(low, width)| json!({ "low": low, "width": width })),
                "scale": place.scale.to_string(), "offset": place.offset.to_string(),
                "write": place.write.map(|write| write.as_str()),
            }),
            Place::Dlt645(place) => json!({
                "di": place.to_string(), "format": place.format.to_string(), "bit": place.bit,
            }),
            Place::Cjt188(place) => json!({
                "di": format!("{:04X}", place.di), "field": place.field.as_str(),
                "format": place.field.is_number().then(|| place.digits.to_string()),
            }),
            Place::Osdp(place) => json!({ "shows": place.to_string(), "write": place.is_writable() }),
            Place::Uhppote(field) => json!({ "field": field.to_string() }),
            Place::Own { .. } => json!({}),
        };
        document["name"] = point.name.as_str().into();
        document["unit"] = point.unit.as_str().into();
        document["note"] = point.note.as_str().into();
        document["bits"] = point.bits.iter().map(|(name, bit)| json!({ "name": name, "bit": bit })).collect();
        document
    };
    let command = |command: &Command| {
        json!({
            "name": command.name.as_str(), "function": command.function, "address": command.address,
            "channels": channels(command), "broadcast": command.broadcast, "note": command.note,
        })
    };
    let defaults = &profile.defaults;
    json!({
        "name": profile.name.as_str(), "vendor": profile.vendor, "model": profile.model, "category": profile.category,
        "status": profile.status, "notes": profile.notes, "sources": profile.sources,
        "defaults": {
            "unit": defaults.unit, "baud": defaults.baud, "parity": defaults.parity, "stop_bits": defaults.stop_bits,
            "tcp_port": defaults.tcp_port, "verified": defaults.verified,
        },
        "limits": {
            "max_registers": profile.limits.max_registers, "max_bits": profile.limits.max_bits,
            "max_gap": profile.limits.max_gap, "even": profile.limits.even, "pause_ms": profile.limits.pause_ms,
        },
        "points": profile.points.iter().map(point).collect::<Vec<_>>(),
        "commands": profile.commands.iter().map(command).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: Option<&str>, folder: Option<&Path>) -> String {
        let args = Args { name: name.map(str::to_owned), folder: folder.map(Path::to_owned), json: false };
        run(args, &mut Vec::new()).expect_err("that is not there").to_string()
    }

    #[test]
    fn a_profile_that_is_not_there_gets_a_near_one_or_all() {
        assert_eq!(refused(Some("sdm630"), None), "there is no profile \"sdm630\": did you mean `eastron-sdm630`?");
        let all = refused(Some("nosuch-name"), None);
        assert!(all.starts_with("there is no profile \"nosuch-name\": known are: acrel-adl400, "), "{all}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (gone, file) = (folder.path().join("gone"), folder.path().join("meter.toml"));
        std::fs::write(&file, "").unwrap();
        let why = refused(None, Some(&gone));
        assert!(why.starts_with(&format!("there is no folder {}: --folder takes", gone.display())), "{why}");
        let why = refused(None, Some(&file));
        assert!(why.starts_with(&format!("{} is a file: ", file.display())), "{why}");
    }
}
