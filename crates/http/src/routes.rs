//! The glue between a list of routes and axum.

use std::collections::BTreeMap;

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use axum::{Extension, Router};
use http::Method;

use crate::body::{BodyReader, BodyRule, MAX_UNKNOWN_BYTES};

/// The prefixes under which a path is served.
#[derive(Debug, Clone, Copy)]
pub struct Prefixes(pub &'static [&'static str]);

/// The client-server API's prefixes.
#[derive(Debug)]
pub struct Client;

impl Client {
    /// `/_matrix/client`: versions.
    pub const ROOT: Prefixes = Prefixes(&["/_matrix/client"]);
    /// Endpoints under v3, and under r0 as before Matrix 1.1.
    pub const V3R0: Prefixes = Prefixes(&["/_matrix/client/v3", "/_matrix/client/r0"]);
    /// As [`Self::V3R0`], and under unstable, as Synapse serves nearly all of them.
    pub const V3R0_UNSTABLE: Prefixes =
        Prefixes(&["/_matrix/client/v3", "/_matrix/client/r0", "/_matrix/client/unstable"]);
    /// Endpoints that came after Matrix 1.1 and are versioned one by one.
    pub const V1: Prefixes = Prefixes(&["/_matrix/client/v1"]);
    /// Simplified sliding sync.
    pub const V4: Prefixes = Prefixes(&["/_matrix/client/v4"]);
    /// Unstable forms; the path then begins with the MSC's name.
    pub const UNSTABLE: Prefixes = Prefixes(&["/_matrix/client/unstable"]);
    /// The media API as it was before Matrix 1.11.
    pub const MEDIA: Prefixes = Prefixes(&["/_matrix/media/v3", "/_matrix/media/r0", "/_matrix/media/v1"]);
    /// The one media endpoint that is versioned by itself: `POST /_matrix/media/v1/create`.
    pub const MEDIA_V1: Prefixes = Prefixes(&["/_matrix/media/v1"]);
    /// Paths written in full, such as `/.well-known/matrix/client`.
    pub const FULL: Prefixes = Prefixes(&[""]);
}

/// The server-server API's prefixes.
#[derive(Debug)]
pub struct Federation;

impl Federation {
    /// Version 1, which most endpoints have.
    pub const V1: Prefixes = Prefixes(&["/_matrix/federation/v1"]);
    /// Version 2: sending a join or leave, and inviting.
    pub const V2: Prefixes = Prefixes(&["/_matrix/federation/v2"]);
    /// Unstable forms; the path then begins with the MSC's name.
    pub const UNSTABLE: Prefixes = Prefixes(&["/_matrix/federation/unstable"]);
    /// The keys that servers sign with.
    pub const KEYS: Prefixes = Prefixes(&["/_matrix/key/v2"]);
}

/// How the body of a route's requests is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLimit {
    /// At most this many bytes, whole into memory.
    Bytes(usize),
    /// By the handler, as it arrives, within the handler's own bounds.
    Streamed,
}

impl BodyLimit {
    /// The limit of routes that state none: that of clients that are not known.
    const DEFAULT: Self = Self::Bytes(MAX_UNKNOWN_BYTES);
}

/// One method of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a parameter.
    pub path: String,
    /// How its bodies are read.
    pub body: BodyLimit,
}

