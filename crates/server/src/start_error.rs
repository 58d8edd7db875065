//! Why the server does not start.

use std::io;
use std::path::PathBuf;

use crate::tls::TlsError;
use crate::{key_file, listen};

/// Why the server did not start. Each text is one sentence that names the cause.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] listen::BindError),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] key_file::KeyError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    TlsSetup(#[from] rustls::Error),
    /// The section `database` has mistakes.
    #[error(transparent)]
    DatabaseOptions(#[from] plexus_store::db::OptionsError),
    /// The database cannot be opened.
    #[error("the database cannot be opened: {0}")]
    Database(#[from] plexus_store::OpenError),
    /// The database failed after it was opened.
    #[error(transparent)]
    Db(#[from] plexus_store::DbError),
    /// An application service's own user cannot be registered.
    #[error("the user of an application service cannot be registered: {0}")]
    AppServiceUser(#[from] plexus_accounts::RegisterError),
    /// The database belongs to another server.
    #[error("the database belongs to {stored}, but server_name is {configured}: a server's name cannot be changed")]
    ServerName {
        /// The name in the database.
        stored: String,
        /// The name in the configuration.
        configured: String,
    },
    /// The server's name is not valid.
    #[error("server_name is not valid: {0}")]
    Name(#[from] plexus_protocol::id::IdError),
    /// The room of the policy server's rules is not valid.
    #[error("policy_server_rules_room: {0}")]
    PolicyRulesRoom(String),
    /// A policy hook cannot be used.
    #[error("policy_hooks: {0}")]
    PolicyHook(String),
    /// A registration file of an application service has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    AppServices(Vec<plexus_base::config::Problem>),
    /// The certificate authorities for other servers cannot be read.
    #[error(transparent)]
    CertificateAuthorities(#[from] plexus_net::TlsSetupError),
    /// A trusted key server is not described correctly.
    #[error("trusted_key_servers: {server}: {problem}")]
    KeyServer {
        /// Its name.
        server: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An old signing key is not valid.
    #[error("old_signing_keys: {key_id} cannot be used: {source}")]
    OldKey {
        /// Its id.
        key_id: String,
        /// What is wrong with it.
        source: plexus_protocol::event::sign::InvalidPublicKey,
    },
    /// A storage provider is not described correctly.
    #[error("media_storage_providers: {option}: {reason}")]
    StorageProvider {
        /// The member with the mistake.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern of links that are not previewed cannot be used.
    #[error("url_preview_url_blacklist: {0}")]
    UrlPattern(#[from] plexus_media::UrlPatternError),
    /// A list of sites that describe their pages by oEmbed cannot be used.
    #[error("oembed.additional_providers: {}: {problem}", file.display())]
    Oembed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: plexus_media::ProvidersError,
    },
    /// The media store cannot be opened.
    #[error("the media store cannot be opened: {0}")]
    Media(#[from] plexus_media::MediaError),
    /// A template of mail cannot be used.
    #[error(transparent)]
    MailTemplate(#[from] plexus_mail::TemplateError),
    /// The sender of mail is no address.
    #[error(transparent)]
    MailSender(#[from] plexus_mail::ComposeError),
    /// There is no listener of type http.
    #[error("there is no listener of type http, so nobody could reach the server")]
    NoListener,
    /// A folder cannot be made or written to.
    #[error("cannot write to the folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Signals cannot be handled, or threads not started.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}
