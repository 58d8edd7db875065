//! The parts that all HTTP endpoints share: extractors, error bodies, CORS, and the glue between route lists and axum.
//!
//! | module | what it holds |
//! |---|---|
//! | `ambiguous` | requests that a proxy may understand differently |
//! | [`auth`] | [`Auth`], [`MaybeAuth`], [`Session`], ...: the user who makes the request |
//! | [`body`] | JSON in ([`Json`], [`JsonText`]) and out ([`JsonBody`], [`RawJson`], [`Empty`]); [`BodyReader`] |
//! | [`error`] | [`ApiError`], the one error that leaves a handler |
//! | [`extract`] | [`Path`] and [`Query`]; [`extract::x_matrix`]: the server that makes the request |
//! | [`federation`] | client errors for requests to other servers that failed |
//! | [`frame`](mod@frame) | the layers around every request: ids, CORS, caught panics, the log line |
//! | `log_uri` | a request's path and query as they may be logged |
//! | [`media`] | the parts that media endpoints share |
//! | [`page`] | [`Page`]: HTML for browsers |
//! | [`peer`] | [`ClientIp`], [`Source`], [`LongPolling`], [`RequestInfo`] |
//! | [`probe`] | requests of `plexus doctor`, as they arrive |
//! | [`room_errors`] | errors of the room engine, and of the services on it, as clients read them |
//! | [`routes`] | [`Routes`], the builder each API's `routes.rs` uses, and [`services!`] |

#![warn(missing_docs, unreachable_pub)]

mod ambiguous;
pub mod auth;
pub mod body;
pub mod error;
pub mod extract;
pub mod federation;
pub mod frame;
mod log_uri;
pub mod media;
pub mod page;
pub mod peer;
pub mod probe;
pub mod room_errors;
pub mod routes;

#[doc(hidden)]
pub use axum;
pub use axum::extract::State;
pub use plexus_accounts::Requester;
pub use plexus_base::RateLimiter;

pub use auth::{
    AppServiceToken, Auth, AuthAdmin, AuthEvenLocked, AuthGuest, MaybeAuth, Session, require_not_suspended,
};
pub use body::{BodyReader, Empty, Json, JsonBody, JsonOrEmpty, JsonText, RawJson};
pub use error::ApiError;
pub use extract::x_matrix::{FoundKeys, Origin, OtherServers, SignedRequests, signed};
pub use extract::{Path, Query, non_empty};
pub use frame::{SERVER_TOKEN, frame};
pub use page::Page;
pub use peer::{ClientIp, LongPolling, Peer, RequestInfo, Source};
pub use probe::{Arrived, Probes};
pub use routes::{BodyLimit, Client, Federation, Prefixes, Route, Routes};
