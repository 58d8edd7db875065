//! The `plexus` command.

mod allocator;

fn main() -> std::process::ExitCode {
    allocator::configure();
    plexus_server::cli::main()
}
