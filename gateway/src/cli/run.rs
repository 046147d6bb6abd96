//! `gatehouse run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::daemon;

/// Arguments of `gatehouse run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The site file.
    #[arg(long, short, value_name = "FILE", default_value = super::DEFAULT_CONFIG, env = "GATEHOUSE_CONFIG")]
    config: PathBuf,
}

/// Runs until SIGTERM or SIGINT; SIGHUP loads the site file anew.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    daemon::memory::keep_little();
    daemon::log::init();
    daemon::run::run(&args.config)?;
    Ok(ExitCode::SUCCESS)
}
