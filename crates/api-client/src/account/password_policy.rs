//! GET /_matrix/client/v3/password_policy: the rules of `password_config.policy` (MSC2000, served by Synapse).

use std::sync::Arc;

use plexus_accounts::Settings;
use plexus_http::{JsonBody, State};
use serde_json::{Map, Value};

pub(crate) async fn handle(State(settings): State<Arc<Settings>>) -> JsonBody<Map<String, Value>> {
    let policy = &settings.password.policy;
    let mut rules = Map::new();
    if policy.enabled {
        if policy.minimum_length > 0 {
            rules.insert("m.minimum_length".to_owned(), policy.minimum_length.into());
        }
        let flags = [
            ("m.require_digit", policy.require_digit),
            ("m.require_symbol", policy.require_symbol),
            ("m.require_lowercase", policy.require_lowercase),
            ("m.require_uppercase", policy.require_uppercase),
        ];
        rules.extend(flags.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name.to_owned(), on.into())));
    }
    JsonBody(rules)
}
