use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::super::Secret;
use super::AttributeRequirement;
use crate::schema::{MapReader, choice, options};

options! {
    /// An OpenID Connect provider.
    pub struct OidcProvider checked by check_provider {
        /// Whether it is used: only in the old `oidc_config`.
        later enabled: bool = true,
        /// The provider's id, which is part of URLs and never changes.
        later idp_id: String = "oidc".to_owned(),
        /// The name shown to users.
        later idp_name: String = "OIDC".to_owned(),
        /// The icon: an mxc URI.
        later idp_icon: Option<String>,
        /// The brand, for clients that know it.
        later idp_brand: Option<String>,
        /// Whether endpoints are discovered from `issuer`.
        later discover: bool = true,
        /// The provider's URL.
        later issuer: String,
        /// This server's client id.
        later client_id: String,
        /// This server's client secret.
        later client_secret: Option<Secret>,
        /// A file that holds `client_secret`.
        later client_secret_path: Option<PathBuf>,
        /// The key with which client secrets are made.
        later client_secret_jwt_key: Option<JwtKey>,
        /// How this server authenticates to the provider.
        later client_auth_method: ClientAuthMethod = ClientAuthMethod::Basic,
        /// Whether logins use PKCE.
        later pkce_method: PkceMethod = PkceMethod::Auto,
        /// The allowed signature algorithms of identity tokens; as the provider advertises when not set.
        later id_token_signing_alg_values_supported: Option<Vec<String>>,
        /// The requested scopes.
        later scopes: Vec<String> = vec!["openid".to_owned()],
        /// The authorization endpoint; required without `discover`.
        later authorization_endpoint: Option<String>,
        /// The token endpoint; required without `discover`.
        later token_endpoint: Option<String>,
        /// The user information endpoint.
        later userinfo_endpoint: Option<String>,
        /// The key set URL; required without `discover` for the scope `openid`.
        later jwks_uri: Option<String>,
        /// Whether validation of the provider's metadata is skipped.
        later skip_verification: bool = false,
        /// The source of user information.
        later user_profile_method: UserProfileMethod = UserProfileMethod::Auto,
        /// The URL to which users return; made from `public_baseurl` when not set.
        later redirect_uri: Option<String>,
        /// Additional parameters for the provider's login page.
        later additional_authorization_parameters: BTreeMap<String, String>,
        /// Parameters of a client that are passed to the provider's login page.
        later passthrough_authorization_parameters: Vec<String>,
        /// Whether a user may log in to an existing account with the same name.
        later allow_existing_users: bool = false,
        /// Whether new users get an account.
        later enable_registration: bool = true,
        /// How users are mapped to accounts.
        later user_mapping_provider: OidcMappingProvider,
        /// Whether the provider can log users out.
        later backchannel_logout_enabled: bool = false,
        /// Whether the subject of such a request is ignored.
        later backchannel_logout_ignore_sub: bool = false,
        /// Requirements on users.
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
    /// The key with which client secrets are made.
    pub struct JwtKey checked by check_key {
        /// The private key, in PEM form.
        later key: Option<Secret>,
        /// A file that holds `key`.
        later key_file: Option<PathBuf>,
        /// The header of a client secret.
        later jwt_header: JwtHeader,
        /// Additional claims of a client secret.
        later jwt_payload: Map<String, Value>,
    }
}

fn check_key(mut key: JwtKey, map: &mut MapReader<'_, '_>) -> JwtKey {
    let path = key.key_file.as_deref();
    key.key = map.secret("key", key.key, "key_file", path);
    key
}

options! {
    /// The header of a client secret.
    pub struct JwtHeader {
        /// The signature algorithm.
        later alg: String,
        /// The id of the key.
        later kid: Option<String>,
    }
}

choice! {
    /// How this server authenticates to the provider.
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
    /// Whether logins use PKCE.
    pub enum PkceMethod {
        /// If the provider advertises it.
        Auto = "auto",
        /// Always.
        Always = "always",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// The source of user information.
    pub enum UserProfileMethod {
        /// From the identity token, for the scope `openid`; otherwise from `userinfo_endpoint`.
        Auto = "auto",
        /// From `userinfo_endpoint`.
        UserinfoEndpoint = "userinfo_endpoint",
    }
}

options! {
    /// How users are mapped to accounts.
    pub struct OidcMappingProvider {
        /// The Python class of the mapping.
        later module: String = "synapse.handlers.oidc.JinjaOidcMappingProvider".to_owned(),
        /// Its settings.
        later config: OidcMapping,
    }
}

options! {
    /// Settings of the default mapping: Jinja templates over the provider's `user`.
    pub struct OidcMapping {
        /// The identifier of a user, which never changes.
        later subject_template: String = "{{ user.sub }}".to_owned(),
        /// The claim with the identifier: the old form of `subject_template`.
        later subject_claim: Option<String>,
        /// The URL of the avatar.
        later picture_template: String = "{{ user.picture }}".to_owned(),
        /// The claim with the avatar: the old form of `picture_template`.
        later picture_claim: Option<String>,
        /// The localpart; users choose one when not set.
        later localpart_template: Option<String>,
        /// Whether users may change the localpart from `localpart_template`.
        later confirm_localpart: bool = false,
        /// The display name.
        later display_name_template: Option<String>,
        /// The email address.
        later email_template: Option<String>,
        /// Additional members of the login response.
        later extra_attributes: BTreeMap<String, String>,
    }
}
