//! What commands share: the arguments that say which configuration is meant, those of a start, and their error.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// Why a command failed: its text is the one sentence that the operator reads.
pub(crate) type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// The folder of all files when no option names another.
pub(crate) const DEFAULT_DATA_DIR: &str = "plexus-data";

/// Which configuration: files and directories, or the data directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file, or a directory of *.yaml files; may be repeated, a later file's top-level keys replace
    /// earlier ones'
    #[arg(short = 'c', long = "config-path", value_name = "PATH")]
    pub config_path: Vec<PathBuf>,
    /// Where configuration, key and database are when no configuration is named [default: plexus-data]
    #[arg(long, alias = "data-directory", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Returns the data directory, which is used when no configuration is named.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR))
    }
}

/// yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    /// yes
    Yes,
    /// no
    No,
}

/// Arguments of `plexus serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The server's name in user and room ids, for a configuration made now [default: localhost]
    #[arg(short = 'H', long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Whether anonymous statistics are reported, for a configuration made now [default: no]
    #[arg(long, value_name = "yes|no")]
    pub report_stats: Option<YesNo>,
    /// Write the configuration and what it names, then exit
    #[arg(long)]
    pub generate_config: bool,
    /// Where a configuration made now has its signing key [default: beside the configuration]
    #[arg(long, alias = "keys-directory", value_name = "DIR")]
    pub config_directory: Option<PathBuf>,
    /// Let a configuration made now listen on all addresses instead of 127.0.0.1
    #[arg(long)]
    pub open_private_ports: bool,
    /// Listen for clients on this port, whatever the configuration says
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Write missing files that the configuration names (signing key, log configuration), then exit
    #[arg(long, alias = "generate-keys", conflicts_with = "generate_config")]
    pub generate_missing_configs: bool,
    /// Write missing files that the configuration names, then run
    #[arg(long, conflicts_with_all = ["generate_config", "generate_missing_configs"])]
    pub generate_missing_and_run: bool,
    /// Run in the background; returns once the server listens
    #[arg(short = 'D', long)]
    pub daemonize: bool,
    /// Print the pid file's path at start
    #[arg(long)]
    pub print_pidfile: bool,
    /// Refuse secrets written in the configuration itself; their *_path forms are taken
    #[arg(long)]
    pub no_secrets_in_config: bool,
    /// Internal: this process was started by `--daemonize`.
    #[arg(long, hide = true)]
    pub detached: bool,
}

impl ServeArgs {
    /// Returns the arguments for a server with this configuration in the foreground.
    pub(crate) fn plain(config: ConfigArgs) -> Self {
        Self {
            config,
            server_name: None,
            report_stats: None,
            generate_config: false,
            config_directory: None,
            open_private_ports: false,
            port: None,
            generate_missing_configs: false,
            generate_missing_and_run: false,
            daemonize: false,
            print_pidfile: false,
            no_secrets_in_config: false,
            detached: false,
        }
    }
}
