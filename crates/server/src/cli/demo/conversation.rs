//! The conversation of the demonstration: the servers' users meet in one room and read each other's messages.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::ask::{AskError, ask, field, parsed, successful};
use crate::command::CommandError;
use crate::output;

/// The demonstration's user on each server, and that user's password.
const USER: &str = "demo";
/// The room's alias, without its server.
const ROOM: &str = "demo";
/// How long a sync waits for changes, in ms.
const SYNC: u32 = 10_000;

/// One of the servers.
pub(super) struct Place {
    /// Its name.
    pub name: String,
    /// Where clients reach it, without a slash at the end.
    pub url: String,
}

/// A user who is logged in.
struct Person<'a> {
    place: &'a Place,
    id: String,
    token: String,
}

/// Lets a user of each of `places` join one room and send a message; returns when each has read the messages of all.
///
/// # Errors
/// When a server cannot be reached, or refuses. There is no bound on the time it takes.
pub(super) async fn hold(places: &[Place]) -> Result<(), CommandError> {
    let mut people = Vec::new();
    for place in places {
        people.push(Person::arrive(place).await?);
    }
    let Some(first) = people.first() else { return Ok(()) };
    let alias = format!("#{ROOM}:{}", first.place.name);
    let room = first.make_room(&alias).await?;
    for person in &people {
        person.join(&alias).await?;
        output::line(format_args!("{} is in {alias}", person.id))?;
    }
    let mut said = Vec::new();
    for person in &people {
        said.push(person.say(&room).await?);
    }
    for person in &people {
        person.read(&room, &said).await?;
        output::line(format_args!("{} has read what all {} said", person.id, said.len()))?;
    }
    output::line(format_args!("Sign in to any of them as {USER} with the password {USER}"))?;
    Ok(())
}

impl<'a> Person<'a> {
    /// Registers the demonstration's user, or logs in if the user exists from an earlier run.
    async fn arrive(place: &'a Place) -> Result<Self, AskError> {
        let url = format!("{}/_matrix/client/v3/register", place.url);
        let body = json!({ "username": USER, "password": USER, "auth": { "type": "m.login.dummy" } });
        let mut answer = ask(Method::POST, &url, None, Some(&body), false).await?;
        if parsed(&answer)["errcode"] == "M_USER_IN_USE" {
            let url = format!("{}/_matrix/client/v3/login", place.url);
            let identifier = json!({ "type": "m.id.user", "user": USER });
            let body = json!({ "type": "m.login.password", "identifier": identifier, "password": USER });
            answer = ask(Method::POST, &url, None, Some(&body), false).await?;
        }
        let (id, token) = (field(&url, &answer, "user_id")?, field(&url, &answer, "access_token")?);
        Ok(Self { place, id, token })
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, AskError> {
        let url = format!("{}/_matrix/client/v3{path}", self.place.url);
        let answer = ask(method, &url, Some(&self.token), body.as_ref(), false).await?;
        successful(&url, &answer)
    }

    /// Returns the room with this alias on this server, creating it if there is none.
    async fn make_room(&self, alias: &str) -> Result<String, AskError> {
        let known = self.request(Method::GET, &format!("/directory/room/{}", escaped(alias)), None).await;
        let room = match known {
            Err(AskError::Refused { status: StatusCode::NOT_FOUND, .. }) => {
                let room = json!({ "preset": "public_chat", "room_alias_name": ROOM, "name": "Demonstration" });
                self.request(Method::POST, "/createRoom", Some(room)).await?
            }
            other => other?,
        };
        text(&self.place.url, &room["room_id"])
    }

    async fn join(&self, room: &str) -> Result<(), AskError> {
        self.request(Method::POST, &format!("/join/{}", escaped(room)), Some(json!({}))).await.map(drop)
    }

    /// Sends a message. Returns its event id.
    async fn say(&self, room: &str) -> Result<String, AskError> {
        let message = json!({ "msgtype": "m.text", "body": format!("Hello from {}", self.place.name) });
        // The device is new, so is its first transaction id.
        let path = format!("/rooms/{}/send/m.room.message/hello", escaped(room));
        let answer = self.request(Method::PUT, &path, Some(message)).await?;
        text(&self.place.url, &answer["event_id"])
    }

    /// Waits until all events in `said` have come.
    async fn read(&self, room: &str, said: &[String]) -> Result<(), AskError> {
        let mut missing: Vec<&String> = said.iter().collect();
        let filter = escaped(&json!({ "room": { "rooms": [room], "timeline": { "limit": 50 } } }).to_string());
        let mut since = String::new();
        while !missing.is_empty() {
            let sync = format!("/sync?filter={filter}{since}");
            let answer = self.request(Method::GET, &sync, None).await?;
            let timeline = &answer["rooms"]["join"][room]["timeline"]["events"];
            for event in timeline.as_array().into_iter().flatten() {
                missing.retain(|id| event["event_id"] != **id);
            }
            let next = text(&self.place.url, &answer["next_batch"])?;
            since = format!("&timeout={SYNC}&since={}", escaped(&next));
        }
        Ok(())
    }
}

fn text(url: &str, value: &Value) -> Result<String, AskError> {
    value.as_str().map(ToOwned::to_owned).ok_or_else(|| AskError::NotMatrix(url.to_owned()))
}

fn escaped(text: &str) -> String {
    plexus_net::percent_encode(text).to_string()
}
