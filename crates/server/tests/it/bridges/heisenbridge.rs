//! heisenbridge, the IRC bridge: its rooms, a channel with messages both ways, and a restart of the homeserver.

use plexus_testkit::{TestPlace, places};
use tokio::process::Command;

use super::irc_server::IrcServer;
use super::{Bridge, Person, python};
use crate::binary::{free_port, temporary_folder};
use crate::kill::Victim;

const BOT: &str = "@heisenbridge:it.example";
const CAROL: &str = "@irc_test_carol:it.example";

#[tokio::test(flavor = "multi_thread")]
async fn heisenbridge_joins_an_irc_channel() {
    let Some(python) = python("the bridge heisenbridge") else { return };
    for place in places() {
        bridge_a_channel(place, &python).await;
    }
}

async fn bridge_a_channel(place: TestPlace, python: &std::path::Path) {
    let (folder, port) = (temporary_folder(), free_port().to_string());
    let registration = folder.join("heisenbridge.yaml");
    let bridge = || {
        let mut command = Command::new(python);
        command.args(["-m", "heisenbridge", "-c"]).arg(&registration);
        command.args(["--listen-address", "127.0.0.1", "--listen-port", port.as_str()]);
        command
    };
    let made = bridge().arg("--generate").output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let victim = Victim::with_settings(place, &format!("app_service_config_files: [{registration:?}]\n"));
    let server = victim.start();
    let mut alice = Person::register(&victim.url, "alice").await;
    let homeserver = victim.url.trim_end_matches("/_matrix/client/v3");
    let _bridge =
        Bridge::start(bridge().args(["-v", "--owner", &alice.id, homeserver]), folder.join("heisenbridge.log"));
    let irc = IrcServer::start().await;

    let control = alice.accept_invite(&[]).await;
    alice.say(&control, "ADDNETWORK test").await;
    alice.wait_for_body(BOT, "Network added.").await;
    alice.say(&control, &format!("ADDSERVER test 127.0.0.1 {}", irc.address.port())).await;
    alice.wait_for_body(BOT, "Server added.").await;
    alice.say(&control, "OPEN test").await;
    let network = alice.accept_invite(&[&control]).await;
    alice.say(&network, "CONNECT").await;
    irc.wait_for("NICK alice").await;
    alice.wait_for_body(BOT, "Welcome").await;
    alice.say(&network, "JOIN #rust").await;
    irc.wait_for("JOIN #rust").await;
    let channel = alice.accept_invite(&[&control, &network]).await;

    irc.send(":carol!carol@host JOIN #rust");
    let membership = |membership: &'static str| {
        move |event: &serde_json::Value| {
            event["state_key"] == CAROL
                && event["content"]["membership"] == membership
                && event.get("event_id").is_some()
        }
    };
    assert_eq!(alice.wait_for("Carol", membership("join")).await["room_id"], channel.as_str());
    irc.send(":carol!carol@host PRIVMSG #rust :hello from IRC");
    assert_eq!(alice.wait_for_body(CAROL, "hello from IRC").await["room_id"], channel.as_str());
    alice.say(&channel, "hello from Matrix").await;
    irc.wait_for("PRIVMSG #rust :hello from Matrix").await;

    drop(server);
    let server = victim.start();
    alice.say(&channel, "after the restart").await;
    irc.wait_for("PRIVMSG #rust :after the restart").await;
    irc.send(":carol!carol@host PRIVMSG #rust :still here");
    alice.wait_for_body(CAROL, "still here").await;
    irc.send(":carol!carol@host QUIT :gone");
    assert_eq!(alice.wait_for("Carol's leaving", membership("leave")).await["room_id"], channel.as_str());
    drop(server);
    // In the temporary folder anyway.
    drop(std::fs::remove_dir_all(&folder));
}
