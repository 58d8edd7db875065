//! What clients ask with `POST /keys/query` of users of other servers: from what is stored of those that are followed, else from
//! their servers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::device_keys::QueriedKeys;
use futures_util::StreamExt as _;
use plexus_net::FederationError;
use plexus_net::federation::api::keys::get_keys;
use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_store::repo::remote_devices::{self as repo, RemoteDevice, RemoteList, ToldList};
use plexus_store::{DbError, Tx, readable};

use super::{RemoteDevices, announce, told};

/// The most servers asked at once for one request.
const AT_ONCE: usize = 32;
/// How many lists are written in one step.
const STEP: usize = 100;

/// Server to why it could not be asked.
pub type Failures = BTreeMap<ServerName, FederationError>;

/// What is known of users of other servers.
#[derive(Debug, Default)]
pub struct Queried {
    /// Their keys. Of users of servers that could not be asked, what was last known.
    pub keys: QueriedKeys,
    /// Who could not be asked.
    pub failures: Failures,
}

/// A question about one user.
struct Question {
    /// All devices where it is empty.
    devices: Vec<String>,
    /// Whether the answer is stored.
    follow: bool,
    /// The revision of what is stored.
    revision: Option<i64>,
    /// What is stored, though out of date.
    stored: Option<ToldList>,
}

type Questions = BTreeMap<UserId, Question>;

/// Takes the keys of a user out of a response.
fn take_keys(response: &mut get_keys::Response, user: &UserId) -> ToldList {
    let key = |keys: &mut BTreeMap<String, Object>| {
        keys.remove(user.as_str()).and_then(|key| told::cross_signing_key(user, &key))
    };
    ToldList {
        stream_id: None,
        master_key: key(&mut response.master_keys),
        self_signing_key: key(&mut response.self_signing_keys),
        devices: told::devices(user, response.device_keys.remove(user.as_str()).unwrap_or_default()),
    }
}

impl RemoteDevices {
    /// The keys of users of other servers: of all their devices where the list is empty. Other servers have `timeout` to
    /// answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn query(&self, wanted: BTreeMap<UserId, Vec<String>>, timeout: Duration) -> Result<Queried, DbError> {
        let mut queried = Queried::default();
        let mut by_server: BTreeMap<ServerName, Questions> = BTreeMap::new();
        let mut stored = self.stored(wanted.keys()).await?;
        for (user, devices) in wanted {
            let (list, told) = match stored.remove(user.as_str()) {
                Some((RemoteList { ask_ts: None, .. }, told)) => {
                    show(&user, &devices, &told, &mut queried.keys);
                    continue;
                }
                Some((list, told)) => (Some(list), Some(told)),
                None => (None, None),
            };
            let follow = list.is_some() || (self.has_room() && self.is_met(&user).await?);
            let question = Question { devices, follow, revision: list.map(|list| list.revision), stored: told };
            // A user id holds the name of a server.
            if let Ok(server) = ServerName::try_from(user.server_name()) {
                by_server.entry(server).or_default().insert(user, question);
            }
        }
        let asked = by_server.into_iter().map(|(server, questions)| self.ask(server, questions, timeout));
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((server, questions, answer)) = answers.next().await {
            self.take(server, questions, answer, &mut queried).await?;
        }
        Ok(queried)
    }

    async fn stored(
        &self,
        users: impl Iterator<Item = &UserId>,
    ) -> Result<BTreeMap<String, (RemoteList, ToldList)>, DbError> {
        let users: Vec<String> = users.map(UserId::to_string).collect();
        let read = move |tx: &mut Tx<'_>| {
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            let lists = repo::lists(tx, &users)?;
            let followed: Vec<&str> = lists.iter().map(|list| list.user_id.as_str()).collect();
            let devices = repo::devices(tx, &followed)?;
            Ok::<_, DbError>(by_user(lists, devices))
        };
        self.parts.db.read(read).await
    }

    async fn ask(
        &self,
        server: ServerName,
        questions: Questions,
        timeout: Duration,
    ) -> (ServerName, Questions, Result<get_keys::Response, FederationError>) {
        // Of those that are followed everything, to be stored.
        let devices = |question: &Question| if question.follow { Vec::new() } else { question.devices.clone() };
        let device_keys = questions.iter().map(|(user, question)| (user, devices(question))).collect();
        let request = get_keys::Request { device_keys };
        let answer = get_keys::call(&self.parts.client, &server, &request, timeout).await;
        (server, questions, answer)
    }

    async fn take(
        &self,
        server: ServerName,
        questions: Questions,
        answer: Result<get_keys::Response, FederationError>,
        queried: &mut Queried,
    ) -> Result<(), DbError> {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                for (user, question) in &questions {
                    if let Some(stored) = &question.stored {
                        show(user, &question.devices, stored, &mut queried.keys);
                    }
                }
                queried.failures.insert(server, error);
                return Ok(());
            }
        };
        let mut followed = Vec::new();
        for (user, question) in questions {
            let told = take_keys(&mut answer, &user);
            show(&user, &question.devices, &told, &mut queried.keys);
            if question.follow {
                followed.push((user, told, question.revision));
            }
        }
        while !followed.is_empty() {
            let step = followed.split_off(followed.len().saturating_sub(STEP));
            self.store(step).await?;
        }
        Ok(())
    }

    async fn store(&self, told: Vec<(UserId, ToldList, Option<i64>)>) -> Result<(), DbError> {
        let now = self.parts.clock.now_ms();
        let write = move |tx: &mut Tx<'_>| {
            let mut new = Vec::new();
            for (user, told, revision) in &told {
                if store(tx, user, told, *revision, now)? {
                    new.push(user.clone());
                }
            }
            Ok::<_, DbError>(new)
        };
        let new = self.parts.db.write(write).await?;
        self.followed.fetch_add(new.len() as u64, Ordering::Relaxed);
        self.outdated.notify_one();
        // They may have left while their server was asked.
        new.iter().for_each(|user| self.departed.put(0, user));
        Ok(())
    }
}

