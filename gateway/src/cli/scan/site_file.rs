//! A site file of what was found: whom one can poll as it stands, and as comments whom one cannot yet.

use std::collections::BTreeMap;
use std::path::Path;

use gatehouse_config::{Parity, Severity};
use gatehouse_drivers::cjt188::{DiOrder, MeterType};
use gatehouse_drivers::line::Characters;
use gatehouse_drivers::profile::Library;
use gatehouse_drivers::scan::{Channel, Finding, Found, Model, Station};

use super::drive::{Ending, Outcome};
use super::target::Target;
use super::{report, shown};

/// The id of the bus.
const BUS: &str = "bus-1";

/// The point that a device of an unknown model was found by.
const REGISTER: &str = "[[device.point]]\nname = \"holding_0\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n";

/// What is to be done for a device of an unknown model that has this point, and for one that has not.
const ONE_REGISTER: &str = "# No profile is known to suit. All that is known of its registers is the one that it answered by: name a\n\
     # profile instead (`gatehouse profiles`), or add points from its manual; `gatehouse guess` finds type, order\n\
     # and scale of a register by the display.\n";
const NO_REGISTER: &str = "# No profile is known to suit, and it refuses holding register 0: name a profile (`gatehouse profiles`), or\n\
     # add points from its manual, and take the # away. `gatehouse guess` finds type, order and scale of a\n\
     # register by the display.\n";

/// The same where the scan ended before it asked.
const NOT_ASKED_BUT_ONE: &str = "# The scan ended before it asked for the model. All that is known of its registers is the one that it answered\n\
     # by: scan again for its unit alone (`--address`), name a profile instead, or add points from its manual.\n";
const NOT_ASKED: &str = "# The scan ended before it asked for the model: scan again, or name a profile (`gatehouse profiles`) and take\n\
     # the # away.\n";

/// A reader beside others, which `gatehouse check` refuses until somebody has accepted it.
const WAITS: &str = "# A reader beside slower devices: a card may wait for them. Give the bus `reader_latency` (`gatehouse check`\n\
                     # tells how long it is), or better a pair of its own, and take the # away.\n";

/// A site file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteFile {
    /// What it says.
    pub(super) text: String,
    /// Devices that are no comments. Only with one at least does `gatehouse check` take the file.
    pub(super) devices: usize,
}

/// The file of what was found. What `gatehouse check` would refuse is a comment in it, with the reason.
pub(super) fn make(target: &Target, outcome: &Outcome, path: &Path) -> SiteFile {
    let usual = usual(&outcome.findings);
    let head = head(target, outcome, usual, path);
    let mut ids = BTreeMap::new();
    let mut entries: Vec<Entry> = outcome.findings.iter().map(|finding| Entry::of(finding, usual, &mut ids)).collect();
    judge(&head, &mut entries);
    let (mut text, mut said) = (head, BTreeMap::new());
    for entry in &entries {
        text += &entry.text(&mut said);
    }
    SiteFile { text, devices: entries.iter().filter(|entry| entry.is_live).count() }
}

/// One finding, as the file has it.
#[derive(Debug)]
struct Entry {
    id: String,
    /// What is said of it above its lines.
    note: String,
    /// What is still to be done for it, and for others like it.
    todo: Option<&'static str>,
    /// The lines of its `[[device]]`; of two devices at one address none.
    lines: String,
    /// False for what is a comment.
    is_live: bool,
    is_reader: bool,
}

impl Entry {
    fn of(finding: &Finding, usual: Option<Characters>, ids: &mut BTreeMap<String, u32>) -> Entry {
        match finding {
            Finding::Found(found) => device(found, usual, ids),
            Finding::Clash(clash) => Entry {
                id: String::new(),
                note: format!("# {}.\n", report::clash_text(clash)),
                todo: None,
                lines: String::new(),
                is_live: false,
                is_reader: false,
            },
        }
    }

    /// Its text; what is to be done is said in full of the first that it is to be done for.
    fn text<'e>(&'e self, said: &mut BTreeMap<&'static str, &'e str>) -> String {
        let todo = match self.todo.map(|todo| (todo, said.get(todo).copied())) {
            None => String::new(),
            Some((_, Some(first))) => format!("# What is said of {first} above holds for it too.\n"),
            Some((todo, None)) => {
                said.insert(todo, &self.id);
                todo.to_owned()
            }
        };
        let comment = |line: &str| format!("# {line}\n");
        let lines = if self.is_live { self.lines.clone() } else { self.lines.lines().map(comment).collect() };
        format!("\n{}{todo}{lines}", self.note)
    }
}

