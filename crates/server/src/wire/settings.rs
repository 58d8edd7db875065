//! The settings of each part, from the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use plexus_accounts::password::Policy;
use plexus_accounts::settings::{
    GuessSettings, LoginTokenSettings, PasswordSettings, RegistrationSettings, SessionSettings, Settings,
};
use plexus_base::config::{
    self, ApiSection, AutoAcceptInvites, AutoJoinPreset, Config, IpRange, LimitRemoteRooms, PasswordLogin,
    PrejoinStateEntry, StorageLocation, ThumbnailMethod, TlsVersion,
};
use plexus_media::{
    DownloadSettings, Downloads, Lifetimes, MediaSettings, MediaStore, Method, OembedProviders, PreviewSettings,
    ProviderSettings, ProvidersError, ThumbnailSize, UploadLimit, UrlPatterns, UrlRules,
};
use plexus_net::federation::{Backoff, FederationSettings, Retries, TrustedKeyServer};
use plexus_net::{AddressGuard, AddressGuards, FederationClient, HttpSettings, TlsSettings};
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::{IdError, ServerName, UserId};
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::{
    AcceptedInvites, AutoJoinSettings, ComplexityTasks, Preset, RemoteRoomLimit, RoomDefaults, stripped,
};
use plexus_service::ServerNoticeSettings;

use crate::open_files::federation_connections;
use crate::start_error::StartError;

/// Returns how many bytes rooms in memory may take; rooms in use stay.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest size there is"
)]
pub(crate) fn room_cache_bytes(config: &Config) -> usize {
    const BYTES_AT_FACTOR_1: f64 = 48.0 * 1024.0 * 1024.0;
    const MIN_BYTES: usize = 4 * 1024 * 1024;
    ((BYTES_AT_FACTOR_1 * config.caches.caches.global_factor) as usize).max(MIN_BYTES)
}

/// Returns the settings of accounts.
///
/// # Errors
/// When the user who sends server notices has no valid name.
pub(crate) fn accounts(config: &Config, server_name: ServerName) -> Result<Settings, IdError> {
    let notices_user = notices_user(config, &server_name)?;
    let sessions = &config.sessions;
    let login_token = &sessions.login_via_existing_session;
    Ok(Settings {
        server_name,
        registration: RegistrationSettings { notices_user, ..registration(config) },
        password: password(config),
        sessions: SessionSettings {
            session_lifetime: sessions.session_lifetime,
            refreshable_access_token_lifetime: sessions.refreshable_access_token_lifetime,
            refresh_token_lifetime: sessions.refresh_token_lifetime,
            nonrefreshable_access_token_lifetime: sessions.nonrefreshable_access_token_lifetime,
            track_appservice_user_ips: config.api.track_appservice_user_ips,
        },
        login_via_existing_session: LoginTokenSettings {
            enabled: login_token.enabled,
            require_ui_auth: login_token.require_ui_auth,
            token_timeout: login_token.token_timeout,
        },
        ui_auth_session_timeout: sessions.ui_auth.session_timeout,
        guesses: GuessSettings {
            failed_attempts: config.ratelimits.rc_login.failed_attempts,
            registration_token_validity: config.ratelimits.rc_registration_token_validity,
        },
    })
}

/// Returns the user who sends server notices; `None` if there are none.
pub(crate) fn notices_user(config: &Config, server_name: &ServerName) -> Result<Option<UserId>, IdError> {
    let options = config.rooms.server_notices.as_ref();
    options.map(|options| UserId::new(&options.system_mxid_localpart, server_name)).transpose()
}

/// Returns the settings of server notices; `None` if there are none.
pub(crate) fn server_notices(
    config: &Config,
    server_name: &ServerName,
) -> Result<Option<ServerNoticeSettings>, IdError> {
    let (Some(options), Some(user)) = (&config.rooms.server_notices, notices_user(config, server_name)?) else {
        return Ok(None);
    };
    Ok(Some(ServerNoticeSettings {
        user,
        display_name: options.system_mxid_display_name.clone(),
        avatar_url: options.system_mxid_avatar_url.clone(),
        room_name: options.room_name.clone(),
        room_avatar_url: options.room_avatar_url.clone(),
        room_topic: options.room_topic.clone(),
        auto_join: options.auto_join,
        version: config.server.default_room_version.parse().unwrap_or(RoomVersion::V12),
        power_levels: RoomDefaults::of(&config.rooms, Preset::PrivateChat).power_levels,
    }))
}

