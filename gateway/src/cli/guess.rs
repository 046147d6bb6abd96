//! `gatehouse guess`: type, order and scale of a register, by what the display shows.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use gatehouse_config::{Bus, Device, Site, Station};
use gatehouse_core::driver::Action;
use gatehouse_core::{Decimal, Value};
use gatehouse_drivers::modbus::guess::{self, Candidate, Fit, REGISTERS_MOST};
use gatehouse_drivers::modbus::pdu::{Reply, Request};
use gatehouse_drivers::modbus::point::Table;
use gatehouse_drivers::modbus::{Framing, decode_reply, decode_request};
use gatehouse_drivers::profile::Library;
use serde_json::json;

use super::{Failure, Where, block_on, exit, explain, load_site, print_json, table};
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::daemon::direct;

/// Most candidates that are shown.
const SHOWN_MOST: usize = 10;

/// Arguments of `gatehouse guess`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device's id; for a device that has no points yet BUS/UNIT, for example `bus-1/7`.
    device: String,
    /// The register's address as sent on the wire, counted from 0; or as 40001 or 30001 in manuals that count so.
    #[arg(value_parser = register)]
    register: Register,
    /// What the meter's display shows now, with all its digits: 1234.5
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = shown)]
    shows: Decimal,
    /// Where to read: holding (function 03) or input (function 04).
    #[arg(long, value_name = "TABLE", value_parser = register_table)]
    table: Option<Table>,
    /// Prints the candidates as JSON.
    #[arg(long)]
    json: bool,
}

/// A register as it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register {
    address: u16,
    /// As the notation says it.
    table: Option<Table>,
}

fn register(text: &str) -> Result<Register, String> {
    let wrong = || "write 0 to 65535, 0x1F, or 30001 to 49999 of a manual that counts from 1".to_owned();
    if let Some(hex) = text.strip_prefix("0x") {
        let address = u16::from_str_radix(hex, 16).map_err(|_| wrong())?;
        return Ok(Register { address, table: None });
    }
    let number = text.parse::<u32>().map_err(|_| wrong())?;
    let counted = |first: u32, table| {
        let address = u16::try_from(number - first).map_err(|_| wrong())?;
        Ok(Register { address, table: Some(table) })
    };
    match number {
        400_001..=465_536 => counted(400_001, Table::Holding),
        300_001..=365_536 => counted(300_001, Table::Input),
        // Five digits may be a wire address as well; what is meant is told with the answer.
        40_001..=49_999 if text.len() == 5 => counted(40_001, Table::Holding),
        30_001..=39_999 if text.len() == 5 => counted(30_001, Table::Input),
        number => u16::try_from(number).map(|address| Register { address, table: None }).map_err(|_| wrong()),
    }
}

fn register_table(text: &str) -> Result<Table, String> {
    [Table::Holding, Table::Input].into_iter().find(|table| table.as_str() == text).ok_or("holding or input".to_owned())
}

fn shown(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).map_err(|why| why.to_string())
}

/// What was read: the registers in a row, of which the one in question has `before` others before it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    table: Table,
    first: u16,
    before: u16,
    words: Vec<u16>,
}

/// Reads the registers and shows what they may be.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let site = load_site(&args.at.config)?;
    let (bus, device) = find(&site, &args.device)?;
    let Station::Modbus(_) = device.station else {
        let text =
            format!("{}: only Modbus registers have to be guessed; other protocols name type and scale", args.device);
        return Err(Failure::error(exit::USAGE, text));
    };
    let tables = match args.table.or(args.register.table) {
        Some(table) => vec![table],
        None => vec![Table::Holding, Table::Input],
    };
    let rows = block_on(async {
        let mut rows = Vec::new();
        for table in &tables {
            rows.extend(read(args, bus, &device, *table).await?);
        }
        Ok(rows)
    })?;
    if rows.is_empty() {
        let names: Vec<&str> = tables.iter().map(|table| table.as_str()).collect();
        let text = format!("{} gives no register {} in {}", args.device, args.register.address, names.join(" or "));
        return Err(Failure::error(exit::DEVICE, text));
    }
    let mut found: Vec<(Table, u16, Candidate)> = Vec::new();
    for row in &rows {
        let candidates = guess::candidates(&row.words, row.before, args.shows);
        found.extend(candidates.into_iter().map(|one| (row.table, row.first + one.first, one)));
    }
    found.sort_by_key(|(_, _, candidate)| candidate.rank);
    if args.json {
        json(args, &rows, &found, out)?;
    } else {
        show(args, &rows, &found, out)?;
    }
    Ok(ExitCode::from(if found.is_empty() { exit::DEVICE } else { exit::OK }))
}

