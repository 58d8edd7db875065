//! The `plexus` command.

/// Gives memory back that rooms and requests no longer use; glibc's keeps an arena for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    plexus_server::cli::main()
}
