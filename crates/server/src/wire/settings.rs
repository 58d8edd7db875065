//! What each part takes from the configuration.

use plexus_accounts::password::Policy;
use plexus_accounts::settings::{
    LoginTokenSettings, PasswordSettings, RegistrationSettings, SessionSettings, Settings,
};
use plexus_base::config::{Config, PasswordLogin, ThumbnailMethod};
use plexus_media::{MediaSettings, Method, ThumbnailSize};
use plexus_protocol::id::ServerName;

/// What accounts take.
pub fn accounts(config: &Config, server_name: ServerName) -> Settings {
    let sessions = &config.sessions;
    let login_token = &sessions.login_via_existing_session;
    Settings {
        server_name,
        registration: registration(config),
        password: password(config),
        sessions: SessionSettings {
            session_lifetime: sessions.session_lifetime,
            refreshable_access_token_lifetime: sessions.refreshable_access_token_lifetime,
            refresh_token_lifetime: sessions.refresh_token_lifetime,
            nonrefreshable_access_token_lifetime: sessions.nonrefreshable_access_token_lifetime,
        },
        login_via_existing_session: LoginTokenSettings {
            enabled: login_token.enabled,
            require_ui_auth: login_token.require_ui_auth,
            token_timeout: login_token.token_timeout,
        },
        ui_auth_session_timeout: sessions.ui_auth.session_timeout,
    }
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

/// The media store as configured.
pub fn media(config: &Config) -> MediaSettings {
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
    }
}
