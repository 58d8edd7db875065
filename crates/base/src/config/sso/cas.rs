use std::collections::BTreeMap;

use crate::schema::options;

options! {
    /// CAS.
    pub struct CasConfig {
        /// Whether users can log in with CAS.
        later enabled: bool = false,
        /// The name shown to users.
        later idp_name: String = "CAS".to_owned(),
        /// The icon: an mxc URI.
        later idp_icon: Option<String>,
        /// The brand, for clients that know it.
        later idp_brand: Option<String>,
        /// The URL of the CAS server.
        later server_url: Option<String>,
        /// The version of the protocol.
        later protocol_version: Option<u8>,
        /// The attribute with the display name.
        later displayname_attribute: Option<String>,
        /// Requirements on users: values by attribute, or null for any value.
        later required_attributes: BTreeMap<String, serde_json::Value>,
        /// Whether new users get an account.
        later enable_registration: bool = true,
        /// Whether user names may be numbers; they get a prefix.
        later allow_numeric_ids: bool = false,
        /// The prefix.
        later numeric_ids_prefix: String = "u".to_owned(),
        /// This server's URL: the old form of `public_baseurl`.
        later service_url: Option<String>,
    }
}