/// Makes comments of the devices that the loader of site files refuses. Readers come last, as it is they who have to give
/// way to slower devices on their pair.
fn judge(head: &str, entries: &mut [Entry]) {
    let library = Library::new();
    if refusal(head, entries, &library).is_none() {
        return;
    }
    let is_live = |entry: &&mut Entry| entry.is_live;
    let (readers, others): (Vec<usize>, Vec<usize>) =
        (0..entries.len()).filter(|at| entries[*at].is_live).partition(|at| entries[*at].is_reader);
    entries.iter_mut().filter(is_live).for_each(|entry| entry.is_live = false);
    let mut beside_others = false;
    for at in others.iter().chain(&readers) {
        entries[*at].is_live = true;
        let Some(why) = refusal(head, entries, &library) else {
            beside_others |= !entries[*at].is_reader;
            continue;
        };
        let waits = entries[*at].is_reader && beside_others;
        entries[*at].is_live = false;
        entries[*at].note += &if waits {
            WAITS.to_owned()
        } else {
            format!("# `gatehouse check` refuses it: {}.\n", report::plain(&why))
        };
    }
}

/// What the loader of site files has against the file with the devices that are no comments.
fn refusal(head: &str, entries: &[Entry], library: &Library) -> Option<String> {
    let live = entries.iter().filter(|entry| entry.is_live).map(|entry| entry.lines.as_str());
    let text = std::iter::once(head).chain(live).collect::<Vec<_>>().join("\n");
    let problems = gatehouse_config::check("site.toml", &text, Path::new(""), library).err()?;
    let error = problems.0.into_iter().find(|problem| problem.severity == Severity::Error);
    error.map(|problem| problem.message)
}

