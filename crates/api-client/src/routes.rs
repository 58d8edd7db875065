//! Every route of the client-server API, grouped as the endpoints' folders are.

use plexus_http::{Client, Routes};

use crate::Api;
use crate::{authenticated_media, media};
use crate::discovery::{discover_homeserver, get_capabilities, get_supported_versions};

/// The list of routes; `build` it with [`Api`].
pub fn routes() -> Routes<Api> {
    let mut routes = Routes::new();
    discovery(&mut routes);
    media_routes(&mut routes);
    routes
}

fn discovery(r: &mut Routes<Api>) {
    r.get(Client::ROOT, "/versions", get_supported_versions::handle);
    r.get(Client::V3R0, "/capabilities", get_capabilities::handle);
    r.get(Client::FULL, "/.well-known/matrix/client", discover_homeserver::handle);
}

fn media_routes(r: &mut Routes<Api>) {
    r.post(Client::MEDIA_V1, "/create", media::create_mxc_uri::handle);
    r.post(Client::MEDIA, "/upload", media::create_content::handle);
    r.put(Client::MEDIA, "/upload/{server_name}/{media_id}", media::create_content_async::handle);
    r.get(Client::MEDIA, "/config", media::get_media_config::handle);
    r.get(Client::MEDIA, "/download/{server_name}/{media_id}", media::get_content::handle);
    r.get(Client::MEDIA, "/download/{server_name}/{media_id}/{file_name}", media::get_content_as_filename::handle);
    r.get(Client::MEDIA, "/thumbnail/{server_name}/{media_id}", media::get_content_thumbnail::handle);
    r.get(Client::V1, "/media/config", media::get_media_config::handle);
    r.get(Client::V1, "/media/download/{server_name}/{media_id}", authenticated_media::get_content::handle);
    r.get(
        Client::V1,
        "/media/download/{server_name}/{media_id}/{file_name}",
        authenticated_media::get_content_as_filename::handle,
    );
    r.get(Client::V1, "/media/thumbnail/{server_name}/{media_id}", authenticated_media::get_content_thumbnail::handle);
}
