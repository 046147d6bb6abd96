//! `gatehouse identify`: what a device says of itself (Modbus function 43/14).

use std::io::Write;
use std::process::ExitCode;

use super::{Where, block_on, check_device_id, load_site, print_json, table};
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::daemon::direct;

/// Arguments of `gatehouse identify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device's id.
    device: String,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks through the running daemon, or directly when none runs.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check_device_id(&args.device)?;
    let answer = block_on(async {
        let path = format!("/api/v1/devices/{}/identify", args.device);
        match client::call(&args.at.socket(), &path, Some(serde_json::json!({}))).await {
            Ok(answer) => Ok(serde_json::from_value::<doc::IdentifyAnswer>(answer)?),
            Err(ClientError::NoDaemon(_)) => direct::identify(&load_site(&args.at.config)?, &args.device).await,
            Err(error) => Err(error.into()),
        }
    })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        let mut objects = table(&["OBJECT", "TEXT"]);
        for (name, text) in &answer.objects {
            objects.add_row([name, text]);
        }
        writeln!(out, "{objects}")?;
    }
    Ok(ExitCode::SUCCESS)
}