fn head(target: &Target, outcome: &Outcome, usual: Option<Characters>, path: &Path) -> String {
    format!(
        "# Found by `gatehouse scan {}`{}.\n\
         # Compare one value of each device with its display before anything is billed, give the devices the ids and titles\n\
         # of the site, add [uplink], and run `gatehouse check --config {}`.\n\n\
         [site]\nid = \"site-1\" # the box's permanent name towards the core: choose it now\n\n{}",
        report::plain(&target.to_string()),
        if outcome.ending == Ending::Finished { "" } else { ", which did not try everything" },
        report::plain(&shown(path)),
        bus(target, outcome.channel, usual),
    )
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What is to be done about the line of a serial server.
const SERVER_LINE: &str =
    "# The line settings are the server's own. For what `gatehouse plan` tells, add the `baud` that it is set to.\n";

fn bus(target: &Target, channel: Option<Channel>, usual: Option<Characters>) -> String {
    let port = match target {
        Target::Serial(path) => format!("serial = {}\n", quoted(&path.to_string_lossy())),
        Target::Tcp { .. } => {
            let key = match channel {
                Some(Channel::Raw) => "rtu_over_tcp",
                Some(Channel::Tcp | Channel::Serial) | None => "tcp",
            };
            format!("{key} = {}\n", quoted(&target.kind().to_string()))
        }
        Target::Udp { .. } => format!("udp = {}\n", quoted(&target.kind().to_string())),
    };
    let line = usual.map(settings).unwrap_or_default();
    let note = if channel == Some(Channel::Raw) { SERVER_LINE } else { "" };
    format!("{note}[[bus]]\nid = \"{BUS}\"\n{port}{line}")
}

fn settings(line: Characters) -> String {
    let parity = match line.parity {
        Parity::None => "none",
        Parity::Even => "even",
        Parity::Odd => "odd",
    };
    format!("baud = {}\nparity = \"{parity}\"\n", line.baud)
}

/// The line settings that most of the devices have.
fn usual(findings: &[Finding]) -> Option<Characters> {
    let mut counts: BTreeMap<Characters, usize> = BTreeMap::new();
    for finding in findings {
        if let Finding::Found(Found { characters: Some(line), .. }) = finding {
            *counts.entry(*line).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(line, _)| line)
}

/// A device; as comments where something has to be decided or found out before it can be polled.
fn device(found: &Found, usual: Option<Characters>, ids: &mut BTreeMap<String, u32>) -> Entry {
    let mut note = String::new();
    let says = report::identity(found);
    if !says.is_empty() {
        note += &format!("# It says of itself: {says}.\n");
    }
    let (id, first) = id(found, ids);
    let mut todo = None;
    let mut lines = format!("[[device]]\nid = \"{id}\"\nbus = \"{BUS}\"\n{}", address(&found.station));
    if let Some(line) = found.characters.filter(|line| Some(*line) != usual) {
        lines += &settings(line);
    }
    let known = match &found.model {
        Model::Known(name) => {
            lines += &format!("profile = \"{name}\"\n");
            lines += &meter_type(&found.station, name);
            true
        }
        Model::OneOf(names) => {
            note += &format!(
                "# Its registers suit {}: read its plate, keep that one and take the # away.\n",
                names.join(" and ")
            );
            for name in names {
                lines += &format!("profile = \"{name}\"\n");
            }
            false
        }
        Model::NotAsked => {
            todo = Some(if found.has_register { NOT_ASKED_BUT_ONE } else { NOT_ASKED });
            if found.has_register {
                lines += REGISTER;
            }
            found.has_register
        }
        Model::Unknown => {
            todo = Some(if found.has_register { ONE_REGISTER } else { NO_REGISTER });
            if found.has_register {
                lines += REGISTER;
            }
            found.has_register
        }
    };
    if let Some(first) = &first {
        note += &format!(
            "# It has the address of {first} above, and answers otherwise: at another speed or parity, or in another\n\
             # protocol. If it is that same device, leave this one out; else give it an address of its own, and scan again.\n"
        );
    }
    let odd = odd_number(&found.station);
    if let Some(why) = odd {
        note += why;
    }
    let is_reader = matches!(found.station, Station::Osdp { .. });
    Entry { id, note, todo, lines, is_live: known && first.is_none() && odd.is_none(), is_reader }
}

/// Why a meter cannot be asked by the number that it gave.
fn odd_number(station: &Station) -> Option<&'static str> {
    let (bytes, meter_type) = match station {
        Station::Dlt645(_, address) => (address.wire().to_vec(), None),
        Station::Cjt188 { meter_type, address, .. } => (address.wire().to_vec(), Some(*meter_type)),
        Station::Modbus(_) | Station::Osdp { .. } | Station::Uhppote(_) => return None,
    };
    let is_any = bytes.contains(&0xAA) || meter_type == Some(MeterType::ANY);
    let is_decimal = bytes.iter().all(|byte| byte >> 4 <= 9 && byte & 0xF <= 9);
    if is_any {
        Some(
            "# It gives AA for its number or its kind, by which every meter is asked: with other meters on the line nobody could\n\
             # tell whose answer it is. Read its plate, or have a number set on it, and scan again.\n",
        )
    } else if is_decimal {
        None
    } else {
        Some(
            "# Its number has digits A to F, which a site file cannot name: the numbers of these meters are decimal. Read its\n\
             # plate, or have a number set on it, and scan again.\n",
        )
    }
}

/// An id that no other device of the file has, and the id of the device that has its address already.
fn id(found: &Found, ids: &mut BTreeMap<String, u32>) -> (String, Option<String>) {
    let kind = match found.station {
        Station::Modbus(_) => "modbus",
        Station::Dlt645(..) | Station::Cjt188 { .. } => "meter",
        Station::Osdp { .. } => "reader",
        Station::Uhppote(_) => "controller",
    };
    // A number with digits A to F is no name as it stands.
    let id = format!("{kind}-{}", found.station).to_ascii_lowercase();
    let count = ids.entry(id.clone()).or_default();
    *count += 1;
    if *count == 1 { (id, None) } else { (format!("{id}-{count}"), Some(id)) }
}

fn address(station: &Station) -> String {
    match station {
        Station::Modbus(unit) => format!("unit = {unit}\n"),
        Station::Dlt645(_, address) => format!("address = \"{address}\"\n"),
        Station::Cjt188 { address, order, .. } => {
            let order = match order {
                DiOrder::LowFirst => "",
                DiOrder::HighFirst => "di_order = \"high-first\"\n",
            };
            format!("address = \"{address}\"\n{order}")
        }
        Station::Osdp { address, crc } => {
            format!("address = {address}\n{}", if *crc { "" } else { "check = \"checksum\"\n" })
        }
        Station::Uhppote(serial) => format!("serial = {serial}\n"),
    }
}

/// The type of a meter, where its profile is of another.
fn meter_type(station: &Station, profile: &str) -> String {
    let Station::Cjt188 { meter_type, .. } = station else { return String::new() };
    let same = Library::new().find(profile).is_some_and(|profile| profile.meter.meter_type == *meter_type);
    if same { String::new() } else { format!("meter_type = \"{meter_type}\"\n") }
}

#[cfg(test)]
mod tests;