fn by_user(lists: Vec<RemoteList>, devices: Vec<RemoteDevice>) -> BTreeMap<String, (RemoteList, ToldList)> {
    let told = |list: &RemoteList| ToldList {
        stream_id: list.stream_id,
        master_key: list.master_key.clone(),
        self_signing_key: list.self_signing_key.clone(),
        devices: Vec::new(),
    };
    let mut users: BTreeMap<String, (RemoteList, ToldList)> =
        lists.into_iter().map(|list| (list.user_id.clone(), (list.clone(), told(&list)))).collect();
    for device in devices {
        if let Some((_, told)) = users.get_mut(&device.user_id) {
            told.devices.push((device.device_id, device.key_json));
        }
    }
    users
}

/// Stores an answer, unless something newer is known. `revision` is that of what was known when it was asked for. Answers
/// whether the user is new here.
fn store(tx: &mut Tx<'_>, user: &UserId, told: &ToldList, revision: Option<i64>, now: u64) -> Result<bool, DbError> {
    let known = by_user(repo::lists(tx, &[user.as_str()])?, repo::devices(tx, &[user.as_str()])?);
    let Some((list, before)) = known.get(user.as_str()) else {
        repo::replace(tx, user.as_str(), told, None)?;
        return Ok(true);
    };
    if list.ask_ts.is_some() {
        // What came meanwhile may be newer than the answer.
        repo::replace(tx, user.as_str(), told, (revision != Some(list.revision)).then_some(now))?;
        if *before != (ToldList { stream_id: before.stream_id, ..told.clone() }) {
            announce(tx, user)?;
        }
    }
    Ok(false)
}

/// Adds what is asked of a list, as far as it can be read.
fn show(user: &UserId, wanted: &[String], told: &ToldList, keys: &mut QueriedKeys) {
    let bad = |error| DbError::bad_data(format!("the devices of {user}"), error);
    let parse = |json: &String| readable(Object::parse(json).map_err(bad));
    let of_user = keys.device_keys.entry(user.clone()).or_default();
    for (device, json) in &told.devices {
        if wanted.is_empty() || wanted.contains(device) {
            of_user.extend(parse(json).map(|keys| (device.clone(), keys)));
        }
    }
    keys.master_keys.extend(told.master_key.as_ref().and_then(parse).map(|key| (user.clone(), key)));
    keys.self_signing_keys.extend(told.self_signing_key.as_ref().and_then(parse).map(|key| (user.clone(), key)));
}
