//! `gatehouse outputs-off`: brings the box's relays to rest for a daemon that could not do so itself.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use gatehouse_config::{Severity, render};

use super::{Failure, Where, exit};
use crate::daemon::box_io;

/// Arguments of `gatehouse outputs-off`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
}

/// Drives off every relay whose `at_restart` is not `"keep"`. Needs nothing of the site file but its `[box]`.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let socket = args.at.socket();
    if UnixStream::connect(&socket).is_ok() {
        let text = format!("a daemon answers at {}: stop it, which drives its relays off itself", socket.display());
        return Err(Failure::error(exit::USAGE, text));
    }
    let (relays, problems) = gatehouse_config::relays(&args.at.config)
        .map_err(|problems| Failure::error(exit::CONFIGURATION, problems.to_string()))?;
    let troubles = box_io::all_off(&relays);
    for trouble in &troubles {
        eprintln!("gatehouse: {trouble}");
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Failure::error(exit::CONFIGURATION, render(&problems)));
    }
    Ok(ExitCode::from(if troubles.is_empty() { exit::OK } else { exit::DEVICE }))
}
