//! One endpoint, and requests to it.

use http::Method;

use crate::federation::call::Call;
use crate::percent::percent_encode;

/// An endpoint of other servers.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
}

impl Endpoint {
    pub(super) const fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path }
    }

    pub(super) const fn post(path: &'static str) -> Self {
        Self { method: Method::POST, path }
    }

    pub(super) const fn put(path: &'static str) -> Self {
        Self { method: Method::PUT, path }
    }

    /// A request. The values of the path's parameters are in the order in which the path has them.
    pub(super) fn call(&self, parameters: &[&str], max_response_bytes: usize) -> Call {
        let mut parameters = parameters.iter();
        let mut path = String::new();
        for segment in self.path.split('/').skip(1) {
            path.push('/');
            if segment.starts_with('{') {
                path.extend(parameters.next().map(|value| percent_encode(value)).into_iter().flatten());
            } else {
                path.push_str(segment);
            }
        }
        Call::new(self.method.clone(), path, max_response_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_percent_encoded() {
        let call = Endpoint::get("/v1/state/{roomId}/x/{eventId}").call(&["!room:example.org", "$a/b+c-_.~d"], 1);
        let call = call.query("event_id", "$a/b").query("via", "é");
        assert_eq!(call.path, "/v1/state/%21room%3Aexample.org/x/%24a%2Fb%2Bc-_.~d?event_id=%24a%2Fb&via=%C3%A9");
    }
}
