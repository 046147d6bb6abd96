//! `gatehouse write`: one point, read back and verified.

use std::io::Write;
use std::process::ExitCode;

use super::{Where, block_on, exit, load_site, print_json};
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::daemon::direct;

/// Arguments of `gatehouse write`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device's id.
    device: String,
    /// The point.
    point: String,
    /// The value in the point's unit: `on`, `off`, `12.5`.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Prints the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Writes through the running daemon, or directly when none runs.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    super::check_device_id(&args.device)?;
    let answer = block_on(async {
        let path = format!("/api/v1/devices/{}/write", args.device);
        let body = serde_json::json!({ "point": args.point, "value": args.value });
        match client::call(&args.at.socket(), &path, Some(body)).await {
            Ok(answer) => Ok(serde_json::from_value::<doc::WriteAnswer>(answer)?),
            Err(ClientError::NoDaemon(_)) => {
                let site = load_site(&args.at.config)?;
                direct::write(&site, &args.device, &args.point, &args.value).await
            }
            Err(error) => Err(error.into()),
        }
    })?;
    let done = matches!(answer.outcome.as_str(), "verified" | "acknowledged");
    if args.json {
        print_json(out, &answer)?;
    } else {
        let detail = answer.detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default();
        let back = answer.read_back.as_ref().map(|v| format!(", it reads {v}")).unwrap_or_default();
        writeln!(out, "{} {}: {}{detail}{back}", answer.device, answer.point, answer.outcome)?;
    }
    Ok(ExitCode::from(if done { exit::OK } else { exit::DEVICE }))
}
