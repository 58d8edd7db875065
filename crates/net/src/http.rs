//! All outgoing HTTP. A request states its [`Purpose`], and everything else is decided by it in one table: addresses,
//! certificates, redirects, connections, timeouts and sizes.
//!
//! - [`HttpClient`]: sends requests
//! - [`Purpose`]: why they are sent
//! - [`AddressGuards`]: the addresses that `ip_range_blacklist` and its like forbid
//! - [`ProxyFault`]: what can be wrong with a forward proxy
//! - [`TlsSettings`]: how certificates are checked

pub(crate) mod causes;
pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod dial;
pub(crate) mod error;
pub(crate) mod pool;
mod proxy;
mod proxy_fault;
pub(crate) mod purpose;
mod redirect;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod target;
mod tls;

pub use client::{
    HttpClient, HttpResponse, HttpSettings, WholeResponse, send_operator_command, send_unverified_operator_command,
};
pub use dial::{AddressGuard, AddressGuards, DialError};
pub use error::{ConnectError, HttpError, RedirectError};
pub use proxy_fault::ProxyFault;
pub use purpose::{Limits, Purpose};
pub use response::StreamedBody;
pub use tls::{TlsSettings, TlsSetupError};
