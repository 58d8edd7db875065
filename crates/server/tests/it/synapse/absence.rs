//! One server is away while users of the other talk.

use plexus_testkit::{Synapse, TestPlace, TestServer};

use super::history::paged_back;
use super::{Member, shared_room};

/// A user of Plexus and one of a Synapse that nobody else uses.
async fn alone() -> Option<(TestServer, Synapse, [Member; 2])> {
    let synapse = Synapse::start().await?;
    let plexus = TestServer::on(TestPlace::sqlite()).federating().start().await;
    let paul = Member::register(&plexus, plexus.name(), "paul").await;
    let sara = Member::register(&synapse, &synapse.name(), "sara").await;
    Some((plexus, synapse, [paul, sara]))
}

/// Says `count` things, numbered on from what was said before, and answers the last one's id.
async fn chatter(speaker: &Member, room: &str, count: usize, said: &mut Vec<String>) -> String {
    let mut last = String::new();
    for _ in 0..count {
        said.push(said.len().to_string());
        last = speaker.say(room, &said[said.len() - 1]).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn synapse_is_away() {
    let Some((_plexus, mut synapse, [paul, mut sara])) = alone().await else { return };
    let room = shared_room(&sara, &paul).await;
    let mut said = Vec::new();
    for count in [5, 150] {
        synapse.kill();
        let last = chatter(&paul, &room, count, &mut said).await;
        synapse.boot().await;
        sara.client = synapse.clone();
        sara.hears(&room, &last).await;
        assert_eq!(paged_back(&sara, &room).await, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plexus_is_away() {
    let Some((mut plexus, _synapse, [mut paul, sara])) = alone().await else { return };
    let room = shared_room(&sara, &paul).await;
    let mut said = Vec::new();
    for count in [5, 150] {
        plexus.stop().await;
        let last = chatter(&sara, &room, count, &mut said).await;
        plexus.restart().await;
        paul.client = plexus.clone();
        paul.hears(&room, &last).await;
        assert_eq!(paged_back(&paul, &room).await, said);
    }
}
