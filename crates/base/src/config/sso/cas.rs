use std::collections::BTreeMap;

use crate::schema::options;

options! {
    /// CAS.
    pub struct CasConfig {
        /// Whether users can log in so.
        later enabled: bool = false,
        /// Its name for users.
        later idp_name: String = "CAS".to_owned(),
        /// Its picture: an mxc address.
        later idp_icon: Option<String>,
        /// Its brand, for clients that know it.
        later idp_brand: Option<String>,
        /// Its address.
        later server_url: Option<String>,
        /// The version of the protocol.
        later protocol_version: Option<u8>,
        /// The attribute with the display name.
        later displayname_attribute: Option<String>,
        /// What a user must have there: values by attribute, or null for any value.
        later required_attributes: BTreeMap<String, serde_json::Value>,
        /// Whether a new user gets an account.
        later enable_registration: bool = true,
        /// Whether user names may be numbers; they get a prefix.
        later allow_numeric_ids: bool = false,
        /// The prefix.
        later numeric_ids_prefix: String = "u".to_owned(),
        /// This server's address: the old form of `public_baseurl`.
        later service_url: Option<String>,
    }
}
