//! `gatehouse scan`: what is on a port, before there is a site file.

mod drive;
mod fit;
mod place;
mod report;
mod site_file;
mod stop;
mod target;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gatehouse_drivers::point::{PROTOCOLS, Protocol};
use gatehouse_drivers::scan::{Channel, Finding, Options, Plan, Scan};

use super::{Failure, block_on, exit};
use drive::{Ending, Outcome};
use site_file::SiteFile;
use target::Target;

/// Seconds of listening at one speed, and most of them.
const LISTEN: u64 = 2;
const LISTEN_MOST: u64 = 600;

/// Arguments of `gatehouse scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: super::Where,
    /// A serial port (`/dev/ttyUSB0`), a Modbus TCP device or gateway (`10.0.0.5`, `10.0.0.5:1502`), a transparent serial server
    /// (`10.0.0.6:4001`), or `udp` for the door controllers of the network, of another network `udp:192.168.7.255`.
    #[arg(value_name = "PORT|HOST")]
    target: String,
    /// Tries this protocol only; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = protocol)]
    protocol: Vec<Protocol>,
    /// How a host carries what is asked: `tcp` in Modbus TCP, `raw` as it is on a wire, as transparent serial servers do. Without
    /// it that is found out.
    #[arg(long, value_name = "NAME")]
    framing: Option<Framing>,
    /// Tries this speed only; may be given several times.
    #[arg(long, value_name = "BITS")]
    baud: Vec<u32>,
    /// Tries these addresses of Modbus units and OSDP readers only.
    #[arg(long, value_name = "A..B", value_parser = addresses)]
    address: Option<(u8, u8)>,
    /// Listens so many seconds, on a serial port at each speed, for a master that is there already; 0 for a line that surely has none; 2 when it
    /// is not said.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=LISTEN_MOST))]
    listen: Option<u64>,
    /// Prints what was found as JSON.
    #[arg(long)]
    json: bool,
    /// The site file to write. It must not exist. Without it the first free one of `site-scan.toml`, `site-scan-2.toml`, ...
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a host carries what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Framing {
    /// In Modbus TCP.
    Tcp,
    /// As it is on a wire.
    Raw,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, protocol)| *protocol);
    let names = || PROTOCOLS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    known.ok_or_else(|| format!("it is one of {}", names()))
}

fn addresses(text: &str) -> Result<(u8, u8), String> {
    let wrong = || "write it like 1..32, or 7 for one address; addresses go from 0 to 255".to_owned();
    let number = |text: &str| text.trim().parse::<u8>().map_err(|_| wrong());
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok((first, last)) } else { Err(wrong()) }
}

/// The file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    path: PathBuf,
    /// Devices that can be polled as they stand.
    devices: usize,
}

/// Scans, shows what was found, and writes it into a site file.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let usage = |why: String| Failure::error(exit::USAGE, why);
    let target = Target::parse(&args.target).map_err(usage)?;
    fit::check(args, &target).map_err(usage)?;
    place::check(args.out.as_deref()).map_err(usage)?;
    let options = Options { protocols: args.protocol.clone(), bauds: args.baud.clone(), addresses: args.address };
    let outcome = block_on(async {
        target.refuse_if_taken(&args.at.socket()).await?;
        match plan(&target, args.framing, &options) {
            None => drive::controllers(&target).await,
            Some(plan) => drive::scan(&target, scan(plan, args.listen)?).await,
        }
    })?;
    let has_some = !outcome.findings.is_empty();
    let file = has_some.then(|| write_file(args, &target, &outcome, out)).transpose()?;
    let path = file.as_ref().map(|file| file.path.as_path());
    let shown = if args.json { report::json(&target, &outcome, path, out) } else { report::table(&outcome, out) };
    // Who does not hear the one may hear the other, and the file is there.
    report::say(&target, &outcome, file.as_ref());
    shown?;
    Ok(ExitCode::from(code(&outcome)))
}

/// What is tried; `None`: controllers, which are all asked at once.
fn plan(target: &Target, framing: Option<Framing>, options: &Options) -> Option<Plan> {
    match (target, framing) {
        (Target::Serial(_), _) => Some(Plan::new(Channel::Serial, options)),
        (Target::Tcp { .. }, None) => Some(Plan::of_socket(options)),
        (Target::Tcp { .. }, Some(Framing::Tcp)) => Some(Plan::new(Channel::Tcp, options)),
        (Target::Tcp { .. }, Some(Framing::Raw)) => Some(Plan::new(Channel::Raw, options)),
        (Target::Udp { .. }, _) => None,
    }
}

fn scan(plan: Plan, listen: Option<u64>) -> anyhow::Result<Scan> {
    if plan.is_empty() {
        let text = "nothing is left to try: --protocol, --baud and --address exclude each other. Units are 1 to 247, readers \
                    0 to 126, and each protocol has speeds of its own (docs/commissioning.md)";
        return Err(Failure::error(exit::USAGE, text));
    }
    Ok(Scan::new(plan, Duration::from_secs(listen.unwrap_or(LISTEN))))
}

/// Something was found, nothing is in doubt, and nobody else is on the line.
fn code(outcome: &Outcome) -> u8 {
    let clean = outcome.findings.iter().all(|finding| matches!(finding, Finding::Found(_)));
    match outcome.ending {
        Ending::Finished | Ending::Interrupted if clean && !outcome.findings.is_empty() => exit::OK,
        Ending::Finished
        | Ending::Interrupted
        | Ending::ForeignMaster { .. }
        | Ending::Unquiet { .. }
        | Ending::Lost(_) => exit::DEVICE,
    }
}

/// Writes the site file; where that is not possible, it goes to the output, so that a long scan is not lost.
fn write_file(args: &Args, target: &Target, outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<Written> {
    let path = place::free(args.out.as_deref());
    let SiteFile { text, devices } = site_file::make(target, outcome, &path);
    if let Err(why) = place::write(&path, &text) {
        out.write_all(text.as_bytes())?;
        let text = format!("{}: {why}: what was found is above instead", path.display());
        return Err(Failure::error(exit::UNEXPECTED, text));
    }
    Ok(Written { path, devices })
}

/// A path as a person types it again.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_range_or_one() {
        assert_eq!(addresses("1..32"), Ok((1, 32)));
        assert_eq!(addresses("7"), Ok((7, 7)));
        for wrong in ["", "9..3", "1-9", "300", "1..x"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_protocol_is_named_as_in_the_site_file() {
        assert_eq!(protocol("osdp"), Ok(Protocol::Osdp));
        assert!(protocol("dlt645").unwrap_err().contains("dlt645-2007, dlt645-1997"));
    }
}
