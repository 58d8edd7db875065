//! Account data that the user's devices wrote.

use std::collections::HashMap;

use plexus_store::{DbError, Tx, repo};

use super::context::Context;
use super::events::AccountData;
use crate::notifier::MaybeChanged;
use crate::{push_rules, settings};

/// Account data that passes the filter.
#[derive(Default)]
pub(super) struct AccountDataDelta {
    pub global: Vec<AccountData>,
    /// By room id.
    pub rooms: HashMap<String, Vec<AccountData>>,
}

/// Returns the account data that was written since the token; all without one.
pub(super) async fn changed(context: &Context<'_>) -> Result<AccountDataDelta, DbError> {
    let (user, since, upto) = (&context.request.user, context.since_position(), context.now.position);
    let index = context.parts.notifier.index();
    let is_initial = context.request.since.is_none();
    if !is_initial && index.account_data_changed(user, since) == MaybeChanged::Known(false) {
        return Ok(AccountDataDelta::default());
    }
    let key = user.to_string();
    let read = move |tx: &mut Tx<'_>| {
        let rules = repo::push_rules::get(tx, &key)?;
        Ok::<_, DbError>((repo::account_data::changed(tx, &key, (!is_initial).then_some(since), upto)?, rules))
    };
    let (rows, rules) = context.parts.db.read(read).await?;
    let mut delta = AccountDataDelta::default();
    let rules_changed = rules.as_ref().is_some_and(|(_, position)| *position > since && *position <= upto);
    if is_initial || rules_changed {
        let stored = rules.as_ref().map(|(rules, _)| rules.as_str());
        let rules = settings::readable_or_default(user, stored, context.parts.settings.predefined_rules());
        let content = push_rules::content(&rules)?;
        delta.push_global(context, AccountData { event_type: "m.push_rules".to_owned(), content });
    }
    for row in rows {
        let data = AccountData { event_type: row.event_type, content: row.content };
        if row.room_id.is_empty() {
            delta.push_global(context, data);
        } else if context.filter().room.account_data.allows(&data.event_type, user.as_str(), || false) {
            delta.rooms.entry(row.room_id).or_default().push(data);
        }
    }
    Ok(delta)
}

/// Returns all account data of a room, for a room that is sent in full.
pub(super) async fn of_room(context: &Context<'_>, room_id: &str) -> Result<Vec<AccountData>, DbError> {
    let (user, room) = (context.request.user.to_string(), room_id.to_owned());
    let rows = context.parts.db.read(move |tx| repo::account_data::in_room(tx, &user, &room)).await?;
    let (filter, user) = (&context.filter().room.account_data, context.request.user.as_str());
    let wanted = rows.into_iter().filter(|row| filter.allows(&row.event_type, user, || false));
    Ok(wanted.map(|row| AccountData { event_type: row.event_type, content: row.content }).collect())
}

impl AccountDataDelta {
    fn push_global(&mut self, context: &Context<'_>, data: AccountData) {
        if context.filter().account_data.allows(&data.event_type, context.request.user.as_str()) {
            self.global.push(data);
        }
    }
}
