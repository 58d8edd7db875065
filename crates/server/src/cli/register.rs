//! `plexus register`: creates a user on a running server through /_synapse/admin/v1/register, as
//! register_new_matrix_user does.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use http::{Method, StatusCode};
use plexus_accounts::{SignedRegistration, shared_secret_mac};
use plexus_base::config::{Listener, ListenerType, ResourceName, Written};
use plexus_net::HttpError;
use plexus_net::http::ConnectError;
use serde_json::json;

use super::ask::{AskError, ask, field, parsed};
use super::prompt;
use crate::command::{CommandError, ConfigArgs};
use crate::output;

/// The server's URL when nothing names another.
const DEFAULT_URL: &str = "http://localhost:8008";

/// Arguments of `plexus register`.
#[derive(Debug, Args)]
pub(super) struct RegisterArgs {
    /// Name of the new user, without @ and server; asked for when not given
    #[arg(short = 'u', long, value_name = "NAME")]
    user: Option<String>,
    /// Succeed when the user exists already
    #[arg(long)]
    exists_ok: bool,
    /// The password; asked for when not given
    #[arg(short = 'p', long, value_name = "PASSWORD", conflicts_with = "password_file")]
    password: Option<String>,
    /// File with the password; - reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The user's type, e.g. bot or support
    #[arg(short = 't', long = "user_type", alias = "user-type", value_name = "TYPE")]
    user_type: Option<String>,
    /// Make an administrator
    #[arg(short = 'a', long, conflicts_with = "no_admin")]
    admin: bool,
    /// Do not make an administrator
    #[arg(long)]
    no_admin: bool,
    /// Configuration with registration_shared_secret [default: the data directory's]
    #[arg(short = 'c', long = "config", value_name = "FILE", conflicts_with = "shared_secret")]
    config: Vec<PathBuf>,
    /// The registration_shared_secret itself
    #[arg(short = 'k', long, value_name = "SECRET")]
    shared_secret: Option<String>,
    /// Where the configuration is when neither -c nor -k is given
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Accept any certificate of the server: whoever is in between can read the password
    #[arg(long)]
    insecure: bool,
    /// The server's address [default: the configuration's first listener for clients, or http://localhost:8008]
    #[arg(value_name = "URL")]
    server_url: Option<String>,
}

/// Why no user was created.
#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error(
        "there is no registration_shared_secret in {0}: add one and restart the server, or give the server's with -k"
    )]
    NoSecret(String),
    #[error("{cause}; is the server running? `plexus status` says so, and `plexus start` starts it ({origin})")]
    Unreachable { cause: AskError, origin: String },
    #[error("{0}; --insecure accepts any certificate, with which whoever is in between can read the password")]
    Certificate(AskError),
}

/// Creates the user.
///
/// # Errors
/// When something is missing, the server cannot be reached or refuses.
pub(super) fn run(args: RegisterArgs) -> Result<(), CommandError> {
    let target = Target::of(&args)?;
    let user = match &args.user {
        Some(user) => user.clone(),
        None => prompt::line("New user: ")?,
    };
    let password = prompt::given_password(args.password.as_deref(), args.password_file.as_deref())?;
    let admin = if args.admin || args.no_admin {
        args.admin
    } else if args.user.is_some() && (args.password.is_some() || args.password_file.is_some()) {
        false
    } else {
        prompt::is_yes("Make admin [no]: ")?
    };
    let request = NewUser { user: &user, password: &password, admin, user_type: args.user_type.as_deref() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(register(&target, &request));
    match result {
        Ok(user_id) => {
            output::line(format_args!("Made {user_id}{}.", if admin { ", an administrator" } else { "" }))?;
        }
        Err(Failure::Exists) if args.exists_ok => output::line(format_args!("{user} exists already."))?,
        Err(Failure::Exists) => return Err(format!("the user {user} exists already").into()),
        Err(Failure::Other(error)) => return Err(error),
    }
    Ok(())
}

struct NewUser<'a> {
    user: &'a str,
    password: &'a str,
    admin: bool,
    user_type: Option<&'a str>,
}

