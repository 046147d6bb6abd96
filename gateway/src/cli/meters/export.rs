//! `gatehouse meters export`: a month's account as CSV or as an XLSX workbook.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use gatehouse_rules::billing::statement::{Books, needed, statement};
use jiff::tz::TimeZone;

use super::sheets::{self, Sheet};
use crate::api::client;
use crate::cli::{Failure, Where, block_on, exit, print_json};

/// Arguments of `gatehouse meters export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The month.
    #[arg(long, value_name = "YYYY-MM")]
    month: String,
    /// How it is written.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Where to; stdout, if it is not given. XLSX needs a file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The fixed-clock reading that settles the month; the first monthly one, else the first daily one.
    #[arg(long, value_name = "NAME")]
    reading: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma-separated: one table after the other, each behind a line with its name.
    Csv,
    /// A workbook with one sheet for each table.
    Xlsx,
    /// The whole account.
    Json,
}

/// Writes a month's account.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let usage = |why: String| Failure::error(exit::USAGE, why);
    needed(&args.month).map_err(|why| usage(why.to_string()))?;
    if args.format == Format::Xlsx && args.output.is_none() {
        return Err(usage("a workbook needs a file: add --output account.xlsx".to_owned()));
    }
    let path = format!("/api/v1/meters/books/{}", args.month);
    let answer = block_on(async { Ok(client::call(&args.at.socket(), &path, None).await?) })?;
    let books: Books = serde_json::from_value(answer)?;
    let zone = TimeZone::get(&books.timezone)
        .map_err(|_| usage(format!("this machine does not know the zone {:?} (package tzdata)", books.timezone)))?;
    let account =
        statement(&books, &zone, &args.month, args.reading.as_deref()).map_err(|why| usage(why.to_string()))?;
    let sheets = sheets::of(&account, &books, &zone);
    let mut bytes = Vec::new();
    match args.format {
        Format::Csv => csv(&sheets, &mut bytes)?,
        Format::Xlsx => bytes = workbook(&sheets)?,
        Format::Json => print_json(&mut bytes, &account)?,
    }
    match &args.output {
        Some(path) => std::fs::write(path, &bytes)
            .map_err(|why| Failure::error(exit::UNEXPECTED, format!("{}: {why}", path.display())))?,
        None => out.write_all(&bytes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tables as RFC 4180 has them, each behind a line with its name and before an empty one.
fn csv(sheets: &[Sheet], out: &mut dyn Write) -> std::io::Result<()> {
    for (at, sheet) in sheets.iter().enumerate() {
        if at > 0 {
            out.write_all(b"\r\n")?;
        }
        write!(out, "# {}\r\n", sheet.name)?;
        let header = sheet.header.iter().map(|text| (*text).to_owned()).collect();
        for row in std::iter::once(&header).chain(&sheet.rows) {
            let fields: Vec<String> = row.iter().map(|text| field(text)).collect();
            write!(out, "{}\r\n", fields.join(","))?;
        }
    }
    Ok(())
}

fn field(text: &str) -> String {
    // A spreadsheet would take these for formulas.
    let formula = text.starts_with(['=', '+', '@']) || text.starts_with('-') && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A workbook. Numbers of up to 15 digits are numbers, and others texts: a spreadsheet would round them.
fn workbook(sheets: &[Sheet]) -> anyhow::Result<Vec<u8>> {
    use rust_xlsxwriter::{Format, Workbook};
    let mut book = Workbook::new();
    let bold = Format::new().set_bold();
    for sheet in sheets {
        let page = book.add_worksheet();
        page.set_name(sheet.name)?;
        for (column, title) in (0u16..).zip(&sheet.header) {
            page.write_with_format(0, column, *title, &bold)?;
        }
        page.set_freeze_panes(1, 0)?;
        for (row, cells) in (1u32..).zip(&sheet.rows) {
            for (column, cell) in (0u16..).zip(cells) {
                let is_number =
                    sheet.header.get(usize::from(column)).is_some_and(|title| sheets::NUMBERS.contains(title));
                match cell.parse::<f64>().ok().filter(|_| is_number && digits(cell) <= 15) {
                    Some(number) => {
                        let places = cell.split_once('.').map_or(0, |(_, places)| places.len());
                        let shown = if places == 0 { "0".to_owned() } else { format!("0.{}", "0".repeat(places)) };
                        page.write_with_format(row, column, number, &Format::new().set_num_format(shown))?;
                    }
                    None if cell.is_empty() => {}
                    None => drop(page.write(row, column, cell.as_str())?),
                }
            }
        }
        page.autofit();
    }
    Ok(book.save_to_buffer()?)
}

fn digits(text: &str) -> usize {
    text.bytes().filter(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be_and_never_become_formulas() {
        assert_eq!(field("12345.60"), "12345.60");
        assert_eq!(field("-3.50"), "-3.50");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"no\""), "\"say \"\"no\"\"\"");
        assert_eq!(field("=1+1"), "'=1+1");
        assert_eq!(field("-cmd"), "'-cmd");
    }
}
