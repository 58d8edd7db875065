//! Mail: its templates, its queue, and what sends it.

use std::sync::Arc;

use plexus_base::config::{Config, Email};
use plexus_base::{Clock, Random};
use plexus_mail::{
    MailComposer, MailQueue, MailQueueParts, Mailer, MailerParts, TemplateNames, TemplateSettings, Templates,
};
use plexus_net::smtp::{SmtpEncryption, SmtpLogin, SmtpServer};
use plexus_protocol::id::ServerName;
use plexus_service::tasks::TaskHandler;
use plexus_service::{EmailValidation, EmailValidationParts, MailTaskHandler, MailTaskScheduler};

use super::federation::Outgoing;
use super::foundation::Foundation;
use crate::start_error::StartError;

/// What sends mail. Everything is `None` if no mail server is configured.
pub(super) struct MailServices {
    pub(super) validation: Option<Arc<EmailValidation>>,
    pub(super) task_handler: Option<Arc<MailTaskHandler>>,
}

impl MailServices {
    pub(super) fn build(foundation: &Foundation, outgoing: &Outgoing) -> Result<Self, StartError> {
        let Foundation { config, clock, random, server_name, database, tasks, .. } = foundation;
        let Some(options) = &config.server.email else { return Ok(Self { validation: None, task_handler: None }) };
        let queue = MailQueue::new(MailQueueParts {
            db: database.clone(),
            clock: clock.clone(),
            http: Arc::clone(&outgoing.http),
            server: server(options, server_name),
            tasks: Arc::new(MailTaskScheduler::new(Arc::clone(tasks))),
        });
        let queue = Arc::new(queue);
        let mailer = Mailer::new(MailerParts {
            composer: composer(options, server_name, clock.clone(), random.clone())?,
            templates: templates(config, options)?,
            queue: Arc::clone(&queue),
            subjects: options.subjects.clone(),
            app_name: options.app_name.clone(),
            server_name: server_name.as_str().to_owned(),
        });
        let validation = EmailValidation::new(EmailValidationParts {
            db: database.clone(),
            clock: clock.clone(),
            random: random.clone(),
            mailer: Arc::new(mailer),
            base_url: config.server.base_url(),
            token_lifetime: options.validation_token_lifetime,
            hides_accounts: config.blocking.request_token_inhibit_3pid_errors,
        });
        let task_handler = MailTaskHandler::new(queue);
        Ok(Self { validation: Some(Arc::new(validation)), task_handler: Some(Arc::new(task_handler)) })
    }

    /// Returns what runs the scheduled tasks of mail.
    pub(super) fn task_handler(&self) -> Option<Arc<dyn TaskHandler>> {
        self.task_handler.as_ref().map(|handler| Arc::clone(handler) as Arc<dyn TaskHandler>)
    }
}

/// Whether mail can be sent with a configuration, as far as can be found out without sending any.
///
/// # Errors
/// What is wrong with the sender or with a template.
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    let Some(options) = &config.server.email else { return Ok(()) };
    let name = ServerName::try_from(config.server.server_name.as_str())?;
    composer(options, &name, Clock::system(), Random::system())?;
    templates(config, options).map(drop)
}

fn composer(options: &Email, name: &ServerName, clock: Clock, random: Random) -> Result<MailComposer, StartError> {
    let from = options.notif_from.clone().unwrap_or_default();
    Ok(MailComposer::new(clock, random, from, name.host_port().0.to_owned())?)
}

fn templates(config: &Config, options: &Email) -> Result<Templates, StartError> {
    let defaults = TemplateNames::default();
    let named = |option: &Option<String>, default: String| option.clone().unwrap_or(default);
    let names = TemplateNames {
        add_threepid_html: named(&options.add_threepid_template_html, defaults.add_threepid_html),
        add_threepid_text: named(&options.add_threepid_template_text, defaults.add_threepid_text),
        add_threepid_success: named(&options.add_threepid_template_success_html, defaults.add_threepid_success),
        add_threepid_failure: named(&options.add_threepid_template_failure_html, defaults.add_threepid_failure),
    };
    let folders = [&config.blocking.templates.custom_template_directory, &options.template_dir];
    let folders = folders.into_iter().flatten().cloned().collect();
    Ok(Templates::read(TemplateSettings { folders, names, public_base_url: config.server.base_url() })?)
}

fn server(options: &Email, name: &ServerName) -> SmtpServer {
    let encryption = if options.force_tls {
        SmtpEncryption::Implicit
    } else if options.require_transport_security {
        SmtpEncryption::Required
    } else if options.enable_tls {
        SmtpEncryption::IfOffered
    } else {
        SmtpEncryption::Never
    };
    let password = options.smtp_pass.as_ref().map(|password| password.expose().to_owned());
    let login = options.smtp_user.clone().filter(|user| !user.is_empty());
    SmtpServer {
        host: options.smtp_host.clone(),
        port: options.smtp_port.unwrap_or(if options.force_tls { 465 } else { 25 }),
        tls_name: options.tlsname.clone().unwrap_or_else(|| options.smtp_host.clone()),
        encryption,
        login: login.map(|user| SmtpLogin { user, password: password.unwrap_or_default() }),
        own_name: own_name(name.host_port().0),
    }
}

/// Returns a host as `EHLO` has it: an address is in brackets (RFC 5321, section 4.1.3).
fn own_name(host: &str) -> String {
    match host.trim_matches(['[', ']']).parse() {
        Ok(std::net::IpAddr::V4(address)) => format!("[{address}]"),
        Ok(std::net::IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Err(_) => host.to_owned(),
    }
}
