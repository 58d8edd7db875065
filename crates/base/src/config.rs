//! `homeserver.yaml`: all options of Synapse, one struct per section of its manual.
//!
//! The doc comment of an option is its documentation: the reference page and the sample file are generated from it.

use std::path::PathBuf;

pub use crate::schema::{Field, FileMode, IpRange, OneOrMany, Problem, Report, Secret, Setting, Status, every_address};
use crate::schema::{Fields, MapReader};

mod email;
mod files;
mod generate;
mod legacy;
mod listeners;
mod load;
mod media_storage;
mod policy_hooks;
mod whole;
mod written;

pub use email::{Email, Subjects};
pub use generate::{DEFAULT_PORT, Generate, SecretFileError, generate, generate_log_config};
pub use listeners::{Listener, ListenerResource, ListenerType, ResourceName};
pub use load::{Loaded, Options, load, load_with_errors, parse};
pub use media_storage::{S3Location, StorageLocation, StorageProvider};
pub use policy_hooks::{PolicyCallback, PolicyHook, PolicyHookSettings};
pub use written::Written;

/// Declares the sections, in the order of Synapse's manual.
macro_rules! sections {
    ($( $name:ident: $Section:ident $title:literal ),* $(,)?) => {
        $(
            mod $name;
            pub use $name::*;
        )*

        /// A whole, validated configuration.
        #[derive(Debug, Clone)]
        pub struct Config {
            $(
                #[doc = concat!("Options of the section \"", $title, "\".")]
                pub $name: $Section,
            )*
            /// The folder of the last configuration file, in which keys are looked for by default.
            pub config_dir: PathBuf,
        }

        /// A section of the reference page.
        #[derive(Debug, Clone)]
        pub struct Section {
            /// The heading in Synapse's manual.
            pub title: &'static str,
            /// The lines of the doc comment.
            pub doc: &'static [&'static str],
            /// The options, in the order of the manual.
            pub fields: Vec<Field>,
        }

        /// Returns every section with its options.
        pub fn sections() -> Vec<Section> {
            vec![$( Section {
                title: $title,
                doc: <$Section as Fields>::ABOUT,
                fields: <$Section as Fields>::fields(),
            } ),*]
        }

        /// Reads the top level; `None` when there are errors.
        fn read(map: &mut MapReader<'_, '_>, config_dir: PathBuf) -> Option<Config> {
            $( let $name = <$Section as Fields>::read_fields(map); )*
            Some(Config { $( $name: $name?, )* config_dir })
        }
    };
}

sections! {
    modules: ModulesSection "Modules",
    server: ServerSection "Server",
    blocking: BlockingSection "Homeserver blocking",
    tls: TlsSection "TLS",
    federation: FederationSection "Federation",
    caches: CachesSection "Caching",
    database: DatabaseSection "Database",
    logging: LoggingSection "Logging",
    ratelimits: RatelimitsSection "Ratelimiting",
    media: MediaSection "Media store",
    captcha: CaptchaSection "Captcha",
    turn: TurnSection "TURN and calls",
    registration: RegistrationSection "Registration",
    sessions: SessionsSection "User sessions",
    metrics: MetricsSection "Metrics",
    api: ApiSection "API",
    keys: KeysSection "Signing keys",
    sso: SsoSection "Single sign-on",
    passwords: PasswordsSection "Passwords",
    push: PushSection "Push",
    rooms: RoomsSection "Rooms",
    tracing: TracingSection "Tracing",
    workers: WorkersSection "Workers",
    background_updates: BackgroundUpdatesSection "Background updates",
    auto_accept_invites: AutoAcceptInvitesSection "Automatic acceptance of invites",
    account_validity: AccountValiditySection "Account validity",
    experimental: ExperimentalSection "Experimental features",
}

impl Config {
    /// Returns the file with the server's signing key: `signing_key_path`, or `<server_name>.signing.key` beside the
    /// configuration.
    pub fn signing_key_path(&self) -> PathBuf {
        self.keys.signing_key_path.clone().unwrap_or_else(|| {
            let name = format!("{}.signing.key", self.server.server_name);
            self.config_dir.join(name)
        })
    }
}

#[cfg(test)]
mod tests;
