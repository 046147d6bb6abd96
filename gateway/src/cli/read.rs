//! `gatehouse read`: a device's points, now.

use std::io::Write;
use std::process::ExitCode;

use gatehouse_core::driver::Action;

use super::{Failure, Where, block_on, exit, load_site, print_json, table};
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::daemon::{device, direct};

/// Arguments of `gatehouse read`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device's id.
    device: String,
    /// Points; all when none is named.
    points: Vec<String>,
    /// Prints the readings as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads through the running daemon, or directly when none runs.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    super::check_device_id(&args.device)?;
    let answer = block_on(async {
        let path = format!("/api/v1/devices/{}/read", args.device);
        let body = serde_json::json!({ "points": args.points });
        match client::call(&args.at.socket(), &path, Some(body)).await {
            Ok(answer) => Ok(serde_json::from_value::<doc::ReadAnswer>(answer)?),
            Err(ClientError::NoDaemon(_)) => directly(args).await,
            Err(error) => Err(error.into()),
        }
    })?;
    if args.json {
        print_json(out, &answer)?;
    } else {
        let mut points = table(&["POINT", "VALUE", "UNIT", ""]);
        for p in &answer.points {
            let missing = p.missing.as_ref().map(|m| format!("({m})"));
            let value = p.value.clone().or(missing).unwrap_or_default();
            points.add_row([p.name.clone(), value, p.unit.clone(), p.bits.join(" ")]);
        }
        writeln!(out, "{points}")?;
    }
    let none = !answer.points.is_empty() && answer.points.iter().all(|p| p.value.is_none());
    Ok(ExitCode::from(if none { exit::DEVICE } else { exit::OK }))
}

async fn directly(args: &Args) -> anyhow::Result<doc::ReadAnswer> {
    let site = load_site(&args.at.config)?;
    let (_, config) = direct::find(&site, &args.device)?;
    let points = device::points_by_name(config, &args.points).map_err(|r| Failure::error(exit::USAGE, r.message))?;
    direct::read(&site, config, Action::Read(points)).await
}
