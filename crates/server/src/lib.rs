//! The `plexus` program.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line, also under Synapse's command names |
//! | [`serve`] | `plexus serve`, from the configuration to a [`Running`] server and its end |
//! | [`wire`] | builds everything; alone knows every part |
//! | [`listen`] | listeners and connections |
//! | [`tls`] | certificates |
//! | [`metrics`] | what Prometheus is told |
//! | [`users`] | accounts as the operator changes them, in a running server or a stopped one's database |
//! | [`control_socket`] | how commands reach the running server |
//! | [`preflight`] | what is wrong with a configuration beyond its options |
//! | [`data_dir`] | finding the configuration, making one at the first start |
//! | [`key_file`], [`pid_file`], [`notify`] | signing key, pid file, systemd |

pub mod cli;
pub mod control_socket;
pub mod data_dir;
pub mod key_file;
pub mod listen;
pub mod metrics;
pub mod notify;
pub mod pid_file;
pub mod preflight;
pub mod serve;
pub mod tls;
pub mod users;
pub mod wire;

pub use listen::ConnectionLimits;
pub use serve::{Running, StartError};
