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
    /// Single sign-on.
    pub struct SsoSection {
        /// SAML.
        later saml2_config: Option<Saml2Config>,
        /// OpenID Connect.
        later oidc_providers: Vec<OidcProvider>,
        /// One OpenID Connect provider: the old form of `oidc_providers`.
        later oidc_config: Option<OidcProvider>,
        /// CAS.
        later cas_config: Option<CasConfig>,
        /// Options of all kinds of single sign-on.
        later sso: Sso,
        /// Logging in with a JSON Web Token.
        later jwt_config: Option<JwtConfig>,
    }
}

options! {
    /// Options of all kinds of single sign-on.
    pub struct Sso {
        /// Clients, by URL prefix, to which users are redirected without confirmation.
        later client_whitelist: Vec<String>,
        /// Whether name and avatar are updated at each login.
        later update_profile_information: bool = false,
        /// The folder of the templates: the old form of `templates.custom_template_directory`.
        later template_dir: Option<PathBuf>,
    }
}

options! {
    /// A requirement on users of the other service.
    pub struct AttributeRequirement {
        /// The attribute.
        later attribute: String,
        /// The required value; any when neither this nor `one_of` is set.
        later value: Option<String>,
        /// The allowed values.
        later one_of: Vec<String>,
    }
}
