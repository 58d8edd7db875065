//! Every route of the admin API.

use plexus_http::{Prefixes, Routes};

use crate::{Api, register, registration_tokens, room_block, scheduled_tasks, send_server_notice, server_version};

const V1: Prefixes = Prefixes(&["/_synapse/admin/v1"]);

/// Returns the list of routes; `build` it with [`Api`].
pub fn routes() -> Routes<Api> {
    let mut r = Routes::new();
    r.get(V1, "/server_version", server_version::handle);
    r.get(V1, "/register", register::nonce);
    r.post(V1, "/register", register::register);
    r.get(V1, "/registration_tokens", registration_tokens::list);
    r.post(V1, "/registration_tokens/new", registration_tokens::create);
    r.get(V1, "/registration_tokens/{token}", registration_tokens::get);
    r.put(V1, "/registration_tokens/{token}", registration_tokens::update);
    r.delete(V1, "/registration_tokens/{token}", registration_tokens::delete);
    r.get(V1, "/rooms/{room_id}/block", room_block::get);
    r.put(V1, "/rooms/{room_id}/block", room_block::put);
    r.post(V1, "/send_server_notice", send_server_notice::send);
    r.put(V1, "/send_server_notice/{txn_id}", send_server_notice::send_once);
    r.get(V1, "/scheduled_tasks", scheduled_tasks::list);
    r
}
