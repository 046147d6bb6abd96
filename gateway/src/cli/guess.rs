//! `gatehouse guess`: type, order and scale of a register, by what the display shows.

mod registers;

use std::io::Write;
use std::process::ExitCode;

use gatehouse_config::Station;
use gatehouse_core::{Decimal, RegisterTable, Value};
use gatehouse_drivers::modbus::guess::{self, Candidate, Fit};
use gatehouse_drivers::modbus::point::Table;
use serde_json::json;

use super::{Failure, Where, block_on, exit, load_site, print_json, table};
use registers::{Around, Lack, Row};

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
    table: Option<RegisterTable>,
    /// Prints the candidates as JSON.
    #[arg(long)]
    json: bool,
}

/// A register as it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Register {
    address: u16,
    /// As the notation says it.
    table: Option<RegisterTable>,
}

fn register(text: &str) -> Result<Register, String> {
    let wrong = || {
        "write 0 to 65535, 0x1F, or 30001 to 49999 (with six digits 300001 to 465536) of a manual that counts from 1"
            .to_owned()
    };
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
        400_001..=465_536 => counted(400_001, RegisterTable::Holding),
        300_001..=365_536 => counted(300_001, RegisterTable::Input),
        // Five digits may be a wire address as well; what is meant is told with the answer.
        40_001..=49_999 if text.len() == 5 => counted(40_001, RegisterTable::Holding),
        30_001..=39_999 if text.len() == 5 => counted(30_001, RegisterTable::Input),
        number => u16::try_from(number).map(|address| Register { address, table: None }).map_err(|_| wrong()),
    }
}

fn register_table(text: &str) -> Result<RegisterTable, String> {
    RegisterTable::parse(text).ok_or("holding or input".to_owned())
}

fn shown(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).map_err(|why| why.to_string())
}

/// Reads the registers and shows what they may be.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let site = load_site(&args.at.config)?;
    let meant = registers::find(&site, &args.device)?;
    let Station::Modbus(station) = &meant.device.station else {
        let text =
            format!("{}: only Modbus registers have to be guessed; other protocols name type and scale", args.device);
        return Err(Failure::error(exit::USAGE, text));
    };
    let tables = match args.table.or(args.register.table) {
        Some(table) => vec![table],
        None => vec![RegisterTable::Holding, RegisterTable::Input],
    };
    let (rows, reasons) = block_on(async {
        let way = registers::way(args, &meant, station.unit).await?;
        let (mut rows, mut reasons) = (Vec::new(), Vec::new());
        let mut around = Around::All;
        for table in tables {
            match registers::read(&way, table, args.register.address, around).await? {
                Ok(row) => rows.push(row),
                Err(Lack::NoAnswer) => {
                    around = Around::Nothing;
                    reasons.push(format!("{} registers: no answer", table.as_str()));
                }
                Err(Lack::Refused(why)) => {
                    reasons.push(format!("{} registers: {}", table.as_str(), registers::in_words(&why)));
                }
            }
        }
        Ok((rows, reasons))
    })?;
    if rows.is_empty() {
        let text = format!("{} gives no register {}: {}", args.device, args.register.address, reasons.join("; "));
        return Err(Failure::error(exit::DEVICE, text));
    }
    let found = candidates(&rows, args.shows);
    if args.json {
        json(args, &rows, &found, out)?;
    } else {
        show(args, &rows, &found, out)?;
    }
    Ok(ExitCode::from(if found.is_empty() { exit::DEVICE } else { exit::OK }))
}

/// What the rows may be, each with its table and its address, the best first.
fn candidates(rows: &[Row], shows: Decimal) -> Vec<(Table, u16, Candidate)> {
    let mut found = Vec::new();
    for row in rows {
        let candidates = guess::candidates(&row.words, row.before, shows);
        found.extend(candidates.into_iter().map(|one| (row.table.into(), row.first + one.first, one)));
    }
    found.sort_by_key(|(_, _, candidate): &(Table, u16, Candidate)| candidate.rank);
    found
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
    // Many devices have the same registers in both tables: once is enough.
    let is_twin = |table: Table| {
        let twin = rows.iter().skip(1).find(|row| Table::from(row.table) == table);
        twin.is_some_and(|twin| {
            rows.first().is_some_and(|first| (first.first, &first.words) == (twin.first, &twin.words))
        })
    };
    for row in rows {
        let words: Vec<String> = row.words.iter().map(|word| format!("{word:04X}")).collect();
        let words = if is_twin(row.table.into()) { "the same".to_owned() } else { words.join(" ") };
        writeln!(out, "{} {} on: {words}", row.table.as_str(), row.first)?;
    }
    let found: Vec<_> = found.iter().filter(|(table, ..)| !is_twin(*table)).collect();
    if found.is_empty() {
        writeln!(out, "\nnothing gives {}. Unscaled the register holds:", args.shows)?;
        let mut list = table(&["TABLE", "TYPE", "ORDER", "VALUE"]);
        for row in rows.iter().filter(|row| !is_twin(row.table.into())) {
            for (_, kind, order, value) in guess::readings(&row.words, row.before) {
                list.add_row([row.table.as_str(), kind.as_str(), order.as_str(), &short(&value)]);
            }
        }
        writeln!(out, "{list}")?;
        writeln!(
            out,
            "Is it the right register? Manuals count from 0 or from 1, and the display may multiply by a ratio of transformers. \
             Try the registers around it, or the other ones of the manual."
        )?;
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
        assert_eq!(register("40021"), Ok(Register { address: 20, table: Some(RegisterTable::Holding) }));
        assert_eq!(register("300021"), Ok(Register { address: 20, table: Some(RegisterTable::Input) }));
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

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn shown_for(line: &str, rows: &[Row]) -> String {
        let line = std::iter::once("guess").chain(line.split(' '));
        let args = <Line as clap::Parser>::try_parse_from(line).unwrap().args;
        let mut out = Vec::new();
        show(&args, rows, &candidates(rows, args.shows), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_both_tables_hold_alike_is_shown_once_and_where_nothing_suits_the_next_step_is_told() {
        let row = |table, word| Row { table, first: 20, before: 0, words: vec![word] };
        let (holding, input) = (row(RegisterTable::Holding, 2305), row(RegisterTable::Input, 2305));
        let text = shown_for("meter 20 --shows 230.5", &[holding.clone(), input.clone()]);
        assert!(text.contains("holding 20 on: 0901\ninput 20 on: the same\n"), "{text}");
        assert!(text.contains("\n holding  20 ") && !text.contains("\n input "), "{text}");
        let text = shown_for("meter 20 --shows 230.5", &[row(RegisterTable::Holding, 2306), input.clone()]);
        assert!(text.contains("\ninput 20 on: 0901\n") && text.contains("\n input  20 "), "{text}");
        let text = shown_for("meter 20 --shows 77", &[holding, input]);
        assert_eq!(text.matches("u16    ABCD").count(), 1, "{text}");
        assert!(text.contains("Is it the right register?"), "{text}");
    }
}
