use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// TURN servers and conferences.
    pub struct TurnSection checked by check_turn {
        /// The URIs of TURN servers, such as `turn:turn.example.com?transport=udp`.
        acts turn_uris: Vec<String>,
        /// The secret shared with them, from which users' passwords are derived.
        acts turn_shared_secret: Option<Secret>,
        /// A file that holds `turn_shared_secret`.
        acts turn_shared_secret_path: Option<PathBuf>,
        /// The user name for servers without a shared secret.
        acts turn_username: Option<String>,
        /// The password for servers without a shared secret.
        acts turn_password: Option<Secret>,
        /// How long a password derived from the shared secret is valid.
        acts turn_user_lifetime: Duration = Duration::from_secs(3600),
        /// Whether guests may use the servers.
        acts turn_allow_guests: bool = true,
        /// Conferences.
        acts matrix_rtc: MatrixRtc,
    }
}

fn check_turn(mut section: TurnSection, map: &mut MapReader<'_, '_>) -> TurnSection {
    section.turn_shared_secret = map.secret(
        "turn_shared_secret",
        section.turn_shared_secret,
        "turn_shared_secret_path",
        section.turn_shared_secret_path.as_deref(),
    );
    section
}

options! {
    /// Conferences.
    pub struct MatrixRtc {
        /// The servers that carry them, in the order of preference.
        acts transports: Vec<RtcTransport>,
    }
}

options! {
    /// A server that carries conferences.
    pub struct RtcTransport {
        /// Its kind, such as `livekit`.
        acts r#type: String,
        /// Its address.
        acts url: Option<String>,
        /// The address of its authorization service: the old form of `url`.
        acts livekit_service_url: Option<String>,
    }
}