/// The device that is meant: one of the site file, or a unit of a bus that has no device there yet.
fn find<'s>(site: &'s Site, id: &str) -> anyhow::Result<(&'s Bus, Device)> {
    let Some((bus, unit)) = id.split_once('/') else {
        super::check_device_id(id)?;
        return direct::find(site, id).map(|(bus, device)| (bus, device.clone()));
    };
    let wrong = |what: String| Failure::error(exit::USAGE, what);
    let place = site.buses.iter().position(|known| known.id == *bus);
    let place = place.ok_or_else(|| wrong(format!("the site has no bus {bus:?}")))?;
    let unit: u8 =
        unit.parse().map_err(|_| wrong(format!("{unit:?} is no unit: write BUS/UNIT, for example {bus}/7")))?;
    let mut device = made_up(Table::Holding, &[0])?;
    device.bus = Some(place);
    if let Station::Modbus(station) = &mut device.station {
        station.unit = unit;
    }
    Ok((&site.buses[place], device))
}

/// A device with these registers as its points, as a site file would have it.
fn made_up(table: Table, addresses: &[u16]) -> anyhow::Result<Device> {
    let mut text =
        "[site]\nid = \"guess\"\n[[bus]]\nid = \"bus\"\ntcp = \"127.0.0.1\"\n[[device]]\nid = \"guess\"\nunit = 1\n"
            .to_owned();
    for address in addresses {
        let table = table.as_str();
        text += &format!(
            "[[device.point]]\nname = \"r{address}\"\ntable = \"{table}\"\naddress = {address}\ntype = \"u16\"\n"
        );
    }
    let checked = gatehouse_config::check("guess.toml", &text, Path::new(""), &Library::new());
    let loaded = checked.map_err(|problems| Failure::error(exit::UNEXPECTED, problems.to_string()))?;
    let device = loaded.site.devices.first().map(|device| (**device).clone());
    device.ok_or_else(|| Failure::error(exit::UNEXPECTED, "a device without a device"))
}

/// Reads the register and its neighbours: through the running daemon, or directly when none runs.
async fn read(args: &Args, bus: &Bus, device: &Device, table: Table) -> anyhow::Result<Option<Row>> {
    let words = match client::call(&args.at.socket(), "/api/v1/status", None).await {
        Ok(_) => through_daemon(args, bus, device, table).await?,
        Err(ClientError::NoDaemon(_)) => directly(args, bus, device, table).await?,
        Err(error) => return Err(error.into()),
    };
    Ok(row(&words, table, args.register.address))
}

/// The longest row of registers around `address`, one before it and three behind it at most.
fn row(words: &BTreeMap<u16, u16>, table: Table, address: u16) -> Option<Row> {
    words.get(&address)?;
    let first = address.checked_sub(1).filter(|before| words.contains_key(before)).unwrap_or(address);
    let last = address.saturating_add(REGISTERS_MOST - 1);
    let words: Vec<u16> = (first..=last).map_while(|at| words.get(&at).copied()).collect();
    Some(Row { table, first, before: address - first, words })
}

/// Opens the port and reads as many registers as the device gives.
async fn directly(args: &Args, bus: &Bus, device: &Device, table: Table) -> anyhow::Result<BTreeMap<u16, u16>> {
    let address = args.register.address;
    let window = |before: u16, count: u16| -> Vec<u16> {
        let first = address.saturating_sub(before);
        (first..=address.saturating_add(count - 1)).collect()
    };
    // A device refuses a read of which it has not all.
    for addresses in [window(1, REGISTERS_MOST), window(0, REGISTERS_MOST), window(0, 2), window(0, 1)] {
        let mut asked = made_up(table, &addresses)?;
        asked.bus = device.bus;
        asked.id = device.id.clone();
        asked.characters = device.characters;
        asked.timeout = device.timeout;
        match (&mut asked.station, &device.station) {
            (Station::Modbus(asked), Station::Modbus(known)) => {
                (asked.unit, asked.limits) = (known.unit, known.limits.clone());
            }
            (
                Station::Modbus(_)
                | Station::Dlt645(_)
                | Station::Cjt188(_)
                | Station::Osdp(_)
                | Station::Uhppote(_)
                | Station::Own(_),
                _,
            ) => return Ok(BTreeMap::new()),
        }
        let answer = direct::read_on(bus, &asked, Action::Read(Vec::new())).await?;
        let word = |point: &doc::Point| {
            let at: u16 = point.name.strip_prefix('r')?.parse().ok()?;
            Some((at, point.value.as_ref()?.parse::<u16>().ok()?))
        };
        let words: BTreeMap<u16, u16> = answer.points.iter().filter_map(word).collect();
        if words.contains_key(&address) {
            return Ok(words);
        }
    }
    Ok(BTreeMap::new())
}

