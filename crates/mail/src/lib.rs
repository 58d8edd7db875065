//! Mail: templates, and the queue to the mail server.
//!
//! - [`Templates`]: Jinja templates, which administrators may replace by their own
//! - [`Mailer`]: makes the mails that this server sends; [`MailComposer`]: a mail of its parts
//! - [`MailQueue`]: stores mail, and hands it to the mail server
//! - [`EmailAddress`]: addresses of users, in the form in which they are compared

#![warn(missing_docs, unreachable_pub)]

mod address;
mod compose;
mod mailer;
mod queue;
mod templates;

pub use address::{EmailAddress, NoEmailAddress};
pub use compose::{ComposeError, ComposedMail, MailComposer, MailText};
pub use mailer::{MailError, Mailer, MailerParts};
pub use queue::{MailCounts, MailQueue, MailQueueParts, MailTasks, NotQueued};
pub use templates::{TemplateError, TemplateNames, TemplateSettings, Templates};
