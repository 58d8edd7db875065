use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::schema::{MapReader, options};

options! {
    /// How mail is sent.
    pub struct Email checked by check_email {
        /// The mail server.
        acts smtp_host: String = "localhost".to_owned(),
        /// Its port; 465 with `force_tls`, otherwise 25.
        acts smtp_port: Option<u16>,
        /// The user name for the mail server.
        acts smtp_user: Option<String>,
        /// The password for the mail server.
        acts smtp_pass: Option<Secret>,
        /// Whether the connection uses TLS from the start.
        acts force_tls: bool = false,
        /// Whether sending mail requires STARTTLS.
        acts require_transport_security: bool = false,
        /// Whether STARTTLS is used when offered.
        acts enable_tls: bool = true,
        /// The name expected in the mail server's certificate; `smtp_host` when not set.
        acts tlsname: Option<String>,
        /// The sender. `%(app)s` stands for `app_name`.
        acts notif_from: Option<String>,
        /// The name of this service in mail.
        acts app_name: String = "Matrix".to_owned(),
        /// Whether users may get mail about missed messages.
        later enable_notifs: bool = false,
        /// Whether new users get mail about missed messages.
        later notif_for_new_users: bool = true,
        /// How long a message stays unread before a mail about it is sent.
        later notif_delay_before_mail: Duration = Duration::from_secs(600),
        /// The web client to which links in mail lead.
        later client_base_url: Option<String>,
        /// The old name of `client_base_url`.
        later riot_base_url: Option<String>,
        /// How long the link in a validation mail is valid.
        acts validation_token_lifetime: Duration = Duration::from_secs(3600),
        /// The web client to which an invite by mail leads.
        later invite_client_location: Option<String>,
        /// The subjects of mail.
        acts subjects: Subjects,
        /// Whether to leave out message content: the old, inverted form of `push.include_content`.
        later redact_content: Option<bool>,
        /// The HTML template of mail about missed messages: the old form; use `templates`.
        later notif_template_html: Option<String>,
        /// The text template of mail about missed messages: the old form; use `templates`.
        later notif_template_text: Option<String>,
        /// The HTML template of mail about the expiry of an account: the old form; use `templates`.
        later expiry_template_html: Option<String>,
        /// The text template of mail about the expiry of an account: the old form; use `templates`.
        later expiry_template_text: Option<String>,
        /// The HTML template of mail about a password reset: the old form; use `templates`.
        later password_reset_template_html: Option<String>,
        /// The text template of mail about a password reset: the old form; use `templates`.
        later password_reset_template_text: Option<String>,
        /// The HTML template of mail about a registration: the old form; use `templates`.
        later registration_template_html: Option<String>,
        /// The text template of mail about a registration: the old form; use `templates`.
        later registration_template_text: Option<String>,
        /// The HTML template of mail about a new address: the old form; use `templates`.
        acts add_threepid_template_html: Option<String>,
        /// The text template of mail about a new address: the old form; use `templates`.
        acts add_threepid_template_text: Option<String>,
        /// The HTML template of mail about an address that is in use: the old form; use `templates`.
        later already_in_use_template_html: Option<String>,
        /// The text template of mail about an address that is in use: the old form; use `templates`.
        later already_in_use_template_text: Option<String>,
        /// The page after a failed password reset: the old form; use `templates`.
        later password_reset_template_failure_html: Option<String>,
        /// The page after a successful password reset: the old form; use `templates`.
        later password_reset_template_success_html: Option<String>,
        /// The page after a failed registration: the old form; use `templates`.
        later registration_template_failure_html: Option<String>,
        /// The page after a successful registration: the old form; use `templates`.
        later registration_template_success_html: Option<String>,
        /// The page after a failed validation of an address: the old form; use `templates`.
        acts add_threepid_template_failure_html: Option<String>,
        /// The page after a successful validation of an address: the old form; use `templates`.
        acts add_threepid_template_success_html: Option<String>,
        /// The folder of these templates: the old form; use `templates.custom_template_directory`.
        acts template_dir: Option<PathBuf>,
    }
}

fn check_email(mut email: Email, map: &mut MapReader<'_, '_>) -> Email {
    if email.notif_from.is_none() {
        map.error("notif_from", "required when email is set, but not set");
    }
    if email.force_tls && map.sets("enable_tls") && !email.enable_tls {
        map.error("enable_tls", "found false together with force_tls; allowed is one of the two");
    }
    if let Some(old) = email.riot_base_url.take() {
        map.warn("riot_base_url", "the name is old; use client_base_url");
        email.client_base_url.get_or_insert(old);
    }
    email
}

options! {
    /// The subjects of mail. `%(app)s`, `%(person)s`, `%(room)s` and `%(server_name)s` are replaced.
    pub struct Subjects {
        /// One message in a room.
        later message_from_person_in_room: String =
            "[%(app)s] You have a message on %(app)s from %(person)s in the %(room)s room...".to_owned(),
        /// One message in a direct chat.
        later message_from_person: String = "[%(app)s] You have a message on %(app)s from %(person)s...".to_owned(),
        /// Several messages of one user.
        later messages_from_person: String = "[%(app)s] You have messages on %(app)s from %(person)s...".to_owned(),
        /// Several messages in one room.
        later messages_in_room: String =
            "[%(app)s] You have messages on %(app)s in the %(room)s room...".to_owned(),
        /// Several messages in several rooms.
        later messages_in_room_and_others: String =
            "[%(app)s] You have messages on %(app)s in the %(room)s room and others...".to_owned(),
        /// Several messages of several users.
        later messages_from_person_and_others: String =
            "[%(app)s] You have messages on %(app)s from %(person)s and others...".to_owned(),
        /// An invite to a room.
        later invite_from_person_to_room: String =
            "[%(app)s] %(person)s has invited you to join the %(room)s room on %(app)s...".to_owned(),
        /// An invite to a direct chat.
        later invite_from_person: String =
            "[%(app)s] %(person)s has invited you to chat on %(app)s...".to_owned(),
        /// An invite to a space.
        later invite_from_person_to_space: String =
            "[%(app)s] %(person)s has invited you to join the %(space)s space on %(app)s...".to_owned(),
        /// A password reset.
        later password_reset: String = "[%(server_name)s] Password reset".to_owned(),
        /// The validation of an address.
        acts email_validation: String = "[%(server_name)s] Validate your email".to_owned(),
        /// A new address for an account.
        later email_already_in_use: String = "[%(server_name)s] Email already in use".to_owned(),
    }
}
