//! The `plexus` program.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line, also under Synapse's command names |
//! | [`serve`] | `plexus serve`, from the configuration to a [`Running`] server and its end |
//! | [`wire`] | builds the program; the only module that knows every part |
//! | [`listen`] | listeners and connections |
//! | [`tls`] | certificates |
//! | [`metrics`] | metrics for Prometheus |
//! | [`users`] | changes accounts for the operator, in a running server or a stopped one's database |
//! | [`control_socket`] | the socket through which commands reach the running server |
//! | [`preflight`] | checks the files, ports and folders that a configuration names |
//! | [`data_dir`] | finds the configuration, and creates one at the first start |
//! | [`key_file`], [`pid_file`], [`notify`] | signing key, pid file, systemd |
//! | `output` | the standard output of commands, which may be a pipe that nobody reads |

#![warn(clippy::print_stdout, missing_docs, unreachable_pub)]

pub mod cli;
pub mod control_socket;
pub mod data_dir;
pub mod key_file;
pub mod listen;
pub mod metrics;
pub mod notify;
mod output;
pub mod pid_file;
pub mod preflight;
pub mod serve;
pub mod tls;
pub mod users;
pub mod wire;

pub use listen::{ConnectionLimits, Inherited};
pub use serve::{Running, StartError};
