use serde_json::{Map, Value};

use super::policy_hooks::{ANTISPAM_MODULE, PolicyHook};
use crate::schema::{MapReader, options};

options! {
    /// Python modules that extend Synapse.
    pub struct ModulesSection {
        /// Modules to load, each with a configuration of its own. `synapse_http_antispam.HTTPAntispam` is built in.
        acts modules: Vec<Module>,
        /// Servers that are asked over HTTP what users may do, in place of modules.
        acts policy_hooks: Vec<PolicyHook>,
        /// Modules that check passwords: the old form of `modules`.
        later password_providers: Vec<LegacyModule>,
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
        ) third_party_event_rules: Option<LegacyModule>,
    }
}

options! {
    /// One module.
    pub struct Module checked by check {
        /// The Python path of the module's class.
        acts module: String,
        /// The configuration of the module.
        acts config: Option<Map<String, Value>>,
    }
}

options! {
    /// One module, in an old form.
    pub struct LegacyModule {
        /// The Python path of the module's class.
        later module: String,
        /// The configuration that is passed to the module unchanged.
        later config: Option<Map<String, Value>>,
    }
}

/// Reports a module that is not built in, or whose configuration cannot be used.
fn check(module: Module, map: &mut MapReader<'_, '_>) -> Module {
    if module.module != ANTISPAM_MODULE {
        map.error(
            "module",
            format!(
                "{:?} is not supported, and running without it would be unsafe: modules may decide what users are \
                 allowed to do, and Python does not run here; remove the modules that you can do without, or replace \
                 them by policy_hooks",
                module.module
            ),
        );
    } else if let Err(problem) = module.policy_hook() {
        map.error("config", problem);
    }
    module
}
