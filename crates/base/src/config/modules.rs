use serde_json::{Map, Value};

use crate::schema::options;

options! {
    /// Python modules that extend Synapse.
    pub struct ModulesSection {
        /// Modules to load, each with a configuration of its own.
        refused(
            "modules may decide what users are allowed to do, and Python does not run here; remove the \
             modules that you can do without"
        ) modules: Vec<Module>,
        /// Modules that check passwords: the old form of `modules`.
        later password_providers: Vec<Module>,
        /// LDAP: the old form of a module.
        later ldap_config: Option<Map<String, Value>>,
        /// Modules that look for spam: the old form of `modules`.
        refused(
            "modules may decide what users are allowed to do, and Python does not run here; remove the \
             modules that you can do without"
        ) spam_checker: Option<Value>,
        /// A module with rules about events: the old form of `modules`.
        refused(
            "modules may decide what users are allowed to do, and Python does not run here; remove the \
             modules that you can do without"
        ) third_party_event_rules: Option<Module>,
    }
}

options! {
    /// One module.
    pub struct Module {
        /// The Python path of the module's class.
        later module: String,
        /// The configuration that is passed to the module unchanged.
        later config: Option<Map<String, Value>>,
    }
}
