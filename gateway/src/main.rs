//! The `gatehouse` command; everything is in the library beside it.

fn main() -> std::process::ExitCode {
    gatehouse::cli::main()
}
