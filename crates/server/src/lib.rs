//! The `plexus` program.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line, also under Synapse's command names |
//! | `command` | the arguments that commands share, and their error |
//! | `serve` | `plexus serve`, from the configuration to the end of the server |
//! | `running`, `signals`, `open_files` | a [`Running`] server, the signals it handles, the connections it may have |
//! | [`wire`] | builds the program; the only module that knows every part |
//! | [`listen`] | listeners and connections |
//! | [`tls`] | certificates |
//! | [`metrics`] | metrics for Prometheus |
//! | [`users`] | changes accounts for the operator, in a running server or a stopped one's database |
//! | [`control_socket`] | the socket through which commands reach the running server |
//! | [`preflight`] | checks the files, ports and folders that a configuration names |
//! | `data_dir` | finds the configuration, and creates one at the first start |
//! | [`key_file`], [`pid_file`], [`notify`] | signing key, pid file, systemd |
//! | `output` | the standard output of commands, which may be a pipe that nobody reads |

#![warn(clippy::print_stdout, missing_docs, unreachable_pub)]

pub mod cli;
mod command;
pub mod control_socket;
mod data_dir;
pub mod key_file;
pub mod listen;
pub mod metrics;
pub mod notify;
mod open_files;
mod output;
pub mod pid_file;
pub mod preflight;
mod running;
mod serve;
mod signals;
mod start_error;
pub mod tls;
pub mod users;
pub mod wire;

pub use listen::{ConnectionLimits, Inherited};
pub use running::Running;
pub use start_error::StartError;