/// Has the running daemon read the device's points at the register, and takes it from the frames.
async fn through_daemon(args: &Args, bus: &Bus, device: &Device, table: Table) -> anyhow::Result<BTreeMap<u16, u16>> {
    let address = u32::from(args.register.address);
    let near = address.saturating_sub(1)..=address + u32::from(REGISTERS_MOST);
    let covers = |point: &&gatehouse_config::PointConfig| {
        point.spec.modbus().is_some_and(|place| {
            let first = u32::from(place.address);
            place.table == table && first <= *near.end() && first + u32::from(place.width()) > *near.start()
        })
    };
    let points: Vec<&str> = device.points.iter().filter(covers).map(|point| point.spec.name.as_str()).collect();
    if points.is_empty() || args.device.contains('/') {
        if args.table.is_none() && args.register.table.is_none() {
            return Ok(BTreeMap::new());
        }
        let text = format!(
            "{}: the daemon has the port, and no point of the device is at {} {address}: add one there (type = \"u16\"), \
             `gatehouse reload`, and guess again; or stop the daemon, and the register is read directly",
            args.device,
            table.as_str()
        );
        return Err(Failure::error(exit::DEVICE, text));
    }
    let (_, frames) = explain::ask(&args.at, bus.id.as_str(), &args.device, &points).await?;
    let mut words = BTreeMap::new();
    for pair in frames.frames.windows(2) {
        let [request, reply] = pair else { continue };
        if request.sent && !reply.sent && request.device.as_deref() == Some(&*args.device) {
            words.extend(registers(bus.framing, table, (&request.raw(), &reply.raw())).unwrap_or_default());
        }
    }
    Ok(words)
}

/// The registers that a request and its reply hold, by address.
fn registers(framing: Framing, wanted: Table, (request, reply): (&[u8], &[u8])) -> Option<BTreeMap<u16, u16>> {
    let asked = decode_request(framing, request).ok()?;
    let Request::Read { table, address, .. } = asked.request else { return None };
    let Reply::Registers { registers, .. } = decode_reply(framing, reply, Some(&asked)).ok()?.reply else {
        return None;
    };
    (table == wanted).then(|| (address..=u16::MAX).zip(registers).collect())
}

fn fit(fit: Fit) -> &'static str {
    match fit {
        Fit::Exact => "exact",
        Fit::Rounded => "rounded",
        Fit::Cut => "cut",
    }
}

/// A value as it fits into a table: floats of no everyday size by their power of ten.
fn short(value: &Value) -> String {
    let float = match value {
        Value::F32(float) => f64::from(*float),
        Value::F64(float) => *float,
        Value::Bool(_) | Value::Decimal(_) | Value::Text(_) => return value.to_string(),
    };
    let usual = float == 0.0 || (1e-6..1e15).contains(&float.abs());
    if usual { value.to_string() } else { format!("{float:.3e}") }
}

