//! Servers that fail, and what goes on nevertheless.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use plexus_base::Clock;
use plexus_federation::PartialStateResync;
use plexus_protocol::id::ServerName;
use plexus_protocol::rules::RoomVersion;
use plexus_rooms::Preset;
use plexus_testkit::{every, within};

use crate::fixture::new_room;
use crate::simulation::network::Network;
use crate::simulation::wire::raw;

/// More servers than any sensible number of shared locks.
const ORIGINS: usize = 300;

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let mut ticks = every(Duration::from_millis(5));
    let waiting = async {
        while !is_so() {
            ticks.tick().await;
        }
    };
    within(Duration::from_secs(30), waiting).await.unwrap();
}

#[tokio::test]
async fn servers_whose_keys_do_not_come_hold_up_no_other_server() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(1, &clock);
    let [here] = network.servers() else { panic!("there is one") };
    let alice = here.user(0);
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    let event = room.view().recent.last().unwrap().pdu.json().to_owned();

    network.faults.keys_hang.store(true, SeqCst);
    let origins = (0..ORIGINS).map(|number| ServerName::try_from(format!("server{number}.example")).unwrap());
    let transactions = origins.map(|origin| {
        let (inbox, event) = (Arc::clone(&here.inbox), raw(event.clone()));
        async move { inbox.receive(&origin, "1", vec![event], async { Ok(()) }).await }
    });
    tokio::select! {
        _ = join_all(transactions) => panic!("no keys came"),
        () = until(|| network.faults.hanging.load(SeqCst) == ORIGINS) => {}
    }
}

#[tokio::test]
async fn a_room_whose_state_could_not_be_read_for_a_bug_is_tried_again() {
    let clock = Clock::manual(1_700_000_000_000);
    let network = Network::new(2, &clock);
    let [here, there] = network.servers() else { panic!("there are two") };
    let (alice, bob) = (here.user(0), there.user(0));
    let room = here.creator.create(new_room(&alice, RoomVersion::V11, Preset::PublicChat)).await.unwrap();
    network.faults.omits_members.store(true, SeqCst);
    network.faults.state_panics.store(1, SeqCst);
    there.join(&room.id, &bob, here).await.unwrap();
    let bobs = there.rooms.get(&room.id).await.unwrap().unwrap();
    assert!(bobs.view().is_partial());

    let resync = tokio::spawn(Arc::new(PartialStateResync::new(Arc::clone(&there.receiver))).run());
    until(|| {
        clock.advance(Duration::from_secs(1));
        !bobs.view().is_partial()
    })
    .await;
    assert_eq!(network.faults.state_panics.load(SeqCst), 0);
    resync.abort();
}
