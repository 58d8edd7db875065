//! Connecting to the server, with or without TLS.

use std::pin::Pin;

use tokio_postgres::config::{Host, SslMode as DriverMode};
use tokio_postgres::{Client, Error, NoTls};

use super::describe;
use crate::db::tls::{SslMode, Tls};
use crate::db::{DbError, PostgresOptions};

/// A connection as the driver returns it: a future that ends with the connection.
pub(super) type Connected = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Connects according to the options. The connection has to be driven for the client to get responses.
pub(super) async fn connect(options: &PostgresOptions) -> Result<(Client, Connected), DbError> {
    let mut config = options.config.clone();
    // As in libpq, a Unix socket is never encrypted.
    let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let connected = if local || options.ssl.mode == SslMode::Disable {
        boxed(config.ssl_mode(DriverMode::Disable).connect(NoTls).await)
    } else {
        let tls = Tls::new(&options.ssl).map_err(|error| DbError::Unavailable(error.to_string()))?;
        let prefer = options.ssl.mode == SslMode::Prefer;
        let mode = if prefer { DriverMode::Prefer } else { DriverMode::Require };
        boxed(config.ssl_mode(mode).connect(tls).await)
    };
    connected.map_err(|error| DbError::Unavailable(format!("{}: {}", options.place(), describe(&error))))
}

type Connecting<C> = Result<(Client, C), Error>;

/// Erases the type of a connection, which depends on encryption.
fn boxed<C>(connected: Connecting<C>) -> Connecting<Connected>
where
    C: Future<Output = Result<(), Error>> + Send + 'static,
{
    connected.map(|(client, connection)| (client, Box::pin(connection) as Connected))
}
