//! `gatehouse command`: has a gate, an alarm, a ticket or a device act, through the running daemon.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::{Failure, Where, block_on, exit, print_json};
use crate::api::client;

/// How long a person's command may wait for its turn.
const LIFE: Duration = Duration::from_secs(10);

/// Arguments of `gatehouse command`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) at: Where,
    /// What is to act: `gate:ID`, `alarm:CLASS/SOURCE`, `ticket:NUMBER`, `device:ID`, `access` or `site`.
    pub(super) target: String,
    /// What it is to do: `open`, `acknowledge`, `accept`, ... A wrong one is answered with those that there are.
    pub(super) action: String,
    /// What the action takes, as NAME=VALUE.
    #[arg(value_name = "NAME=VALUE")]
    pub(super) args: Vec<String>,
    /// Why, for the audit trail.
    #[arg(long, value_name = "CODE")]
    pub(super) reason: Option<String>,
    /// Prints the outcome as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Sends one command and says how it ended.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let body = message(args)?;
    let answer = block_on(async { Ok(client::call(&args.at.socket(), "/api/v1/commands", Some(body)).await?) })?;
    let outcome = answer.get("outcome").and_then(|o| o.as_str()).unwrap_or("unknown");
    if args.json {
        print_json(out, &answer)?;
    } else {
        let text = |key: &str| answer.get(key).and_then(|v| v.as_str()).map(|v| format!(": {v}")).unwrap_or_default();
        writeln!(out, "{} {}: {outcome}{}{}", args.target, args.action, text("reason"), text("detail"))?;
    }
    let done = matches!(outcome, "verified" | "acknowledged");
    Ok(ExitCode::from(if done { exit::OK } else { exit::DEVICE }))
}

fn message(args: &Args) -> anyhow::Result<serde_json::Value> {
    let mut named = serde_json::Map::new();
    for arg in &args.args {
        let wrong = || Failure::error(exit::USAGE, format!("{arg:?} is no argument: write NAME=VALUE"));
        let (name, value) = arg.split_once('=').ok_or_else(wrong)?;
        named.insert(name.to_owned(), value.into());
    }
    let now = jiff::Timestamp::now();
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".to_owned());
    let mut body = serde_json::json!({
        "v": 1,
        "id": format!("cli-{:016x}", fastrand::u64(..)),
        "target": args.target,
        "action": args.action,
        "args": named,
        "issuer": user,
        "issued_at": now.to_string(),
        "expires_at": (now + LIFE).to_string(),
    });
    if let (Some(reason), Some(body)) = (&args.reason, body.as_object_mut()) {
        body.insert("reason_code".to_owned(), reason.as_str().into());
    }
    Ok(body)
}
