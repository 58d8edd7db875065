//! How many bytes of responses may be in memory that clients have not read yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use plexus_base::Clock;
use plexus_http::body::{BudgetSize, ByteBudget, HeldBytes, Sender};
use plexus_http::peer;

const MIB: usize = 1024 * 1024;

/// The budget of the process, and the share of one address. Responses that are written while they are sent count
/// nothing: little of them is in memory.
const UNREAD: BudgetSize = BudgetSize { small: 64 * MIB, small_share: 16 * MIB, large: 256 * MIB, share: 64 * MIB };

/// A larger response counts as this much, so that there is no size that cannot be sent: the first sync of a large
/// account may be one.
const MAX_COUNTED_BYTES: usize = 32 * MIB;

/// Returns the budget for unread responses. A process has one.
pub(super) fn budget(clock: &Clock) -> Arc<ByteBudget> {
    ByteBudget::new(UNREAD, clock.clone())
}

/// Counts a response from when it is made until it has been sent. In place of one for which there is no room the client
/// gets `M_LIMIT_EXCEEDED`.
pub(super) async fn count(State(budget): State<Arc<ByteBudget>>, request: Request, next: Next) -> Response {
    let mut held = budget.hold(Sender::Unknown(peer::source(request.extensions(), request.headers())));
    let response = next.run(request).await;
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    match held.grow(bytes.min(MAX_COUNTED_BYTES)).await {
        Ok(()) => response.map(|body| Body::new(CountedBody { body, _held: held })),
        Err(error) => error.into_response(),
    }
}

/// A response's body, and its part of the budget.
struct CountedBody {
    body: Body,
    _held: HeldBytes,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::Router;
    use plexus_http::Peer;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, address: &str) -> Response {
        let address: IpAddr = address.parse().unwrap();
        let peer = Peer { address: Some(address), x_forwarded: false, request_id_header: None, site: "test".into() };
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn unread_responses_of_one_address_are_bounded() {
        let budget = budget(&Clock::manual(0));
        let count = axum::middleware::from_fn_with_state(Arc::clone(&budget), count);
        let router = Router::new().fallback(async || vec![b'x'; 4 * MIB]).layer(count);
        let mut unread = Vec::new();
        for _ in 0..16 {
            unread.push(ask(&router, "192.0.2.1").await);
        }
        assert!(unread.iter().all(|response| response.status() == 200));
        assert!(budget.held() <= 64 * MIB);
        assert_eq!(ask(&router, "192.0.2.1").await.status(), 429);
        assert_eq!(ask(&router, "198.51.100.1").await.status(), 200, "another address is not concerned");
        unread.clear();
        assert_eq!(budget.held(), 0);
        assert_eq!(ask(&router, "192.0.2.1").await.status(), 200);
    }

    #[tokio::test]
    async fn a_response_of_any_size_can_be_sent() {
        let count = axum::middleware::from_fn_with_state(budget(&Clock::manual(0)), count);
        let router = Router::new().fallback(async || vec![b'x'; 80 * MIB]).layer(count);
        let response = ask(&router, "192.0.2.1").await;
        assert_eq!((response.status().as_u16(), response.body().size_hint().exact()), (200, Some(80 * MIB as u64)));
    }
}
