use std::path::PathBuf;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// Captchas at registration.
    pub struct CaptchaSection checked by check_captcha {
        /// This server's public key at reCAPTCHA.
        later recaptcha_public_key: Option<Secret>,
        /// A file that holds `recaptcha_public_key`.
        later recaptcha_public_key_path: Option<PathBuf>,
        /// This server's private key at reCAPTCHA.
        later recaptcha_private_key: Option<Secret>,
        /// A file that holds `recaptcha_private_key`.
        later recaptcha_private_key_path: Option<PathBuf>,
        /// Whether registration requires a captcha.
        later enable_registration_captcha: bool = false,
        /// The URL at which responses are verified.
        later recaptcha_siteverify_api: String = "https://www.recaptcha.net/recaptcha/api/siteverify".to_owned(),
    }
}

fn check_captcha(mut section: CaptchaSection, map: &mut MapReader<'_, '_>) -> CaptchaSection {
    section.recaptcha_public_key = map.secret(
        "recaptcha_public_key",
        section.recaptcha_public_key,
        "recaptcha_public_key_path",
        section.recaptcha_public_key_path.as_deref(),
    );
    section.recaptcha_private_key = map.secret(
        "recaptcha_private_key",
        section.recaptcha_private_key,
        "recaptcha_private_key_path",
        section.recaptcha_private_key_path.as_deref(),
    );
    section
}
