//! The command line: one file per command; each prints its data on stdout and its troubles on stderr.

mod access;
mod check;
mod command;
mod decided;
mod degraded;
mod explain;
mod generate;
mod guess;
mod identify;
mod meters;
mod monitor;
mod outputs_off;
mod plan;
mod profiles;
mod read;
mod rekey;
mod rules;
mod run;
mod scan;
mod status;
mod tickets;
mod write;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::client::ClientError;

/// Exit codes, the same for every command.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// Something that should not happen.
    pub const UNEXPECTED: u8 = 1;
    /// The command line was wrong.
    pub const USAGE: u8 = 2;
    /// The configuration is wrong.
    pub const CONFIGURATION: u8 = 3;
    /// A device or the link did not do its part.
    pub const DEVICE: u8 = 4;
    /// The store did not do its part.
    pub const STORE: u8 = 5;
}

/// Where the site file is looked for.
const DEFAULT_CONFIG: &str = "/etc/gatehouse/site.toml";

#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, about = "The edge gateway of a property site", long_about = LONG_ABOUT)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Gatehouse polls a site's meters, relay boards and controllers over Modbus, keeps every reading \
and delivers it to the property company's core over MQTT, losing nothing while the link is down.\n\n\
Exit codes: 0 ok, 1 unexpected, 2 usage, 3 configuration, 4 device or link, 5 store.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon.
    Run(run::Args),
    /// Checks a site file and shows every problem at once.
    Check(check::Args),
    /// Shows the requests per device, the load of every bus and the data volume of the link, before anything runs.
    Plan(plan::Args),
    /// Tests the rules of a site, or replays recorded readings against them: without a daemon and without devices.
    Rules(rules::Args),
    /// Lists the device profiles, or shows one.
    Profiles(profiles::Args),
    /// Finds what is on a port or behind a host: protocols, line settings, addresses, models; writes a site file. Only reads.
    Scan(scan::Args),
    /// Finds type, order and scale of a register by what the meter's display shows.
    Guess(guess::Args),
    /// Reads a device now: through the running daemon, or directly when none runs.
    Read(read::Args),
    /// Asks a device for its vendor, product and revision.
    Identify(identify::Args),
    /// Follows a value from the bytes on the wire to its unit: the request, the reply, each step between.
    Explain(explain::Args),
    /// Shows the frames of a bus as they come, field by field, without disturbing it.
    Monitor(monitor::Args),
    /// Gives an OSDP reader a new key, which is kept sealed on the box: through the running daemon.
    Rekey(rekey::Args),
    /// Writes a point and reads it back: through the running daemon, or directly when none runs.
    Write(write::Args),
    /// Has a gate, an alarm, a ticket or a device act: through the running daemon, with an honest outcome.
    #[command(name = "command")]
    Act(command::Args),
    /// Lists the alarms of the running daemon that are not at rest.
    Alarms(decided::Args),
    /// Lists the tickets of the running daemon, or takes one on.
    Tickets(tickets::TicketsArgs),
    /// Lists the barriers and doors of the running daemon, and their states.
    Gates(decided::Args),
    /// Shows the credentials of the running daemon, or makes a code for a visitor.
    Access(access::Args),
    /// Lists the meters that bills are made of; records swaps, takes readings by hand, writes a month's account.
    Meters(meters::Args),
    /// Shows whether the running daemon counts as cut off from the core.
    Mode(decided::Args),
    /// Shows what the running daemon does.
    Status(status::StatusArgs),
    /// Shows what the running daemon holds for the core: how much, how old, how much room.
    Spool(status::SpoolArgs),
    /// Makes the running daemon load its site file anew; a bad file changes nothing.
    Reload(status::ReloadArgs),
    /// Drives off the relays of the box that are to be off while no daemon runs: for the end of the service.
    OutputsOff(outputs_off::Args),
    /// Prints a completion script for a shell.
    Completions(generate::CompletionsArgs),
    /// Writes the man pages into a folder.
    Man(generate::ManArgs),
}

