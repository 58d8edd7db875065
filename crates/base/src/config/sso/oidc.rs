use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::super::Secret;
use super::AttributeRequirement;
use crate::schema::{MapReader, choice, options};

options! {
    /// An OpenID Connect provider.
    pub struct OidcProvider checked by check_provider {
        /// Whether it is used: for the old `oidc_config` only.
        later enabled: bool = true,
        /// Its id, which is part of addresses and never changes.
        later idp_id: String = "oidc".to_owned(),
        /// Its name for users.
        later idp_name: String = "OIDC".to_owned(),
        /// Its picture: an mxc address.
        later idp_icon: Option<String>,
        /// Its brand, for clients that know it.
        later idp_brand: Option<String>,
        /// Whether its addresses are asked of `issuer`.
        later discover: bool = true,
        /// Its address.
        later issuer: String,
        /// This server's id there.
        later client_id: String,
        /// This server's secret there.
        later client_secret: Option<Secret>,
        /// A file that holds `client_secret`.
        later client_secret_path: Option<PathBuf>,
        /// The key by which secrets are made.
        later client_secret_jwt_key: Option<JwtKey>,
        /// How this server shows who it is.
        later client_auth_method: ClientAuthMethod = ClientAuthMethod::Basic,
        /// Whether logins are protected by PKCE.
        later pkce_method: PkceMethod = PkceMethod::Auto,
        /// How identities may be signed; as the provider says when not set.
        later id_token_signing_alg_values_supported: Option<Vec<String>>,
        /// What is asked for.
        later scopes: Vec<String> = vec!["openid".to_owned()],
        /// Where users log in; required without `discover`.
        later authorization_endpoint: Option<String>,
        /// Where tokens are fetched; required without `discover`.
        later token_endpoint: Option<String>,
        /// Where user information is fetched.
        later userinfo_endpoint: Option<String>,
        /// Where keys are fetched; required without `discover` for the scope `openid`.
        later jwks_uri: Option<String>,
        /// Whether the provider's own description is not checked.
        later skip_verification: bool = false,
        /// Where user information comes from.
        later user_profile_method: UserProfileMethod = UserProfileMethod::Auto,
        /// The address users return to; made from `public_baseurl` when not set.
        later redirect_uri: Option<String>,
        /// Further parameters for the provider's login page.
        later additional_authorization_parameters: BTreeMap<String, String>,
        /// Parameters of a client that are passed on to the provider's login page.
        later passthrough_authorization_parameters: Vec<String>,
        /// Whether a user may take over an existing account of the same name.
        later allow_existing_users: bool = false,
        /// Whether a new user gets an account.
        later enable_registration: bool = true,
        /// How user names are made.
        later user_mapping_provider: OidcMappingProvider,
        /// Whether the provider can log users out here.
        later backchannel_logout_enabled: bool = false,
        /// Whether the subject in such a request is ignored.
        later backchannel_logout_ignore_sub: bool = false,
        /// What a user must have at the provider.
        later attribute_requirements: Vec<AttributeRequirement>,
    }
}

fn check_provider(mut provider: OidcProvider, map: &mut MapReader<'_, '_>) -> OidcProvider {
    let path = provider.client_secret_path.as_deref();
    provider.client_secret =
        map.secret("client_secret", provider.client_secret, "client_secret_path", path);
    let valid_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if provider.idp_id.is_empty() || !provider.idp_id.bytes().all(valid_id) {
        let message = format!(
            "found {:?}; allowed are letters, digits and -._~",
            provider.idp_id
        );
        map.error("idp_id", message);
    }
    if !provider.discover {
        let endpoints = [
            ("authorization_endpoint", &provider.authorization_endpoint),
            ("token_endpoint", &provider.token_endpoint),
        ];
        for (name, endpoint) in endpoints {
            if endpoint.is_none() {
                map.error(name, "required when discover is false, but not set");
            }
        }
    }
    provider
}

options! {
    /// The key by which secrets are made.
    pub struct JwtKey checked by check_key {
        /// The private key, in PEM form.
        later key: Option<Secret>,
        /// A file that holds `key`.
        later key_file: Option<PathBuf>,
        /// The header of a secret.
        later jwt_header: JwtHeader,
        /// More claims of a secret.
        later jwt_payload: Map<String, Value>,
    }
}

fn check_key(mut key: JwtKey, map: &mut MapReader<'_, '_>) -> JwtKey {
    let path = key.key_file.as_deref();
    key.key = map.secret("key", key.key, "key_file", path);
    key
}

options! {
    /// The header of a secret.
    pub struct JwtHeader {
        /// How it is signed.
        later alg: String,
        /// The id of the key.
        later kid: Option<String>,
    }
}

choice! {
    /// How this server shows who it is.
    pub enum ClientAuthMethod {
        /// In a header.
        Basic = "client_secret_basic",
        /// In the body.
        Post = "client_secret_post",
        /// Not at all.
        None = "none",
    }
}

choice! {
    /// Whether logins are protected by PKCE.
    pub enum PkceMethod {
        /// When the provider says it can.
        Auto = "auto",
        /// In any case.
        Always = "always",
        /// In no case.
        Never = "never",
    }
}

choice! {
    /// Where user information comes from.
    pub enum UserProfileMethod {
        /// From the identity token, for the scope `openid`; otherwise from `userinfo_endpoint`.
        Auto = "auto",
        /// From `userinfo_endpoint`.
        UserinfoEndpoint = "userinfo_endpoint",
    }
}

options! {
    /// How user names are made.
    pub struct OidcMappingProvider {
        /// A Python class that makes them.
        later module: String = "synapse.handlers.oidc.JinjaOidcMappingProvider".to_owned(),
        /// Its settings.
        later config: OidcMapping,
    }
}

options! {
    /// Settings of the usual way to make user names: Jinja templates over the provider's `user`.
    pub struct OidcMapping {
        /// What never changes about a user.
        later subject_template: String = "{{ user.sub }}".to_owned(),
        /// The claim of that: the old form of `subject_template`.
        later subject_claim: Option<String>,
        /// The avatar's address.
        later picture_template: String = "{{ user.picture }}".to_owned(),
        /// The claim of that: the old form of `picture_template`.
        later picture_claim: Option<String>,
        /// The user's name here; users choose when not set.
        later localpart_template: Option<String>,
        /// Whether users may change the name made by `localpart_template`.
        later confirm_localpart: bool = false,
        /// The display name.
        later display_name_template: Option<String>,
        /// The mail address.
        later email_template: Option<String>,
        /// Further members of the answer to a login.
        later extra_attributes: BTreeMap<String, String>,
    }
}
