use std::path::PathBuf;
use std::time::Duration;

use crate::schema::options;

options! {
    /// Accounts that expire unless they are renewed: Synapse's old built-in form, which its manual no longer mentions.
    pub struct AccountValiditySection {
        /// Accounts that expire unless they are renewed.
        later account_validity: AccountValidity,
    }
}

options! {
    /// Accounts that expire unless they are renewed.
    pub struct AccountValidity {
        /// Whether accounts expire.
        refused(
            "accounts that have ended could still be used; set it to false to accept that"
        ) enabled: bool = false,
        /// How long an account lasts.
        later period: Option<Duration>,
        /// How long before its expiry the user gets a mail about renewing the account.
        later renew_at: Option<Duration>,
        /// The subject of that mail.
        later renew_email_subject: Option<String>,
        /// The folder of the templates.
        later template_dir: Option<PathBuf>,
        /// The page after a renewal.
        later account_renewed_html_path: Option<PathBuf>,
        /// The page after a failed renewal.
        later invalid_token_html_path: Option<PathBuf>,
    }
}
