use crate::schema::{MapReader, options};

use super::super::Secret;

options! {
    /// Logging in with a JSON Web Token.
    pub struct JwtConfig checked by check_jwt {
        /// Whether users can log in so.
        later enabled: bool = false,
        /// The secret, or public key, by which tokens are signed.
        later secret: Option<Secret>,
        /// How they are signed, such as `HS256`.
        later algorithm: Option<String>,
        /// The claim with the user's name.
        later subject_claim: String = "sub".to_owned(),
        /// The claim with the display name.
        later display_name_claim: Option<String>,
        /// Who must have made the token; anybody when not set.
        later issuer: Option<String>,
        /// For whom the token must be made; anybody when not set.
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
