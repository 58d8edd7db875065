use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::AttributeRequirement;
use crate::schema::{choice, options};

options! {
    /// SAML.
    pub struct Saml2Config {
        /// Whether users can log in with SAML.
        later enabled: bool = true,
        /// The name shown to users.
        later idp_name: String = "SAML".to_owned(),
        /// The icon: an mxc URI.
        later idp_icon: Option<String>,
        /// The brand, for clients that know it.
        later idp_brand: Option<String>,
        /// Settings in the form of pysaml2.
        later sp_config: Option<Map<String, Value>>,
        /// A Python file with such settings.
        later config_path: Option<PathBuf>,
        /// How long a login may take.
        later saml_session_lifetime: Duration = Duration::from_secs(900),
        /// How users are mapped to accounts.
        later user_mapping_provider: SamlMappingProvider,
        /// The attribute that named users before `user_mapping_provider`.
        later grandfathered_mxid_source_attribute: String = "uid".to_owned(),
        /// Requirements on users.
        later attribute_requirements: Vec<AttributeRequirement>,
        /// The id of the other service, if the metadata names several.
        later idp_entityid: Option<String>,
    }
}

options! {
    /// How users are mapped to accounts.
    pub struct SamlMappingProvider {
        /// The Python class of the mapping.
        later module: Option<String>,
        /// Its settings.
        later config: SamlMapping,
    }
}

options! {
    /// Settings of the default mapping.
    pub struct SamlMapping {
        /// The attribute with the user name.
        later mxid_source_attribute: String = "uid".to_owned(),
        /// How characters that user names cannot contain are replaced.
        later mxid_mapping: MxidMapping = MxidMapping::Hexencode,
    }
}

choice! {
    /// How characters that user names cannot contain are replaced.
    pub enum MxidMapping {
        /// By their code in hexadecimal.
        Hexencode = "hexencode",
        /// By dots.
        Dotreplace = "dotreplace",
    }
}
