//! `gatehouse-hil`: the simulated site as a command: the demo, the bench and the conformance runner.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatehouse_hil::counting::Counting;
use gatehouse_hil::{bench, demo, vectors};

/// The bench tells how often decoding asks the heap.
#[global_allocator]
static COUNTING: Counting = Counting;

/// The simulated site around the gateway.
#[derive(Parser)]
#[command(name = "gatehouse-hil", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a simulated site with the real gateway and shows what is polled, decided and delivered.
    Demo(demo::DemoArgs),
    /// Measures speed and size, and prints one table.
    Bench(bench::BenchArgs),
    /// Runs golden vectors through the drivers.
    Vectors(vectors::VectorsArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Vectors(args) => vectors::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("gatehouse-hil: {error:#}");
        ExitCode::FAILURE
    })
}