fn registration(config: &Config) -> RegistrationSettings {
    let options = &config.registration;
    let unsupported_verification = if !options.registrations_require_3pid.is_empty() {
        Some("m.login.email.identity")
    } else if config.captcha.enable_registration_captcha {
        Some("m.login.recaptcha")
    } else {
        None
    };
    let secret = options.registration_shared_secret.as_ref();
    RegistrationSettings {
        enable_registration: options.enable_registration,
        registration_requires_token: options.registration_requires_token,
        unsupported_verification,
        registration_shared_secret: secret.map(|secret| secret.expose().to_owned()),
        allow_guest_access: options.allow_guest_access,
        inhibit_user_in_use_error: options.inhibit_user_in_use_error,
        allow_underscore_prefixed_registration: options.allow_underscore_prefixed_localpart,
        notices_user: None,
    }
}

fn password(config: &Config) -> PasswordSettings {
    let options = &config.passwords.password_config;
    let policy = &options.policy;
    let pepper = options.pepper.as_ref();
    PasswordSettings {
        for_login: options.localdb_enabled && options.enabled == PasswordLogin::Enabled,
        for_reauth: options.localdb_enabled && options.enabled != PasswordLogin::Disabled,
        pepper: pepper.map(|pepper| pepper.expose().to_owned()).unwrap_or_default(),
        policy: Policy {
            enabled: policy.enabled,
            minimum_length: policy.minimum_length.into(),
            require_digit: policy.require_digit,
            require_symbol: policy.require_symbol,
            require_lowercase: policy.require_lowercase,
            require_uppercase: policy.require_uppercase,
        },
    }
}

/// Returns the settings of the media store.
pub(crate) fn media(config: &Config) -> MediaSettings {
    let options = &config.media;
    let thumbnail_sizes = options.thumbnail_sizes.iter().map(|size| ThumbnailSize {
        width: size.width,
        height: size.height,
        method: match size.method {
            ThumbnailMethod::Crop => Method::Crop,
            ThumbnailMethod::Scale => Method::Scale,
        },
    });
    MediaSettings {
        folder: options.media_store_path.clone(),
        max_upload_bytes: options.max_upload_size,
        max_image_pixels: options.max_image_pixels,
        thumbnail_sizes: thumbnail_sizes.collect(),
        dynamic_thumbnails: options.dynamic_thumbnails,
        max_pending_uploads: options.max_pending_media_uploads.into(),
        unused_expiration: options.unused_expiration_time,
        upload_limits: options.media_upload_limits.iter().map(upload_limit).collect(),
        min_free_bytes: options.media_min_free_space,
        admin_contact: config.blocking.admin_contact.clone(),
    }
}

/// Returns the settings of the storage providers.
///
/// # Errors
/// When one of them is not described correctly.
pub(crate) fn storage_providers(config: &Config) -> Result<Vec<ProviderSettings>, StartError> {
    let options = &config.media;
    let mut providers = Vec::new();
    if let Some(folder) = &options.backup_media_store_path {
        providers.push(ProviderSettings {
            location: StorageLocation::Folder(folder.clone()),
            store_local: true,
            store_remote: true,
            store_synchronous: options.synchronous_backup_media_store,
        });
    }
    for provider in &options.media_storage_providers {
        let location =
            provider.location().map_err(|(option, reason)| StartError::StorageProvider { option, reason })?;
        providers.push(ProviderSettings {
            location,
            store_local: provider.store_local,
            store_remote: provider.store_remote,
            store_synchronous: provider.store_synchronous,
        });
    }
    Ok(providers)
}

/// Returns the settings of previews of links.
///
/// # Errors
/// When a list of sites or a pattern cannot be used.
pub(crate) fn previews(config: &Config) -> Result<PreviewSettings, StartError> {
    let options = &config.media;
    if !options.url_preview_enabled {
        return Ok(PreviewSettings::default());
    }
    let entries: Vec<_> = options.url_preview_url_blacklist.iter().map(url_patterns).collect();
    let mut providers = OembedProviders::default();
    if !options.oembed.disable_default_providers {
        providers.add_built_in().map_err(|problem| StartError::Oembed { file: PathBuf::new(), problem })?;
    }
    for file in &options.oembed.additional_providers {
        let text = std::fs::read_to_string(file);
        let added = text.map_err(ProvidersError::from).and_then(|text| providers.add_file(&text));
        added.map_err(|problem| StartError::Oembed { file: file.clone(), problem })?;
    }
    Ok(PreviewSettings {
        enabled: true,
        rules: UrlRules::new(&entries)?,
        providers,
        languages: options.url_preview_accept_language.clone(),
        max_bytes: options.max_spider_size,
    })
}