fn show(args: &Args, rows: &[Row], found: &[(Table, u16, Candidate)], out: &mut dyn Write) -> anyhow::Result<()> {
    for row in rows {
        let words: Vec<String> = row.words.iter().map(|word| format!("{word:04X}")).collect();
        writeln!(out, "{} {} on: {}", row.table.as_str(), row.first, words.join(" "))?;
    }
    if found.is_empty() {
        writeln!(out, "\nnothing gives {}. Unscaled the register holds:", args.shows)?;
        let mut list = table(&["TABLE", "TYPE", "ORDER", "VALUE"]);
        for row in rows {
            for (_, kind, order, value) in guess::readings(&row.words, row.before) {
                list.add_row([row.table.as_str(), kind.as_str(), order.as_str(), &short(&value)]);
            }
        }
        writeln!(out, "{list}")?;
        return Ok(());
    }
    let mut list = table(&["TABLE", "ADDRESS", "TYPE", "ORDER", "SCALE", "VALUE", "MATCH"]);
    for (place, address, one) in found.iter().take(SHOWN_MOST) {
        list.add_row([
            place.as_str().to_owned(),
            address.to_string(),
            one.data_type.as_str().to_owned(),
            one.order.as_str().to_owned(),
            one.scale.to_string(),
            one.value.to_string(),
            fit(one.fit).to_owned(),
        ]);
    }
    writeln!(out, "{list}")?;
    if found.len() > SHOWN_MOST {
        writeln!(out, "and {} more, less likely", found.len() - SHOWN_MOST)?;
    }
    if let Some((place, address, best)) = found.first() {
        writeln!(out, "\n{}", best.lines("shown", *place, *address))?;
    }
    writeln!(out, "Guess again when the display shows another number: what still matches then is right.")?;
    Ok(())
}

fn json(args: &Args, rows: &[Row], found: &[(Table, u16, Candidate)], out: &mut dyn Write) -> anyhow::Result<()> {
    let read = |row: &Row| json!({ "table": row.table.as_str(), "first": row.first, "registers": row.words });
    let told = |(place, address, one): &(Table, u16, Candidate)| {
        json!({
            "table": place.as_str(), "address": address, "type": one.data_type.as_str(), "order": one.order.as_str(),
            "scale": one.scale.to_string(), "value": one.value.to_string(), "match": fit(one.fit),
            "lines": one.lines("shown", *place, *address),
        })
    };
    let readings = rows.iter().flat_map(|row| {
        guess::readings(&row.words, row.before).into_iter().map(|(_, kind, order, value)| {
            json!({
                "table": row.table.as_str(), "type": kind.as_str(), "order": order.as_str(), "value": value.to_string(),
            })
        })
    });
    print_json(
        out,
        &json!({
            "device": args.device, "register": args.register.address, "shows": args.shows.to_string(),
            "read": rows.iter().map(read).collect::<Vec<_>>(),
            "candidates": found.iter().map(told).collect::<Vec<_>>(),
            "unscaled": readings.collect::<Vec<_>>(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_named_as_on_the_wire_or_as_in_a_manual() {
        let plain = |address| Ok(Register { address, table: None });
        assert_eq!(register("20"), plain(20));
        assert_eq!(register("0x1F"), plain(31));
        assert_eq!(register("50001"), plain(50_001));
        assert_eq!(register("40021"), Ok(Register { address: 20, table: Some(Table::Holding) }));
        assert_eq!(register("300021"), Ok(Register { address: 20, table: Some(Table::Input) }));
        for wrong in ["", "x", "70000", "0x10000", "-1"] {
            assert!(register(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_float_of_no_everyday_size_does_not_fill_the_screen() {
        assert_eq!(short(&Value::F64(-2.5e90)), "-2.500e90");
        assert_eq!(short(&Value::F32(431.5)), "431.5");
        assert_eq!(short(&Value::F32(0.0)), Value::F32(0.0).to_string());
    }

    #[test]
    fn the_row_around_a_register_ends_at_the_first_that_is_missing() {
        let words: BTreeMap<u16, u16> = [(19, 1), (20, 2), (21, 3), (23, 4)].into();
        let expected = Row { table: Table::Input, first: 19, before: 1, words: vec![1, 2, 3] };
        assert_eq!(row(&words, Table::Input, 20), Some(expected));
        assert_eq!(row(&words, Table::Input, 22), None);
    }

    #[test]
    fn registers_are_taken_from_what_the_daemon_said_and_heard() {
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        Framing::Rtu.encode(0, 7, &[4, 0, 10, 0, 2], &mut request);
        Framing::Rtu.encode(0, 7, &[4, 4, 0x12, 0x34, 0x56, 0x78], &mut reply);
        let words = registers(Framing::Rtu, Table::Input, (&request, &reply));
        assert_eq!(words, Some([(10, 0x1234), (11, 0x5678)].into()));
        assert_eq!(registers(Framing::Rtu, Table::Holding, (&request, &reply)), None);
    }
}
