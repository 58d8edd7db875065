//! The `plexus` command.

fn main() -> std::process::ExitCode {
    plexus_server::cli::main()
}