fn url_patterns(entry: &config::UrlPattern) -> UrlPatterns {
    UrlPatterns {
        scheme: entry.scheme.clone(),
        netloc: entry.netloc.clone(),
        username: entry.username.clone(),
        password: entry.password.clone(),
        hostname: entry.hostname.clone(),
        port: entry.port.clone(),
        path: entry.path.clone(),
        query: entry.query.clone(),
        fragment: entry.fragment.clone(),
    }
}

/// Returns how long media is kept.
pub(crate) fn media_lifetimes(config: &Config) -> Lifetimes {
    let options = &config.media.media_retention;
    Lifetimes { local: options.local_media_lifetime, remote: options.remote_media_lifetime }
}

fn upload_limit(limit: &config::UploadLimit) -> UploadLimit {
    UploadLimit {
        period: limit.time_period,
        max_bytes: limit.max_size,
        info_uri: limit.info_uri.clone(),
        can_upgrade: limit.can_upgrade,
    }
}

/// Builds the downloads of media of this server and of others.
pub(crate) fn downloads(
    config: &Config,
    server_name: ServerName,
    media: Arc<MediaStore>,
    others: Arc<FederationClient>,
) -> Downloads {
    let options = &config.media;
    let settings = DownloadSettings {
        refused: options.prevent_media_downloads_from.iter().cloned().collect(),
        bytes_per_second: options.remote_media_download_per_second,
        burst_bytes: options.remote_media_download_burst_count,
    };
    Downloads::new(server_name, media, others, settings)
}

/// Returns the settings of requests to other servers.
pub(crate) fn federation(config: &Config, server_name: ServerName) -> FederationSettings {
    let options = &config.federation;
    let patience = &options.federation;
    FederationSettings {
        server_name,
        allowed: options.federation_domain_whitelist.as_ref().map(|names| names.iter().cloned().collect()),
        timeout: patience.client_timeout,
        retries: Retries {
            short: patience.max_short_retries,
            short_delay: patience.max_short_retry_delay,
            long: patience.max_long_retries,
            long_delay: patience.max_long_retry_delay,
        },
        backoff: Backoff {
            shortest: patience.destination_min_retry_interval,
            multiplier: patience.destination_retry_multiplier,
            longest: patience.destination_max_retry_interval,
        },
    }
}

/// Returns the settings of outgoing HTTP requests.
pub(crate) fn http(config: &Config) -> HttpSettings {
    let suffix = config.server.user_agent_suffix.as_ref();
    HttpSettings {
        guards: address_guards(config),
        proxies: config.server.forward_proxies(),
        tls: federation_tls(config),
        user_agent: format!(
            "Plexus/{}{}",
            env!("CARGO_PKG_VERSION"),
            suffix.map(|suffix| format!(" {suffix}")).unwrap_or_default()
        ),
        max_connections: federation_connections(),
    }
}

/// Returns how other servers' certificates are checked.
pub(crate) fn federation_tls(config: &Config) -> TlsSettings {
    TlsSettings {
        verify: config.tls.federation_verify_certificates,
        unverified_hosts: config.tls.federation_certificate_verification_whitelist.clone(),
        only_tls_1_3: matches!(config.tls.federation_client_minimum_tls_version, TlsVersion::V13),
        authorities: config.tls.federation_custom_ca_list.clone(),
        accept_any: config.server.use_insecure_ssl_client_just_for_testing_do_not_use,
    }
}

/// Returns the addresses that may be connected to. As in Synapse, the exceptions apply to `ip_range_blacklist` only,
/// and the unspecified addresses are always blocked.
fn address_guards(config: &Config) -> AddressGuards {
    let guard = |blocked: &[IpRange], exceptions: &[IpRange]| {
        let unspecified = ["0.0.0.0", "::"].into_iter().filter_map(IpRange::parse);
        AddressGuard { blocked: blocked.iter().copied().chain(unspecified).collect(), exceptions: exceptions.to_vec() }
    };
    let options = &config.server;
    let general = guard(&options.ip_range_blacklist, &options.ip_range_whitelist);
    let federation = match &options.federation_ip_range_blacklist {
        Some(blocked) => guard(blocked, &[]),
        None => general.clone(),
    };
    let previews = match &config.media.url_preview_ip_range_blacklist {
        Some(blocked) => guard(blocked, &config.media.url_preview_ip_range_whitelist),
        None => general.clone(),
    };
    AddressGuards { federation, previews, general }
}

