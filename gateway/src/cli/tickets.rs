//! `gatehouse tickets`: the work orders of the running daemon, and taking one on at the site.

use std::io::Write;
use std::process::ExitCode;

use super::{Where, command, decided};

/// Arguments of `gatehouse tickets`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TicketsArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: decided::Args,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Takes an open ticket on: its response clock and its escalation end, and the core is told.
    Accept(Accept),
}

#[derive(Debug, clap::Args)]
struct Accept {
    #[command(flatten)]
    at: Where,
    /// The box's number of the ticket.
    ticket: u64,
    /// Who takes it on.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Prints the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the tickets, or takes one on.
pub(crate) fn run(args: TicketsArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match args.what {
        None => decided::run(&decided::TICKETS, &args.list, out),
        Some(What::Accept(accept)) => command::run(&command_of(accept), out),
    }
}

fn command_of(accept: Accept) -> command::Args {
    let Accept { at, ticket, by, json } = accept;
    let (target, action) = (format!("ticket:{ticket}"), "accept".to_owned());
    command::Args { at, target, action, args: vec![format!("by={by}")], reason: None, json }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: TicketsArgs,
    }

    #[test]
    fn accepting_is_a_command_to_the_ticket() {
        let cli = Cli::try_parse_from(["tickets", "accept", "17", "--by", "Li Wei", "--socket", "/s"]).unwrap();
        let Some(What::Accept(accept)) = cli.args.what else { panic!("it accepts") };
        let command = command_of(accept);
        assert_eq!(
            (&*command.target, &*command.action, command.args),
            ("ticket:17", "accept", vec!["by=Li Wei".to_owned()])
        );
        assert!(Cli::try_parse_from(["tickets"]).unwrap().args.what.is_none(), "without a word they are listed");
        assert!(Cli::try_parse_from(["tickets", "accept", "17"]).is_err(), "somebody has to take it on");
    }
}