/// A list of routes over the state `S`. axum erases each handler's type as it is added.
#[derive(Debug)]
pub struct Routes<S> {
    /// The handlers of the routes in `list`, in the same order.
    handlers: Vec<MethodRouter<S>>,
    list: Vec<Route>,
    /// How many the last call added: one for each prefix.
    added: usize,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self { handlers: Vec::new(), list: Vec::new(), added: 0 }
    }

    /// Adds `GET` (and HEAD) `path` under each of `prefixes`.
    pub fn get<T: 'static>(&mut self, prefixes: Prefixes, path: &str, handler: impl Handler<T, S>) -> &mut Self {
        let router = MethodRouter::new().on(MethodFilter::GET, handler);
        self.add(Method::GET, prefixes, path, &router)
    }

    /// Adds `POST path` under each of `prefixes`.
    pub fn post<T: 'static>(&mut self, prefixes: Prefixes, path: &str, handler: impl Handler<T, S>) -> &mut Self {
        let router = MethodRouter::new().on(MethodFilter::POST, handler);
        self.add(Method::POST, prefixes, path, &router)
    }

    /// Adds `PUT path` under each of `prefixes`.
    pub fn put<T: 'static>(&mut self, prefixes: Prefixes, path: &str, handler: impl Handler<T, S>) -> &mut Self {
        let router = MethodRouter::new().on(MethodFilter::PUT, handler);
        self.add(Method::PUT, prefixes, path, &router)
    }

    /// Adds `DELETE path` under each of `prefixes`.
    pub fn delete<T: 'static>(&mut self, prefixes: Prefixes, path: &str, handler: impl Handler<T, S>) -> &mut Self {
        let router = MethodRouter::new().on(MethodFilter::DELETE, handler);
        self.add(Method::DELETE, prefixes, path, &router)
    }

    fn add(&mut self, method: Method, prefixes: Prefixes, path: &str, router: &MethodRouter<S>) -> &mut Self {
        self.added = prefixes.0.len();
        for prefix in prefixes.0 {
            self.handlers.push(router.clone());
            self.list.push(Route { method: method.clone(), path: format!("{prefix}{path}"), body: BodyLimit::DEFAULT });
        }
        self
    }

    /// Sets the largest body of the route added last, in bytes. A client that has shown neither a token nor a signature
    /// still sends at most [`MAX_UNKNOWN_BYTES`].
    pub fn body_up_to(&mut self, bytes: usize) -> &mut Self {
        self.limit_last(BodyLimit::Bytes(bytes))
    }

    /// Lets the handler of the route added last read the body as it arrives.
    pub fn body_streamed(&mut self) -> &mut Self {
        self.limit_last(BodyLimit::Streamed)
    }

    fn limit_last(&mut self, limit: BodyLimit) -> &mut Self {
        for route in self.list.iter_mut().rev().take(self.added) {
            route.body = limit;
        }
        self
    }

    /// Wraps every handler with `wrap`, for instance in a layer that needs the route.
    #[must_use]
    pub fn wrapped(mut self, wrap: impl Fn(MethodRouter<S>) -> MethodRouter<S>) -> Self {
        self.handlers = self.handlers.into_iter().map(wrap).collect();
        self
    }

    /// Returns every route, in the order they were added.
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    /// Returns the router, with `state` filled in; bodies are read by `body_reader`.
    pub fn build(self, state: S, body_reader: &Arc<BodyReader>) -> Router {
        let mut paths: BTreeMap<String, MethodRouter<S>> = BTreeMap::new();
        for (route, handler) in self.list.into_iter().zip(self.handlers) {
            let handler = match route.body {
                BodyLimit::Bytes(limit) => {
                    handler.route_layer(Extension(BodyRule { limit, body_reader: Arc::clone(body_reader) }))
                }
                BodyLimit::Streamed => handler,
            };
            let merged = match paths.remove(&route.path) {
                Some(others) => others.merge(handler),
                None => handler,
            };
            paths.insert(route.path, merged);
        }
        let router = paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
        router.with_state(state)
    }
}

/// Declares the services of an API crate: a struct that is cheap to clone, with one public field per service, from
/// which handlers take those that they need by `State<FieldType>`. Every field's type must be different.
///
/// ```ignore
/// plexus_http::services! {
///     /// What the endpoints may ask for.
///     pub struct Services {
///         pub config: Arc<Config>,
///         pub clock: Clock,
///     }
/// }
/// ```
/// makes `Services { config, clock }` and `Api`, the state made of it: `Api::from(services)`.
#[macro_export]
macro_rules! services {
    ($(#[$meta:meta])* pub struct Services { $($(#[$field_meta:meta])* pub $name:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct Services { $($(#[$field_meta])* pub $name: $type,)* }

        /// The state of this API's routes: shared [`Services`].
        #[derive(Clone)]
        pub struct Api(::std::sync::Arc<Services>);

        impl From<Services> for Api {
            fn from(services: Services) -> Self {
                Self(::std::sync::Arc::new(services))
            }
        }

        $(impl $crate::axum::extract::FromRef<Api> for $type {
            fn from_ref(api: &Api) -> Self {
                api.0.$name.clone()
            }
        })*
    };
}
