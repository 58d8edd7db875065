//! Events that are wrong in themselves, or in what they refer to.

use super::*;

use crate::client::create;

/// The outcome for an event that lies.
enum Fate {
    /// The transaction's answer says that this is wrong with it.
    Refused(&'static str),
    /// The transaction's answer says nothing of it: not even its id is known.
    Ignored,
    /// It is acknowledged and nobody sees it.
    Hidden,
    /// It is shown without its content.
    Redacted,
}

type Lie = (&'static str, Fate, fn(&Stage, &mut Value));

fn other_id(_: &Stage) -> String {
    format!("${}", STANDARD_NO_PAD.encode([7; 32]).replace('/', "_").replace('+', "-"))
}

/// Made before the event is signed.
const SIGNED: &[Lie] = &[
    ("of another server's user", Fate::Refused("not signed by"), |stage, event| {
        event["sender"] = json!(stage.honest.bob);
    }),
    ("of our user", Fate::Refused("not signed by"), |stage, event| event["sender"] = json!(stage.alice.id)),
    ("of a user who is not in the room", Fate::Hidden, |stage, event| {
        event["sender"] = json!(stage.liar.peer.user("stranger"));
    }),
    ("a user id without a server", Fate::Ignored, |_, event| event["sender"] = json!("@mallory")),
    ("an absurd user id", Fate::Ignored, |_, event| event["sender"] = json!("@\u{0}:\u{202e}")),
    ("a user id of 300 bytes", Fate::Ignored, |stage, event| {
        event["sender"] = json!(stage.liar.peer.user(&"m".repeat(300)));
    }),
    ("of a room that is not known", Fate::Ignored, |_, event| event["room_id"] = json!("!nowhere:test.example")),
    ("a room id that is none", Fate::Ignored, |_, event| event["room_id"] = json!("nowhere")),
    ("without a room", Fate::Ignored, |_, event| _ = event.as_object_mut().unwrap().remove("room_id")),
    ("without auth events", Fate::Hidden, |_, event| event["auth_events"] = json!([])),
    ("too many auth events", Fate::Ignored, |stage, event| {
        event["auth_events"] = stage.references(&vec![other_id(stage); 11]);
    }),
    ("10,000 prev events", Fate::Ignored, |stage, event| {
        event["prev_events"] = stage.references(&vec![other_id(stage); 10_000]);
    }),
    ("no prev events", Fate::Hidden, |_, event| event["prev_events"] = json!([])),
    ("auth events that are no ids", Fate::Ignored, |_, event| event["auth_events"] = json!([1, null, {}])),
    ("prev events that are no list", Fate::Ignored, |_, event| event["prev_events"] = json!("all of them")),
    ("auth events that nobody has", Fate::Hidden, |stage, event| {
        event["auth_events"] = stage.references(&[other_id(stage)]);
    }),
    ("a message as an auth event", Fate::Hidden, |_, event| {
        let message = event["prev_events"][0].clone();
        event["auth_events"].as_array_mut().unwrap().push(message);
    }),
    ("prev events that nobody has", Fate::Hidden, |stage, event| {
        event["prev_events"] = stage.references(&[other_id(stage)]);
    }),
    ("a negative depth", Fate::Ignored, |_, event| event["depth"] = json!(-1)),
    ("a depth that is text", Fate::Ignored, |_, event| event["depth"] = json!("deep")),
    ("the greatest depth", Fate::Hidden, |stage, event| {
        event["depth"] = json!(9_007_199_254_740_991_u64);
        event["sender"] = json!(stage.liar.peer.user("stranger"));
    }),
    ("a time that is none", Fate::Ignored, |_, event| event["origin_server_ts"] = json!({})),
    ("a negative time", Fate::Ignored, |_, event| event["origin_server_ts"] = json!(-5)),
    ("content that is a list", Fate::Ignored, |_, event| event["content"] = json!([])),
    ("no content", Fate::Ignored, |_, event| _ = event.as_object_mut().unwrap().remove("content")),
    ("no type", Fate::Ignored, |_, event| _ = event.as_object_mut().unwrap().remove("type")),
    ("a type of 256 bytes", Fate::Ignored, |_, event| event["type"] = json!("x".repeat(256))),
    ("a state key that is a number", Fate::Ignored, |_, event| event["state_key"] = json!(1)),
    ("a state key of 256 bytes", Fate::Ignored, |_, event| event["state_key"] = json!("x".repeat(256))),
    ("another user's state key", Fate::Hidden, |stage, event| event["state_key"] = json!(stage.alice.id)),
    ("65,537 bytes", Fate::Ignored, |_, event| event["content"]["body"] = json!("x".repeat(65_600))),
    ("a second create event", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.create");
        event["state_key"] = json!("");
        event["content"] = json!({ "creator": stage.liar.mallory, "room_version": stage.version.as_str() });
        event["auth_events"] = json!([]);
        event["prev_events"] = json!([]);
    }),
    ("a create event in the middle", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.create");
        event["state_key"] = json!("");
        event["content"] = json!({ "room_version": stage.version.as_str() });
    }),
    ("power without having it", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.power_levels");
        event["state_key"] = json!("");
        event["content"] = json!({ "users": { &stage.liar.mallory: 100 } });
    }),
    ("a join of another server's user", Fate::Hidden, |_, event| {
        event["type"] = json!("m.room.member");
        event["state_key"] = json!("@somebody:else.example");
        event["content"] = json!({ "membership": "join" });
    }),
    ("a join of our user", Fate::Hidden, |_, event| {
        event["type"] = json!("m.room.member");
        event["state_key"] = json!("@victim:test.example");
        event["content"] = json!({ "membership": "join" });
    }),
    ("a ban without the power", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.member");
        event["state_key"] = json!(stage.alice.id);
        event["content"] = json!({ "membership": "ban" });
    }),
    ("a membership that is none", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.member");
        event["state_key"] = json!(stage.liar.mallory);
        event["content"] = json!({ "membership": ["join"] });
    }),
    ("a third-party invite that nobody made", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.member");
        event["state_key"] = json!("@victim:test.example");
        let signed = json!({ "mxid": "@victim:test.example", "token": "t", "signatures": {} });
        event["content"] = json!({ "membership": "invite", "third_party_invite": { "signed": signed } });
        event["sender"] = json!(stage.liar.mallory);
    }),
    ("a redaction of everything", Fate::Hidden, |stage, event| {
        event["type"] = json!("m.room.redaction");
        event["sender"] = json!(stage.liar.peer.user("stranger"));
    }),
];

