//! Limits that are checked before a request's body is read.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use plexus_accounts::TokenChecker;
use plexus_base::RateLimiter;
use plexus_base::rate_limiter::network;
use plexus_http::{ApiError, AppServiceToken, ClientIp};
use plexus_service::RateLimits;

/// A limit by the client's address.
pub(crate) trait AddressLimit {
    /// Returns the limiter.
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr>;
}

/// `rc_login.address`.
pub(crate) struct Login;

/// `rc_registration`.
pub(crate) struct Registration;

/// Requests about rendezvous sessions.
pub(crate) struct Rendezvous;

/// New rendezvous sessions.
pub(crate) struct RendezvousCreation;

/// `rc_3pid_validation`.
pub(crate) struct ThreepidValidation;

impl AddressLimit for ThreepidValidation {
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr> {
        &limits.threepid_validation_address
    }
}

impl AddressLimit for Rendezvous {
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr> {
        &limits.rendezvous
    }
}

impl AddressLimit for RendezvousCreation {
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr> {
        &limits.rendezvous_creation
    }
}

impl AddressLimit for Login {
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr> {
        &limits.login_address
    }
}

impl AddressLimit for Registration {
    fn limiter(limits: &RateLimits) -> &RateLimiter<IpAddr> {
        &limits.registration
    }
}

/// The address of a client that has not reached the limit `L`, or of an application service that is not rate limited.
/// The request is not counted yet.
pub(crate) struct WithinLimit<L> {
    /// The address by which the request is counted.
    pub address: IpAddr,
    limit: PhantomData<L>,
}

impl<S: Send + Sync, L: AddressLimit> FromRequestParts<S> for WithinLimit<L>
where
    Arc<RateLimits>: FromRef<S>,
    Arc<TokenChecker>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(ClientIp(ip)) = ClientIp::from_request_parts(parts, state).await;
        let address = network(ip);
        // Others at its address, which may be that of a proxy, must not keep a bridge from registering its users.
        if !AppServiceToken::from_request_parts(parts, state).await?.is_unlimited() {
            L::limiter(&Arc::<RateLimits>::from_ref(state)).peek(&address)?;
        }
        Ok(Self { address, limit: PhantomData })
    }
}

/// Counts each request for the limit `L` of the client's address.
pub(crate) struct Counted<L>(PhantomData<L>);

impl<S: Send + Sync, L: AddressLimit> FromRequestParts<S> for Counted<L>
where
    Arc<RateLimits>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(ClientIp(ip)) = ClientIp::from_request_parts(parts, state).await;
        L::limiter(&Arc::<RateLimits>::from_ref(state)).check(&network(ip))?;
        Ok(Self(PhantomData))
    }
}
