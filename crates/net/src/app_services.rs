//! Requests to application services (application service API, "Homeserver to application service").

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use plexus_base::AppService;
use tokio::sync::Semaphore;

use crate::http::{HttpClient, HttpError, Limits, Purpose, WholeResponse};
use crate::percent_encode;

/// How long a service may take to accept a transaction or to answer a query, as in Synapse.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most queries for clients and other servers that are under way; more of them wait. Everybody can cause them.
const MAX_QUERIES: usize = 32;
/// The largest response that is read, in bytes: a list of what a network has.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
const LIMITS: Limits = Limits { timeout: TIMEOUT, max_response_bytes: MAX_RESPONSE_BYTES };

/// Sends requests to application services.
#[derive(Clone)]
pub struct AppServiceClient {
    http: Arc<HttpClient>,
    /// `use_appservice_legacy_authorization`: whether the token is also in the query.
    legacy_authorization: bool,
    /// One permit for each query under way.
    queries: Arc<Semaphore>,
}

/// A request to an application service.
#[derive(Debug, Clone)]
pub struct AppServiceRequest<'r> {
    method: Method,
    /// Its variable segments are encoded.
    path: String,
    query: &'r [(String, String)],
    /// JSON.
    body: Option<Bytes>,
}

/// Why an application service did not answer a request with success.
#[derive(Debug, thiserror::Error)]
pub enum AppServiceError {
    /// It receives no requests.
    #[error("it has no URL")]
    NoUrl,
    /// Its URL, or its token, cannot be sent.
    #[error("its url or hs_token cannot be used: {0}")]
    Unusable(http::Error),
    /// It could not be reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It answered with another status.
    #[error("it answered with status {status}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
    },
}

impl<'r> AppServiceRequest<'r> {
    /// Returns a GET request.
    #[must_use]
    pub fn get(path: String, query: &'r [(String, String)]) -> Self {
        Self { method: Method::GET, path, query, body: None }
    }

    /// Returns a POST request with a JSON body.
    #[must_use]
    pub fn post(path: String, body: String) -> Self {
        Self { method: Method::POST, path, query: &[], body: Some(body.into()) }
    }
}

impl fmt::Debug for AppServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppServiceClient").finish_non_exhaustive()
    }
}

impl AppServiceClient {
    /// Creates the client.
    #[must_use]
    pub fn new(http: Arc<HttpClient>, legacy_authorization: bool) -> Self {
        Self { http, legacy_authorization, queries: Arc::new(Semaphore::new(MAX_QUERIES)) }
    }

    /// Sends a request. Returns the body of a response with success.
    ///
    /// # Errors
    /// See [`AppServiceError`].
    pub async fn send(&self, service: &AppService, request: AppServiceRequest<'_>) -> Result<Bytes, AppServiceError> {
        let AppServiceRequest { method, path, query, body } = request;
        let url = service.url.as_deref().ok_or(AppServiceError::NoUrl)?;
        let mut uri = format!("{url}{path}");
        let token = ("access_token".to_owned(), service.hs_token.expose().to_owned());
        let query = query.iter().chain(self.legacy_authorization.then_some(&token));
        for (at, (name, value)) in query.enumerate() {
            let before = if at == 0 { '?' } else { '&' };
            uri.push_str(&format!("{before}{}={}", percent_encode(name), percent_encode(value)));
        }
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(AUTHORIZATION, format!("Bearer {}", service.hs_token.expose()));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = request.body(body.unwrap_or_default()).map_err(AppServiceError::Unusable)?;
        let WholeResponse { status, body, .. } = self.http.fetch(Purpose::ApplicationService(LIMITS), request).await?;
        if status.is_success() { Ok(body) } else { Err(AppServiceError::Status { status, body }) }
    }

    /// Asks something that anybody can make this server ask. Returns the body of a response with success.
    ///
    /// # Errors
    /// See [`AppServiceError`].
    pub async fn query(
        &self,
        service: &AppService,
        path: String,
        query: &[(String, String)],
    ) -> Result<Bytes, AppServiceError> {
        let _permit = self.queries.acquire().await;
        self.send(service, AppServiceRequest::get(path, query)).await
    }

    /// Sends a transaction.
    ///
    /// # Errors
    /// See [`AppServiceError`].
    pub async fn send_transaction(
        &self,
        service: &AppService,
        txn_id: &str,
        body: Bytes,
    ) -> Result<(), AppServiceError> {
        let path = format!("/_matrix/app/v1/transactions/{}", percent_encode(txn_id));
        let request = AppServiceRequest { method: Method::PUT, path, query: &[], body: Some(body) };
        self.send(service, request).await.map(drop)
    }

    /// Asks whether a user exists. The service may register the user before it answers.
    pub async fn has_user(&self, service: &AppService, user_id: &str) -> bool {
        let path = format!("/_matrix/app/v1/users/{}", percent_encode(user_id));
        exists(service, self.send(service, AppServiceRequest::get(path, &[])).await)
    }

    /// Asks whether an alias exists. The service may create it before it answers.
    pub async fn has_alias(&self, service: &AppService, alias: &str) -> bool {
        exists(service, self.query(service, format!("/_matrix/app/v1/rooms/{}", percent_encode(alias)), &[]).await)
    }
}

/// Whether something exists, by the response of the service.
fn exists(service: &AppService, response: Result<Bytes, AppServiceError>) -> bool {
    match response {
        Ok(_) => true,
        Err(AppServiceError::NoUrl | AppServiceError::Status { status: StatusCode::NOT_FOUND, .. }) => false,
        Err(error) => {
            tracing::warn!("the application service {} does not answer a query: {error}", service.id);
            false
        }
    }
}
