//! Account data in an answer: what the user's devices wrote.

use std::collections::HashMap;

use plexus_store::{DbError, repo};

use super::build::Build;
use crate::json::typed_event;
use crate::notifier::Known;
use crate::{push_rules, settings};

/// Account data events, JSON, as far as the filter wants them.
#[derive(Default)]
pub(super) struct AccountDataNews {
    pub global: Vec<String>,
    /// By room id.
    pub rooms: HashMap<String, Vec<String>>,
}

impl Build<'_> {
    /// What was written since the token; everything in an initial sync.
    pub async fn account_data(&self) -> Result<AccountDataNews, DbError> {
        let (user, since, upto) = (&self.request.user, self.since_position(), self.now.position);
        let index = self.parts().notifier.index();
        if self.request.since.is_some() && index.account_data_changed(user, since) == Known::Yes(false) {
            return Ok(AccountDataNews::default());
        }
        let key = user.to_string();
        let read = move |tx: &mut plexus_store::Tx<'_>| {
            let rules = repo::push_rules::get(tx, &key)?;
            Ok::<_, DbError>((repo::account_data::changed(tx, &key, since, upto)?, rules))
        };
        let (rows, rules) = self.parts().db.read(read).await?;
        let mut news = AccountDataNews::default();
        let changed = rules.as_ref().is_some_and(|(_, position)| *position > since && *position <= upto);
        if self.request.since.is_none() || changed {
            let rules = settings::readable_or_default(user, rules.as_ref().map(|(rules, _)| rules.as_str()));
            self.push_global(&mut news, "m.push_rules", &push_rules::content(&rules)?);
        }
        for row in rows {
            if row.room_id.is_empty() {
                self.push_global(&mut news, &row.event_type, &row.content);
            } else if self.filter().room.account_data.allows(&row.event_type, user.as_str(), || false) {
                let event = typed_event(&row.event_type, &row.content);
                news.rooms.entry(row.room_id).or_default().push(event);
            }
        }
        Ok(news)
    }

    /// All account data of a room, for a room that is sent in full.
    pub async fn room_account_data(&self, room_id: &str) -> Result<Vec<String>, DbError> {
        let (user, room) = (self.request.user.to_string(), room_id.to_owned());
        let rows = self.parts().db.read(move |tx| repo::account_data::in_room(tx, &user, &room)).await?;
        let filter = &self.filter().room.account_data;
        let wanted =
            rows.into_iter().filter(|row| filter.allows(&row.event_type, self.request.user.as_str(), || false));
        Ok(wanted.map(|row| typed_event(&row.event_type, &row.content)).collect())
    }

    fn push_global(&self, news: &mut AccountDataNews, event_type: &str, content: &str) {
        if self.filter().account_data.allows(event_type, self.request.user.as_str()) {
            news.global.push(typed_event(event_type, content));
        }
    }
}
