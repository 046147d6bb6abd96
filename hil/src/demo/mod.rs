//! `gatehouse-hil demo`: a simulated site, a broker, and the real gateway between them, to look at and to break.

mod books;
mod core;
mod picture;
mod plain;
mod script;
mod site;
mod summary;
mod traffic;
mod watch;
mod world;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use world::World;

/// Runs a simulated site with the real gateway and shows what is polled, decided and delivered.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Ends by itself after this time, for example 20s or 2m, having cut the link, sent cars to the barriers, silenced a
    /// meter and added noise on the way; a slow machine takes longer; the exit code says whether everything was delivered.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    run_for: Option<Duration>,
    /// The port of the MQTT broker on 127.0.0.1; a free one by default.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The gateway's binary; built from the sources by default.
    #[arg(long, value_name = "FILE", env = "GATEHOUSE_BIN")]
    gateway: Option<PathBuf>,
    /// Prints lines even where a live picture is possible.
    #[arg(long)]
    plain: bool,
    /// Keeps the folder with the site file, the gateway's log and its data.
    #[arg(long)]
    keep: bool,
}

/// Shortest demo that still holds every act of the script.
const SHORTEST: Duration = Duration::from_secs(10);

/// Reads `20s`, `500ms`, `2m` or a plain number of seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time: write it like 20s or 2m"))?;
    let factor_ms = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{unit:?} is no unit of time: use ms, s, m or h")),
    };
    number.checked_mul(factor_ms).map(Duration::from_millis).ok_or_else(|| format!("{text:?} is too long"))
}

/// Runs the demo. The exit code is 1 when something was lost, doubled out of order, wrong, or not survived.
///
/// # Errors
/// When the site, the broker or the gateway cannot be started.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let run_for = args.run_for.map(|time| time.max(SHORTEST));
    let mut world = World::start(args.port, args.gateway).context("the demo could not start")?;
    eprintln!("{}", world.greeting());
    let live = !args.plain && std::io::stdout().is_terminal();
    if live {
        picture::show(&mut world, run_for)?;
    } else {
        plain::show(&mut world, run_for)?;
    }
    let interrupted = world.interrupted();
    eprintln!("waiting until everything that was polled and decided is delivered");
    let outcome = summary::Outcome::take(&mut world, run_for.is_some() && !interrupted);
    print!("{outcome}");
    if args.keep {
        println!("kept in {}", world.keep().display());
    }
    Ok(if outcome.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(time("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert!(time("soon").is_err() && time("3 days").is_err());
    }
}
