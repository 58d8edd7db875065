use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::AttributeRequirement;
use crate::schema::{choice, options};

options! {
    /// SAML.
    pub struct Saml2Config {
        /// Whether users can log in so.
        later enabled: bool = true,
        /// Its name for users.
        later idp_name: String = "SAML".to_owned(),
        /// Its picture: an mxc address.
        later idp_icon: Option<String>,
        /// Its brand, for clients that know it.
        later idp_brand: Option<String>,
        /// Settings in the form of pysaml2.
        later sp_config: Option<Map<String, Value>>,
        /// A Python file with such settings.
        later config_path: Option<PathBuf>,
        /// How long a login may take.
        later saml_session_lifetime: Duration = Duration::from_secs(900),
        /// How user names are made.
        later user_mapping_provider: SamlMappingProvider,
        /// The attribute that named users before `user_mapping_provider`.
        later grandfathered_mxid_source_attribute: String = "uid".to_owned(),
        /// What a user must have at the other service.
        later attribute_requirements: Vec<AttributeRequirement>,
        /// The id of the other service, when the metadata names several.
        later idp_entityid: Option<String>,
    }
}

options! {
    /// How user names are made.
    pub struct SamlMappingProvider {
        /// A Python class that makes them.
        later module: Option<String>,
        /// Its settings.
        later config: SamlMapping,
    }
}

options! {
    /// Settings of the usual way to make user names.
    pub struct SamlMapping {
        /// The attribute that names the user.
        later mxid_source_attribute: String = "uid".to_owned(),
        /// What happens to letters that user names cannot have.
        later mxid_mapping: MxidMapping = MxidMapping::Hexencode,
    }
}

choice! {
    /// What happens to letters that user names cannot have.
    pub enum MxidMapping {
        /// They are written as numbers.
        Hexencode = "hexencode",
        /// They become dots.
        Dotreplace = "dotreplace",
    }
}
