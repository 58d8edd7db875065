//! GET requests that are not signed: addresses of the web, with redirects.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use plexus_protocol::id::ServerName;

use super::connector::Connector;
use super::error::{ConnectError, FederationError};
use super::pool::{self, Pool};
use crate::Purpose;

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 10;

/// Why a page could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("more than {MOST_REDIRECTS} redirects")]
    Redirects,
    #[error("a redirect to nowhere")]
    Redirect,
    #[error("a redirect out of https")]
    Downgrade,
}

impl WebError {
    /// As an error of fetching what `from` said is there.
    pub(super) fn of_fetch(self, from: &ServerName) -> FederationError {
        match self {
            Self::Connect(cause) => FederationError::unreachable(from, cause),
            Self::Http(cause) => FederationError::broken(from, cause),
            other @ (Self::Redirects | Self::Redirect | Self::Downgrade) => {
                FederationError::unreachable(from, ConnectError::Address(other.to_string()))
            }
        }
    }
}

/// Fetches pages.
pub(super) struct Web {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    user_agent: HeaderValue,
}

impl Web {
    pub(super) fn new(connector: Arc<Connector>, pool: Arc<Pool>, user_agent: HeaderValue) -> Self {
        Self { connector, pool, user_agent }
    }

    /// GETs `uri` and what it redirects to, never from https to http.
    pub(super) async fn get(&self, purpose: Purpose, uri: Uri) -> Result<Response<Incoming>, WebError> {
        let mut uri = uri;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.get_one(purpose, &uri).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| resolve(&uri, location)).ok_or(WebError::Redirect)?;
            if uri.scheme() == Some(&Scheme::HTTPS) && next.scheme() != Some(&Scheme::HTTPS) {
                return Err(WebError::Downgrade);
            }
            uri = next;
        }
        Err(WebError::Redirects)
    }

    async fn get_one(&self, purpose: Purpose, uri: &Uri) -> Result<Response<Incoming>, WebError> {
        let no_address = || ConnectError::Address(uri.to_string());
        let authority = uri.authority().ok_or_else(no_address)?;
        // Addresses with a user's name before the host are none we send anything to.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| no_address())?;
        if authority.as_str().contains('@') {
            return Err(no_address().into());
        }
        // The brackets of an IPv6 literal belong to the address, not to the name.
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let slot = self.pool.slot().await;
        let mut sender = match uri.scheme_str() {
            Some("https") => {
                let stream = self.connector.encrypted(purpose, name, uri.port_u16().unwrap_or(443)).await?;
                pool::speak(stream, slot).await?
            }
            Some("http") => {
                let stream = self.connector.plain(purpose, name, uri.port_u16().unwrap_or(80)).await?;
                pool::speak(stream, slot).await?
            }
            _ => return Err(no_address().into()),
        };
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        Ok(sender.send_request(request).await?)
    }
}

/// Where `location` leads from `base` (RFC 3986, section 5.2, without dot segments).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    let absolute = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.contains("://") {
        location.to_owned()
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_against_the_page_they_came_with() {
        let base: Uri = "https://a.example/x/y?z".parse().unwrap();
        let to = |location| resolve(&base, location).map(|uri| uri.to_string());
        assert_eq!(to("https://b.example/w#part").as_deref(), Some("https://b.example/w"));
        assert_eq!(to("//b.example/w").as_deref(), Some("https://b.example/w"));
        assert_eq!(to("/w?q").as_deref(), Some("https://a.example/w?q"));
        assert_eq!(to("w").as_deref(), Some("https://a.example/x/w"));
        assert_eq!(to("http://"), None);
    }
}