/// Made after the event was signed.
const TAMPERED: &[Lie] = &[
    ("no signature", Fate::Refused("not signed by"), |_, event| event["signatures"] = json!({})),
    ("no signatures at all", Fate::Refused("not signed by"), |_, event| {
        event.as_object_mut().unwrap().remove("signatures");
    }),
    ("signatures that are a list", Fate::Refused("not signed by"), |_, event| event["signatures"] = json!([1])),
    ("a wrong signature", Fate::Refused("signature of"), |_, event| {
        for signature in event["signatures"].as_object_mut().unwrap().values_mut() {
            signature["ed25519:p_1"] = json!(STANDARD_NO_PAD.encode([1; 64]));
        }
    }),
    ("a signature that is a number", Fate::Refused(""), |_, event| {
        for signature in event["signatures"].as_object_mut().unwrap().values_mut() {
            signature["ed25519:p_1"] = json!(1);
        }
    }),
    ("a key that nobody has", Fate::Refused("no key that"), |_, event| {
        for signature in event["signatures"].as_object_mut().unwrap().values_mut() {
            *signature = json!({ "ed25519:never": STANDARD_NO_PAD.encode([1; 64]) });
        }
    }),
    ("another time", Fate::Refused("signature of"), |_, event| event["origin_server_ts"] = json!(5)),
    ("another body", Fate::Redacted, |_, event| event["content"]["body"] = json!("put in later")),
    ("no hash", Fate::Refused("signature of"), |_, event| event["hashes"] = json!({})),
];

