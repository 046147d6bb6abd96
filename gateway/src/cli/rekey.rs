//! `gatehouse rekey`: gives an OSDP reader another key, through the running daemon.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::{Where, block_on, check_device_id, print_json};
use crate::api::client;

/// Longer than the daemon takes for the key and, should the reader not take it, for the way back.
const PATIENCE: Duration = Duration::from_secs(300);

/// Arguments of `gatehouse rekey`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The reader's device id.
    device: String,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Waits until the reader is back under its new key.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check_device_id(&args.device)?;
    let path = format!("/api/v1/devices/{}/rekey", args.device);
    let body = Some(serde_json::json!({}));
    let answer = block_on(async { Ok(client::call_within(PATIENCE, &args.at.socket(), &path, body).await?) })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        writeln!(out, "{} has a new key, which only this box knows, and is connected under it", args.device)?;
    }
    Ok(ExitCode::SUCCESS)
}
