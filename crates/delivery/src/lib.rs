//! Delivery to other servers, application services and push gateways, and receiving other servers' EDUs.
//!
//! - [`outbox`]: delivery of the log to destinations of any kind
//! - [`federation_out`]: delivers events and EDUs to other servers
//! - [`app_service_out`]: delivers events to application services
//! - [`push_out`]: delivers notifications to push gateways
//! - [`edu`]: receives EDUs of other servers

#![warn(missing_docs, unreachable_pub)]

pub mod app_service_out;
mod damaged;
pub mod edu;
pub mod federation_out;
pub mod outbox;
pub mod push_out;

pub use app_service_out::{AppServiceOut, AppServiceOutParts, Extensions};
pub use edu::{EduReceiver, EduReceiverParts};
pub use federation_out::{FederationOut, FederationOutParts};
pub use push_out::{PushCounts, PushOut, PushOutParts, PushSettings};