/// Sends the lie. Returns its body text, if it has one.
async fn tell(stage: &Stage, event: &Value, (name, fate): (&str, &Fate)) {
    let text = event["content"]["body"].as_str().map(str::to_owned);
    let without_body = |bodies: &[String]| bodies.iter().filter(|body| body.is_empty()).count();
    let before = without_body(&stage.bodies().await);
    let good = stage.lie(|_| {}).await;
    let good_text = good["content"]["body"].as_str().unwrap().to_owned();
    let sent = stage.send(&[event.clone(), good.clone()]).await;
    let answers = sent.ok()["pdus"].as_object().unwrap_or_else(|| panic!("{name}: {sent:?}"));
    // A bad event never harms its neighbours.
    assert_eq!(answers.get(&id_of(&good, stage.version)), Some(&json!({})), "{name}");
    let own = Pdu::parse(&event.to_string(), stage.version).ok();
    let own = own.and_then(|pdu| answers.get(pdu.event_id().as_str()));
    match fate {
        Fate::Refused(why) => {
            let error =
                own.and_then(|answer| answer["error"].as_str()).unwrap_or_else(|| panic!("{name}: {answers:?}"));
            assert!(error.contains(why), "{name}: {error}");
        }
        Fate::Ignored => assert_eq!(answers.len(), 1, "{name}: {answers:?}"),
        Fate::Hidden | Fate::Redacted => assert_eq!(own, Some(&json!({})), "{name}"),
    }
    stage.judged().await;
    let bodies = stage.bodies().await;
    assert!(bodies.contains(&good_text), "{name}: {bodies:?}");
    if let (Some(text), false) = (&text, matches!(fate, Fate::Redacted)) {
        assert!(!bodies.contains(text), "{name}: {bodies:?}");
    }
    let shown = without_body(&bodies) - before;
    assert_eq!(shown, usize::from(matches!(fate, Fate::Redacted)), "{name}: {bodies:?}");
}

/// The part of the state that no lie may change.
async fn untouched(stage: &Stage) -> Vec<Value> {
    let mut state = stage.state().await;
    state.retain(|event| event["type"] != "m.room.member" || event["state_key"] == stage.alice.id.as_str());
    state.sort_by_key(Value::to_string);
    state.iter().map(|event| event["event_id"].clone()).collect()
}

/// The room versions in which each database gets the wrong events; in the others one of them does, in turn. The formats
/// of event ids and room ids change with these.
const ON_EACH_DATABASE: [&str; 3] = ["1", "11", "12"];