/// Returns the trusted key servers.
///
/// # Errors
/// When one of them is not described correctly, or its responses could not be verified.
pub(crate) fn trusted_key_servers(config: &Config) -> Result<Vec<TrustedKeyServer>, StartError> {
    let options = &config.keys;
    let mut trusted = Vec::new();
    for server in &options.trusted_key_servers {
        let problem = |problem| StartError::KeyServer { server: server.server_name.clone(), problem };
        trusted.push(trusted_key_server(config, server).map_err(problem)?);
        if server.server_name == "matrix.org" && !options.suppress_key_server_warning {
            tracing::warn!(
                "matrix.org is a trusted key server: it is asked for other servers' keys; set trusted_key_servers, or \
                 suppress_key_server_warning if that is meant"
            );
        }
    }
    Ok(trusted)
}

/// Returns a trusted key server, or what is wrong with its description.
pub(crate) fn trusted_key_server(
    config: &Config,
    server: &config::TrustedKeyServer,
) -> Result<TrustedKeyServer, &'static str> {
    let server_name =
        ServerName::try_from(server.server_name.as_str()).map_err(|_| "this is not the name of a server")?;
    let keys = server.verify_keys.iter().map(|(id, key)| Some((id.clone(), PublicKey::parse(key).ok()?)));
    let verify_keys = keys.collect::<Option<std::collections::BTreeMap<_, _>>>();
    let verify_keys = verify_keys.ok_or("verify_keys holds what is not an ed25519 key")?;
    let tls = federation_tls(config);
    if verify_keys.is_empty() && (!tls.verify || tls.accept_any) && !server.accept_keys_insecurely {
        return Err("its certificate is not checked (federation_verify_certificates, or \
             use_insecure_ssl_client_just_for_testing_do_not_use) and it has no verify_keys: anybody \
             could answer for it; set verify_keys, or accept_keys_insecurely to accept that");
    }
    Ok(TrustedKeyServer { server_name, verify_keys })
}

/// Returns the rooms that new users join.
pub(crate) fn auto_join(config: &Config, server_name: &ServerName) -> Result<AutoJoinSettings, IdError> {
    let options = &config.registration;
    let preset = match options.autocreate_auto_join_room_preset {
        AutoJoinPreset::PublicChat => Preset::PublicChat,
        AutoJoinPreset::PrivateChat => Preset::PrivateChat,
        AutoJoinPreset::TrustedPrivateChat => Preset::TrustedPrivateChat,
    };
    let host = options.auto_join_mxid_localpart.as_deref().map(|localpart| UserId::new(localpart, server_name));
    Ok(AutoJoinSettings {
        aliases: options.auto_join_rooms.iter().map(|alias| alias.parse()).collect::<Result<_, _>>()?,
        guests: options.auto_join_rooms_for_guests,
        create: options.autocreate_auto_join_rooms,
        federated: options.autocreate_auto_join_rooms_federated,
        preset,
        version: config.server.default_room_version.parse().unwrap_or(RoomVersion::V12),
        defaults: RoomDefaults::of(&config.rooms, preset),
        host: host.transpose()?,
        invite_profiles: config.server.include_profile_data_on_invite,
    })
}

/// Returns the types of state that describe a room to users who are not in it.
pub(crate) fn stripped_state_types(config: &ApiSection) -> Vec<PrejoinStateEntry> {
    if let Some(types) = &config.room_invite_state_types {
        return types.iter().map(|event_type| PrejoinStateEntry::every(event_type)).collect();
    }
    let options = &config.room_prejoin_state;
    let mut shown = Vec::new();
    if !options.disable_default_event_types {
        shown.extend(stripped::default_types());
    }
    shown.extend(options.additional_event_types.iter().cloned());
    shown
}

/// Returns the limit on rooms of other servers, if there is one.
pub(super) fn remote_room_limit(
    config: &LimitRemoteRooms,
    tasks: impl FnOnce() -> Arc<dyn ComplexityTasks>,
) -> Option<RemoteRoomLimit> {
    config.enabled.then(|| RemoteRoomLimit {
        max_complexity: config.complexity,
        error: config.complexity_error.clone(),
        admins_can_join: config.admins_can_join,
        tasks: tasks(),
    })
}

/// Returns the invites that are accepted for users, if any are.
pub(super) fn accepted_invites(config: &AutoAcceptInvites) -> Option<AcceptedInvites> {
    config.enabled.then_some(AcceptedInvites {
        only_direct: config.only_for_direct_messages,
        only_local: config.only_from_local_users,
    })
}
