use crate::schema::{MapReader, options};

use super::super::Secret;

options! {
    /// Logging in with a JSON Web Token.
    pub struct JwtConfig checked by check_jwt {
        /// Whether users can log in with a token.
        later enabled: bool = false,
        /// The secret or public key with which tokens are signed.
        later secret: Option<Secret>,
        /// The signature algorithm, such as `HS256`.
        later algorithm: Option<String>,
        /// The claim with the localpart.
        later subject_claim: String = "sub".to_owned(),
        /// The claim with the display name.
        later display_name_claim: Option<String>,
        /// The required issuer; any when not set.
        later issuer: Option<String>,
        /// The allowed audiences; any when not set.
        later audiences: Option<Vec<String>>,
    }
}

fn check_jwt(config: JwtConfig, map: &mut MapReader<'_, '_>) -> JwtConfig {
    if config.enabled && config.secret.is_none() {
        map.error("secret", "required when enabled, but not set");
    }
    if config.enabled && config.algorithm.is_none() {
        map.error("algorithm", "required when enabled, but not set");
    }
    config
}