enum Failure {
    Exists,
    Other(CommandError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

async fn register(target: &Target, new: &NewUser<'_>) -> Result<String, Failure> {
    let url = format!("{}/_synapse/admin/v1/register", target.url.trim_end_matches('/'));
    let answer = ask(Method::GET, &url, None, None, target.any_certificate).await.map_err(|cause| match cause {
        AskError::Unreachable(HttpError::Connect(ConnectError::Tls { .. })) => RegisterError::Certificate(cause).into(),
        AskError::Unreachable(_) => RegisterError::Unreachable { cause, origin: target.origin.clone() }.into(),
        other => CommandError::from(other),
    });
    let answer = answer.map_err(Failure::Other)?;
    let nonce = field(&url, &answer, "nonce")?;
    let signed = SignedRegistration {
        nonce: &nonce,
        username: new.user,
        password: new.password,
        is_admin: new.admin,
        user_type: new.user_type,
    };
    let mut body = json!({
        "nonce": nonce,
        "username": new.user,
        "password": new.password,
        "admin": new.admin,
        "mac": shared_secret_mac(&target.secret, signed),
    });
    if let Some(user_type) = new.user_type {
        body["user_type"] = user_type.into();
    }
    let answer = ask(Method::POST, &url, None, Some(&body), target.any_certificate).await?;
    if answer.status == StatusCode::BAD_REQUEST {
        let errcode = parsed(&answer)["errcode"].clone();
        if errcode == "M_USER_IN_USE" {
            return Err(Failure::Exists);
        }
    }
    Ok(field(&url, &answer, "user_id")?)
}

/// The server to which the request is sent.
struct Target {
    secret: String,
    url: String,
    /// Where the URL comes from, for the error when the server cannot be reached.
    origin: String,
    /// Whether any certificate is accepted: the operator says so, or the address is a listener on this machine.
    any_certificate: bool,
}

impl Target {
    /// Finds the server. The configuration may have mistakes: only its secret is needed, and its listeners if the URL
    /// is not given.
    fn of(args: &RegisterArgs) -> Result<Self, CommandError> {
        let (secret, written) = match &args.shared_secret {
            Some(secret) => (secret.clone(), Written::default()),
            None => {
                let config = ConfigArgs { config_path: args.config.clone(), data_dir: args.data_dir.clone() };
                let paths = crate::data_dir::existing(&config)?;
                let written = Written::salvage(&paths);
                let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                let secret = written.secret("registration_shared_secret");
                let secret = secret.ok_or_else(|| RegisterError::NoSecret(names.join(", ")))?;
                (secret.expose().to_owned(), written)
            }
        };
        let (url, origin) = match (&args.server_url, listener_url(&written.listeners())) {
            (Some(url), _) => (url.clone(), "the address was given on the command line".to_owned()),
            (None, Some(url)) => {
                let place = written.place("listeners").unwrap_or_default();
                (url, format!("the address is that of `listeners` in {place}"))
            }
            (None, None) => (DEFAULT_URL.to_owned(), "that is the usual address; another can be given".to_owned()),
        };
        let any_certificate = args.insecure || args.server_url.is_none();
        Ok(Self { secret, url, origin, any_certificate })
    }
}

/// Returns the address of the first listener that serves clients on a port, one without TLS if there is one.
fn listener_url(listeners: &[Listener]) -> Option<String> {
    let serving = |listener: &&Listener| {
        listener.r#type == ListenerType::Http && listener.port.is_some() && listener.serves(ResourceName::Client)
    };
    let mut listeners: Vec<&Listener> = listeners.iter().filter(serving).collect();
    listeners.sort_by_key(|listener| listener.tls);
    let listener = listeners.first()?;
    let scheme = if listener.tls { "https" } else { "http" };
    Some(format!("{scheme}://{}:{}", reachable_host(&listener.bind_addresses), listener.port?))
}

/// Returns the host under which a program on this machine reaches a listener.
fn reachable_host(addresses: &[String]) -> String {
    let mut parsed = addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
    let own = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    match parsed.next() {
        Some(first) if !own(first) && !parsed.any(own) => match first {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        },
        _ => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_from_this_machine() {
        let host =
            |addresses: &[&str]| reachable_host(&addresses.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(host(&["::", "0.0.0.0"]), "localhost");
        assert_eq!(host(&["localhost"]), "localhost");
        assert_eq!(host(&["192.0.2.1", "127.0.0.1"]), "localhost");
        assert_eq!(host(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(host(&["2001:db8::1"]), "[2001:db8::1]");
    }
}
