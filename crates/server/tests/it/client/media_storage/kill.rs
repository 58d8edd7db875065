//! kill -9 during uploads: what was acknowledged is there afterwards, and no file is there that nothing names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use parking_lot::Mutex;
use plexus_base::Random;
use plexus_net::HttpError;
use plexus_net::http::send_operator_command;
use plexus_testkit::{every, places, within};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{PATIENCE, temporary_folder};
use crate::kill::{Victim, call, text};

const ROUNDS: usize = 6;
const UPLOADERS: usize = 4;

async fn send(method: Method, url: &str, token: &str, body: Bytes) -> Result<(u16, Bytes), HttpError> {
    let request = Request::builder().method(method).uri(url).header("Authorization", format!("Bearer {token}"));
    let answer = send_operator_command(request.body(body).unwrap()).await?;
    Ok((answer.status.as_u16(), answer.body))
}

/// The ids of the files in `local_content`.
fn ids(folder: &Path) -> Vec<String> {
    let below = |folder: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let files = below(folder).into_iter().flat_map(|first| below(&first)).flat_map(|second| below(&second));
    let id = |path: std::path::PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().replace('/', "");
    files.map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_survive_and_leave_nothing_else() {
    for place in places() {
        let folder = temporary_folder();
        let store = folder.join("store");
        let settings = format!("media_store_path: '{}'\n", store.display());
        let victim = Victim::with_settings(place, &settings);
        let host = victim.url.replace("/_matrix/client/v3", "");
        let server = victim.start();
        let account = json!({ "username": "alice", "password": "secret", "auth": { "type": "m.login.dummy" } });
        let token =
            text(&call(Method::POST, format!("{}/register", victim.url), "", account).await.unwrap()["access_token"]);
        drop(server);

        let stored: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let random = Random::seeded(11);
        for round in 0..ROUNDS {
            let server = victim.start();
            let mut uploads = JoinSet::new();
            for uploader in 0..UPLOADERS {
                let (stored, token) = (Arc::clone(&stored), token.clone());
                let url = format!("{host}/_matrix/media/v3/upload");
                uploads.spawn(async move {
                    for number in 0.. {
                        // Some are identical to others.
                        let content = format!("r{round}u{}n{}", uploader / 2, number / 2);
                        let Ok((200, answer)) = send(Method::POST, &url, &token, content.clone().into()).await else {
                            return;
                        };
                        let answer: Value = serde_json::from_slice(&answer).unwrap();
                        stored.lock().push((text(&answer["content_uri"]), content));
                    }
                });
            }
            let before = stored.lock().len();
            let wanted = before + 10 + usize::try_from(random.below(30)).unwrap();
            let reached = async {
                let mut looks = every(Duration::from_millis(5));
                while stored.lock().len() < wanted {
                    looks.tick().await;
                }
            };
            within(PATIENCE, reached).await.expect("uploads are stored");
            // Dropping it is SIGKILL.
            drop(server);
            while uploads.join_next().await.is_some() {}
        }

        let _server = victim.start();
        let get = async |path: &str| {
            let url = format!("{host}/_matrix/client/v1/media/download/{path}");
            send(Method::GET, &url, &token, Bytes::new()).await.unwrap_or_else(|error| panic!("{url}: {error:?}"))
        };
        let mut name = String::new();
        let stored = stored.lock().clone();
        for (uri, content) in stored {
            let path = uri.strip_prefix("mxc://").unwrap();
            path.split_once('/').unwrap().0.clone_into(&mut name);
            assert_eq!(get(path).await, (200, content.into()), "{uri}");
        }
        assert_eq!(std::fs::read_dir(store.join("incoming")).unwrap().count(), 0);
        for id in ids(&store.join("local_content")) {
            assert_eq!(get(&format!("{name}/{id}")).await.0, 200, "{id} has a file, and nothing names it");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
