use std::sync::Arc;

use plexus_base::{AppServices, Clock, Random};
use plexus_store::Database;

use crate::guesses::GuessLimits;
use crate::{
    Administration, Deactivation, Devices, Logins, PasswordHasher, Registrar, Sessions, Settings, SharedSecret,
    TokenChecker, UserInteractiveAuth,
};

/// The services and settings that [`Accounts::new`] needs.
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct AccountsParts {
    pub db: Database,
    pub clock: Clock,
    pub random: Random,
    pub settings: Settings,
    pub app_services: Arc<AppServices>,
}

/// Every service of this crate. Endpoints take the single services.
#[derive(Clone)]
#[expect(missing_docs, reason = "the fields are named for their types")]
pub struct Accounts {
    pub settings: Arc<Settings>,
    pub tokens: Arc<TokenChecker>,
    pub sessions: Sessions,
    pub registrar: Registrar,
    pub logins: Logins,
    pub uia: UserInteractiveAuth,
    pub devices: Devices,
    pub deactivation: Deactivation,
    pub administration: Administration,
    pub shared_secret: Arc<SharedSecret>,
    pub hasher: PasswordHasher,
}

impl Accounts {
    /// Builds the services.
    #[must_use]
    pub fn new(parts: AccountsParts) -> Self {
        let AccountsParts { db, clock, random, settings, app_services } = parts;
        let settings = Arc::new(settings);
        let records_app_services = settings.sessions.track_appservice_user_ips;
        let tokens = TokenChecker::new(db.clone(), clock.clone(), Arc::clone(&app_services), records_app_services);
        let tokens = Arc::new(tokens);
        let hasher = PasswordHasher::new(&settings.password.pepper, random.clone());
        let sessions = Sessions::new(db.clone(), clock.clone(), random.clone(), settings.clone());
        let guesses = Arc::new(GuessLimits::new(settings.guesses, &clock));
        let logins = Logins::new(
            db.clone(),
            clock.clone(),
            hasher.clone(),
            sessions.clone(),
            settings.clone(),
            Arc::clone(&guesses),
        );
        let secret = settings.registration.registration_shared_secret.clone();
        let devices = Devices::new(db.clone(), sessions.clone(), tokens.clone());
        Self {
            administration: Administration::new(
                db.clone(),
                sessions.clone(),
                logins.clone(),
                devices.clone(),
                settings.clone(),
            ),
            registrar: Registrar {
                db: db.clone(),
                clock: clock.clone(),
                random: random.clone(),
                hasher: hasher.clone(),
                sessions: sessions.clone(),
                settings: settings.clone(),
                guesses: Arc::clone(&guesses),
                app_services,
            },
            uia: UserInteractiveAuth::new(
                db.clone(),
                clock.clone(),
                random.clone(),
                logins.clone(),
                &settings,
                Arc::clone(&guesses),
            ),
            devices,
            deactivation: Deactivation::new(db, sessions.clone()),
            shared_secret: Arc::new(SharedSecret::new(clock, random, secret, guesses)),
            settings,
            tokens,
            sessions,
            logins,
            hasher,
        }
    }
}
