//! `gatehouse rules`: what the rules of a site would do, without a daemon, a device or a wait.

mod order;
mod records;
mod replay;
mod scenario;
mod seen;
mod series;
mod stage;
mod test;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

/// Arguments of `gatehouse rules`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tests rules: made-up readings in, expected alarms out. Exits with 1 when a test fails, with 3 for a bad file.
    Test(test::Args),
    /// Shows which alarms recorded readings would have raised with the rules as they are now.
    Replay(replay::Args),
}

/// Runs the command.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Test(args) => test::run(args, out),
        Command::Replay(args) => replay::run(args, out),
    }
}