/// Which daemon a command talks to.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// The site file; it names the daemon's socket.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "GATEHOUSE_CONFIG")]
    config: PathBuf,
    /// The daemon's socket, instead of the one that the site file names.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(args, &mut out),
        Command::Plan(args) => plan::run(args, &mut out),
        Command::Rules(args) => rules::run(&args, &mut out),
        Command::Profiles(args) => profiles::run(args, &mut out),
        Command::Scan(args) => scan::run(&args, &mut out),
        Command::Guess(args) => guess::run(&args, &mut out),
        Command::Read(args) => read::run(&args, &mut out),
        Command::Identify(args) => identify::run(&args, &mut out),
        Command::Explain(args) => explain::run(&args, &mut out),
        Command::Monitor(args) => monitor::run(&args, &mut out),
        Command::Rekey(args) => rekey::run(&args, &mut out),
        Command::Write(args) => write::run(&args, &mut out),
        Command::Act(args) => command::run(&args, &mut out),
        Command::Alarms(args) => decided::run(&decided::ALARMS, &args, &mut out),
        Command::Tickets(args) => tickets::run(args, &mut out),
        Command::Gates(args) => decided::run(&decided::GATES, &args, &mut out),
        Command::Access(args) => access::run(&args, &mut out),
        Command::Meters(args) => meters::run(&args, &mut out),
        Command::Mode(args) => decided::mode(&args, &mut out),
        Command::Status(args) => status::status(&args, &mut out),
        Command::Spool(args) => status::spool(&args, &mut out),
        Command::Reload(args) => status::reload(&args, &mut out),
        Command::OutputsOff(args) => outputs_off::run(&args),
        Command::Completions(args) => generate::completions(&args, &mut out),
        Command::Man(args) => generate::man(&args),
    };
    match result.and_then(|code| out.flush().map(|()| code).map_err(Into::into)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Prints an error in one line and chooses the exit code by its kind. A closed pipe is success.
fn fail(error: &anyhow::Error) -> ExitCode {
    let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(closed) {
        return ExitCode::from(exit::OK);
    }
    // Where the terminal is gone, the exit code is all that one can tell.
    let _ = writeln!(io::stderr(), "gatehouse: {error:#}");
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return ExitCode::from(failure.code);
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(refusal)) => ExitCode::from(match (refusal.status, refusal.code.as_str()) {
            (_, "configuration") => exit::CONFIGURATION,
            (400 | 403 | 404, _) | (_, "read_only") => exit::USAGE,
            (500, _) => exit::UNEXPECTED,
            _ => exit::DEVICE,
        }),
        Some(_) => ExitCode::from(exit::DEVICE),
        None => ExitCode::from(exit::UNEXPECTED),
    }
}

/// A message with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// One of [`exit`].
    pub code: u8,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    pub(crate) fn error(code: u8, message: impl Into<String>) -> anyhow::Error {
        Failure { code, message: message.into() }.into()
    }
}

/// Loads the site file, or prints all its problems and fails with the configuration's exit code.
pub(crate) fn load_site(path: &Path) -> anyhow::Result<gatehouse_config::Site> {
    crate::daemon::load(path).map_err(|problems| Failure::error(exit::CONFIGURATION, problems))
}

/// The daemon's socket where neither the command line nor the site file names one.
const DEFAULT_SOCKET: &str = "/run/gatehouse/api.sock";

impl Where {
    /// The daemon's socket: as given, or as the site file names it. The rest of the file is not looked at, for someone may
    /// be in the middle of changing it.
    pub(crate) fn socket(&self) -> PathBuf {
        let named = || {
            let text = std::fs::read_to_string(&self.config).ok()?;
            let file: toml::Table = toml::from_str(&text).ok()?;
            let socket = Path::new(file.get("api")?.get("socket")?.as_str()?);
            Some(self.config.parent().unwrap_or(Path::new("")).join(socket))
        };
        self.socket.clone().or_else(named).unwrap_or_else(|| DEFAULT_SOCKET.into())
    }
}

/// Refuses what can be no device's id before it becomes part of a request.
pub(crate) fn check_device_id(id: &str) -> anyhow::Result<()> {
    let wrong = |e| Failure::error(exit::USAGE, format!("{id:?} is no device id: {e}"));
    gatehouse_core::Name::new(id).map(drop).map_err(wrong)
}

/// Runs a future on a small runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Prints a document as indented JSON.
pub(crate) fn print_json(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// A table without frames, for people and for `awk`.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(header.to_vec());
    table
}

/// A duration as people say it: `3 s`, `5 min`, `2 h`, `4 d`.
pub(crate) fn human_age(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "now".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// A size as people say it: `512 B`, `3.1 MB`.
#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(crate) fn human_bytes(bytes: u64) -> String {
    match bytes {
        b if b < 1000 => format!("{b} B"),
        b if b < 1_000_000 => format!("{:.1} kB", b as f64 / 1e3),
        b if b < 1_000_000_000 => format!("{:.1} MB", b as f64 / 1e6),
        b => format!("{:.1} GB", b as f64 / 1e9),
    }
}
