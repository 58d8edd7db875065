use std::path::PathBuf;

use crate::schema::options;

mod cas;
mod jwt;
mod oidc;
mod saml2;

pub use cas::CasConfig;
pub use jwt::JwtConfig;
pub use oidc::{
    ClientAuthMethod, JwtHeader, JwtKey, OidcMapping, OidcMappingProvider, OidcProvider,
    PkceMethod, UserProfileMethod,
};
pub use saml2::{MxidMapping, Saml2Config, SamlMapping, SamlMappingProvider};

options! {
    /// Logging in at another service.
    pub struct SsoSection {
        /// SAML.
        later saml2_config: Option<Saml2Config>,
        /// OpenID Connect.
        later oidc_providers: Vec<OidcProvider>,
        /// One OpenID Connect provider: the old form of `oidc_providers`.
        later oidc_config: Option<OidcProvider>,
        /// CAS.
        later cas_config: Option<CasConfig>,
        /// What all of these have in common.
        later sso: Sso,
        /// Logging in with a JSON Web Token.
        later jwt_config: Option<JwtConfig>,
    }
}

options! {
    /// What all kinds of single sign-on have in common.
    pub struct Sso {
        /// Clients, by the beginning of their address, that users are led to without being asked.
        later client_whitelist: Vec<String>,
        /// Whether name and avatar are taken over at each login.
        later update_profile_information: bool = false,
        /// The folder of the templates: the old form of `templates.custom_template_directory`.
        later template_dir: Option<PathBuf>,
    }
}

options! {
    /// What a user must have at the other service.
    pub struct AttributeRequirement {
        /// The attribute.
        later attribute: String,
        /// Its value; any when neither this nor `one_of` is set.
        later value: Option<String>,
        /// Its values.
        later one_of: Vec<String>,
    }
}
