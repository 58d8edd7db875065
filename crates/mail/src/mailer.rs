//! What the rest of the program sends mail by.

use std::sync::Arc;

use plexus_base::config::Subjects;

use crate::compose::{ComposeError, ComposedMail, MailComposer, MailText};
use crate::templates::{TemplateError, Templates};
use crate::{EmailAddress, MailQueue};

/// Makes the mails that this server sends, and queues them.
pub struct Mailer {
    parts: MailerParts,
}

/// What a [`Mailer`] consists of.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct MailerParts {
    pub composer: MailComposer,
    pub templates: Templates,
    pub queue: Arc<MailQueue>,
    pub subjects: Subjects,
    /// `email.app_name`.
    pub app_name: String,
    pub server_name: String,
}

/// Why a mail cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The template is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The mail is wrong.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

impl Mailer {
    /// Creates the service.
    pub fn new(parts: MailerParts) -> Self {
        Self { parts }
    }

    /// Returns the queue.
    pub fn queue(&self) -> &Arc<MailQueue> {
        &self.parts.queue
    }

    /// Returns the templates.
    pub fn templates(&self) -> &Templates {
        &self.parts.templates
    }

    /// Returns the mail with the link by which its recipient confirms the address, so that an account gets it.
    ///
    /// # Errors
    /// See [`MailError`].
    pub fn add_address(&self, to: &EmailAddress, link: &str) -> Result<ComposedMail, MailError> {
        let names = self.parts.templates.names();
        let (html, text) = (&names.add_threepid_html, &names.add_threepid_text);
        self.compose(to, html, text, &self.parts.subjects.email_validation, &[("link", link)])
    }

    fn compose(
        &self,
        to: &EmailAddress,
        html: &str,
        text: &str,
        subject: &str,
        variables: &[(&str, &str)],
    ) -> Result<ComposedMail, MailError> {
        let MailerParts { composer, templates, app_name, server_name, .. } = &self.parts;
        let names = [("app_name", app_name.as_str()), ("server_name", server_name.as_str())];
        let variables = [variables, names.as_slice()].concat();
        let mail = MailText {
            subject: filled_in(subject, &[("app", app_name), ("server_name", server_name)]),
            html: templates.render_texts(html, &variables)?,
            text: templates.render_texts(text, &variables)?,
            app_name: app_name.clone(),
        };
        Ok(composer.compose(to, mail)?)
    }
}

/// Returns a subject with its names filled in: `%(name)s`, and `%%` for a percent sign, as in Python.
fn filled_in(subject: &str, names: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = subject;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let name = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
        let value = name.and_then(|(name, after)| {
            names.iter().find_map(|(known, value)| (*known == name).then_some((*value, after)))
        });
        rest = match (value, after.strip_prefix('%')) {
            (Some((value, after)), _) => {
                out.push_str(value);
                after
            }
            (None, escaped) => {
                out.push('%');
                escaped.unwrap_or(after)
            }
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let names = [("app", "A%(room)s"), ("room", "R")];
        for (subject, text) in [
            ("[%(app)s] in %(room)s", "[A%(room)s] in R"),
            ("100%% of %(unknown)s", "100% of %(unknown)s"),
            ("%", "%"),
            ("%(app", "%(app"),
        ] {
            assert_eq!(filled_in(subject, &names), text);
        }
    }
}