async fn lies(version: &str) {
    let mut places = plexus_testkit::places();
    if !ON_EACH_DATABASE.contains(&version) {
        let number: usize = version.parse().unwrap();
        let place = places.swap_remove(number % places.len());
        places = vec![place];
    }
    let stages = join_all(places.into_iter().map(|place| Stage::on(place, version, ""))).await;
    for stage in stages {
        let before = untouched(&stage).await;
        for (name, fate, change) in SIGNED {
            let lie = stage.lie(|event| change(&stage, event)).await;
            // Where its id is the room's, a create event that names a room is no event.
            let names_its_room = lie["type"] == "m.room.create" && stage.version.rules().create_event_is_room_id;
            let fate = if names_its_room { &Fate::Ignored } else { fate };
            tell(&stage, &lie, (&format!("{name} in version {version}"), fate)).await;
        }
        assert_eq!(untouched(&stage).await, before);
        for (name, fate, change) in TAMPERED {
            let mut lie = stage.lie(|_| {}).await;
            change(&stage, &mut lie);
            tell(&stage, &lie, (&format!("{name} in version {version}"), fate)).await;
        }
        assert_eq!(untouched(&stage).await, before);
        let members =
            stage.server.get(&format!("{CLIENT}/rooms/{}/joined_members", stage.room), &stage.alice.token).await;
        assert_eq!(members.ok()["joined"].as_object().unwrap().len(), 3);
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_rooms_of_versions_1_and_2() {
    for version in ["1", "2"] {
        lies(version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_rooms_of_versions_3_to_5() {
    for version in ["3", "4", "5"] {
        lies(version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_rooms_of_versions_6_to_8() {
    for version in ["6", "7", "8"] {
        lies(version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_rooms_of_versions_9_and_10() {
    for version in ["9", "10"] {
        lies(version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_a_room_of_version_11() {
    lies("11").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_refused_or_hidden_in_a_room_of_version_12() {
    lies("12").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_at_the_greatest_depth_does_not_end_the_room() {
    for version in ["5", "11"] {
        for stage in Stage::on_each(version).await {
            for depth in [9_007_199_254_740_991_u64, 9_007_199_254_740_990] {
                let deep = stage.lie(|event| event["depth"] = json!(depth)).await;
                assert_eq!(
                    stage.send(std::slice::from_ref(&deep)).await.ok()["pdus"][id_of(&deep, stage.version)],
                    json!({})
                );
                stage.judged().await;
                stage.is_usable().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_exactly_the_largest_size_is_taken_and_one_byte_more_is_not() {
    for stage in Stage::on_each("11").await {
        let of_size = async |size: usize| {
            let empty = stage.lie(|event| event["content"]["body"] = json!("")).await.to_string().len();
            stage.lie(|event| event["content"]["body"] = json!("x".repeat(size - empty))).await
        };
        let (fits, too_large) = (of_size(65_536).await, of_size(65_537).await);
        assert_eq!((fits.to_string().len(), too_large.to_string().len()), (65_536, 65_537));
        let sent = stage.send(&[too_large, fits.clone()]).await;
        assert_eq!(sent.ok()["pdus"], json!({ id_of(&fits, stage.version): {} }));
        stage.judged().await;
        let longest = stage.bodies().await.into_iter().map(|body| body.len()).max();
        assert_eq!(longest, fits["content"]["body"].as_str().map(str::len));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_lead_to_each_other_are_dropped() {
    // Only in the first two room versions does the sender choose an event's id.
    for stage in Stage::on_each("1").await {
        let name = stage.liar.peer.name().as_str();
        let (one, two) = (format!("$one:{name}"), format!("$two:{name}"));
        let lie = async |id: &str, prev: &[String], auth: &[String]| {
            let (prev, auth) = (stage.references(prev), stage.references(auth));
            stage
                .lie(|event| {
                    event["event_id"] = json!(id);
                    event["prev_events"] = prev;
                    if auth != json!([]) {
                        event["auth_events"] = auth;
                    }
                })
                .await
        };
        let itself = lie("$itself:x", &[], &[]).await;
        assert_eq!(stage.send(&[itself]).await.ok()["pdus"].as_object().unwrap().values().count(), 1);
        let own = format!("$own:{name}");
        let circle = [
            lie(&one, std::slice::from_ref(&two), &[]).await,
            lie(&two, std::slice::from_ref(&one), &[]).await,
            lie(&own, std::slice::from_ref(&own), &[]).await,
            lie(&format!("$auth:{name}"), &[stage.newest().await], &[format!("$auth:{name}")]).await,
        ];
        let texts: Vec<&str> = circle.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
        stage.send(&circle).await.ok();
        stage.judged().await;
        let bodies = stage.bodies().await;
        assert!(texts.iter().all(|text| !bodies.iter().any(|body| body == text)), "{bodies:?}");
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_a_sender_chose_are_not_mistaken_for_hashes() {
    for place in plexus_testkit::places() {
        let mut stage = Stage::on(place, "1", "").await;
        let name = stage.liar.peer.name().as_str().to_owned();
        let ids = [
            "$".to_owned(),
            "$x".to_owned(),
            other_id(&stage),
            format!("$:{name}"),
            format!("$\u{0}:{name}"),
            format!("${}:{name}", "x".repeat(300)),
            "no-id".to_owned(),
        ];
        for id in ids {
            let lie = stage.lie(|event| event["event_id"] = json!(id)).await;
            stage.send(&[lie]).await.ok();
        }
        stage.judged().await;
        stage.is_usable().await;
        // What is stored can be read again.
        stage.server.restart().await;
        assert!(!stage.bodies().await.is_empty());
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_to_a_room_of_another_version_spoil_nothing() {
    for mut stage in Stage::on_each("11").await {
        let room = std::mem::replace(&mut stage.room, federation::public_room(&stage.server, &stage.alice, "1").await);
        federation::join(&stage.server, &stage.liar.peer, &stage.room, &stage.liar.mallory).await;
        stage.version = RoomVersion::V1;
        let old = stage.lie(|_| {}).await;
        let in_old = old["event_id"].as_str().unwrap().to_owned();
        stage.send(std::slice::from_ref(&old)).await.ok();
        stage.judged().await;
        // A redaction in the old room of an event that will come in the other one.
        let old_room = std::mem::replace(&mut stage.room, room);
        stage.version = RoomVersion::V11;
        let target = stage.lie(|_| {}).await;
        let target_id = id_of(&target, RoomVersion::V11);
        let room = std::mem::replace(&mut stage.room, old_room);
        stage.version = RoomVersion::V1;
        let early = stage.lie(|event| {
            event["type"] = json!("m.room.redaction");
            event["redacts"] = json!(target_id);
        });
        let early = early.await;
        stage.send(&[early]).await.ok();
        stage.judged().await;
        stage.room = room;
        stage.version = RoomVersion::V11;
        for member in ["auth_events", "prev_events"] {
            let lie = stage.lie(|event| event[member] = json!([in_old])).await;
            stage.send(&[lie]).await.ok();
            let lie = stage.lie(|event| event[member].as_array_mut().unwrap().push(json!(in_old))).await;
            stage.send(&[lie]).await.ok();
            stage.judged().await;
            stage.is_usable().await;
        }
        stage.send(std::slice::from_ref(&target)).await.ok();
        stage.judged().await;
        assert!(stage.bodies().await.contains(&target["content"]["body"].as_str().unwrap().to_owned()));
        stage.is_usable().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_events_of_another_room_allow_nothing() {
    for stage in Stage::on_each("11").await {
        // A room of the liar's liking, in which Mallory may do everything.
        let other = create(
            &stage.server,
            &stage.alice,
            json!({
                "preset": "public_chat", "room_version": "11",
                "power_level_content_override": { "users": { &stage.liar.mallory: 100, &stage.alice.id: 100 } },
            }),
        )
        .await;
        federation::join(&stage.server, &stage.liar.peer, &other, &stage.liar.mallory).await;
        let there = Stage { room: other, ..stage };
        let auth = there.template(&there.liar.mallory).await["auth_events"].clone();
        let stage = Stage { room: federation::public_room(&there.server, &there.alice, "11").await, ..there };
        federation::join(&stage.server, &stage.liar.peer, &stage.room, &stage.liar.mallory).await;
        federation::join(&stage.server, &stage.honest.peer, &stage.room, &stage.honest.bob).await;
        let lie = stage.lie(|event| {
            event["type"] = json!("m.room.name");
            event["state_key"] = json!("");
            event["content"] = json!({ "name": "mine" });
            event["auth_events"] = auth;
        });
        stage.send(&[lie.await]).await.ok();
        stage.judged().await;
        assert!(!stage.state().await.iter().any(|event| event["type"] == "m.room.name"));
        stage.is_usable().await;
    }
}
