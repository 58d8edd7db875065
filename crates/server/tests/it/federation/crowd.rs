//! A room of thousands of servers, some of them dead, with the real program and few descriptors.

use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plexus_base::Clock;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::crowd::{Crowd, Manner};
use plexus_testkit::{BigRoom, Client, RoomHost, TestPlace, TestUser, places, unique_name};
use serde_json::json;

use super::away::CLIENT;
use crate::binary::{Installation, Server};

/// The descriptors that the program may have.
const DESCRIPTORS: usize = 1_024;
/// The descriptors that it uses at most here, where it has few clients.
const MOST_DESCRIPTORS: usize = 384;
/// One in so many servers is dead.
const DEAD: usize = 10;
/// The longest that anything may take here, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the program may grow by while messages go out to everybody, in MiB.
const MOST_MEMORY: u64 = 150;

const SETTINGS: &str = "
enable_registration: true
enable_registration_without_verification: true
ip_range_whitelist: ['127.0.0.0/8']
federation_verify_certificates: false
rc_message: &many {per_second: 10000, burst_count: 100000}
rc_registration: *many
rc_profile: *many
federation: {destination_min_retry_interval: 10s, destination_max_retry_interval: 10s, max_short_retries: 1}
";

/// The room, its servers, and the program.
struct World {
    crowd: Crowd,
    host: RoomHost,
    installation: Installation,
    _place: TestPlace,
    clock: Clock,
}

impl World {
    async fn new(servers: usize, place: TestPlace) -> Self {
        let crowd = Crowd::gather(servers, RoomVersion::V11).await;
        let host = BigRoom::new(servers + 1, servers + 10).host_for(crowd.servers()).await;
        let installation = Installation::new();
        let (notary, key) = &crowd.servers()[0];
        let trusted = json!([{
            "server_name": notary.as_str(),
            "verify_keys": { key.key_id(): key.public_key_base64() },
        }]);
        installation.add(&format!("{SETTINGS}trusted_key_servers: {trusted}\n{}", place.homeserver_yaml()));
        Self { crowd, host, installation, _place: place, clock: Clock::system() }
    }

    fn room(&self) -> &str {
        self.host.room.id().as_str()
    }

    /// How many of the servers are not dead.
    fn living(&self) -> usize {
        (0..self.crowd.servers().len()).filter(|number| manner(*number) == Manner::Answers).count()
    }

    /// Living servers that may be asked something.
    fn asked(&self) -> Vec<String> {
        self.crowd.servers().iter().step_by(DEAD).map(|(name, _)| name.to_string()).collect()
    }

    fn client(&self) -> Client {
        Client::new(format!("http://127.0.0.1:{}", self.installation.port))
    }

    /// Starts the program with few descriptors. What it logs is appended to a file.
    fn start(&self) -> Server {
        let mut command = Command::new("sh");
        let binary = std::env::var_os("PLEXUS_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_plexus").into());
        command.args(["-c", &format!(r#"ulimit -n {DESCRIPTORS}; log=$1; shift; exec "$@" 2>>"$log""#), "sh"]);
        command.arg(self.installation.folder.join("log")).arg(binary);
        command.args(["serve", "--config-path"]).arg(self.installation.yaml());
        Server::spawn(command, &self.installation.folder)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.installation.folder.join("log")).unwrap()
    }

    fn set_manners(&self, manner: impl Fn(usize) -> Manner) {
        (0..self.crowd.servers().len()).for_each(|number| self.crowd.set_manner(number, manner(number)));
    }

    async fn say(&self, user: &TestUser, room: &str, body: &str) -> String {
        let path = format!("{CLIENT}/rooms/{room}/send/m.room.message/{}", unique_name());
        let sent = self.client().put(&path, &user.token, json!({ "msgtype": "m.text", "body": body })).await;
        sent.ok()["event_id"].as_str().unwrap().to_owned()
    }

    async fn got(&self, what: &str, event: &str, servers: usize) -> Duration {
        let began = self.clock.monotonic();
        if plexus_testkit::within(PATIENCE, self.crowd.got(event, servers)).await.is_err() {
            panic!("{what}: {} of {servers} have got it; {:?}", self.crowd.count(event), self.crowd.seen());
        }
        self.clock.monotonic() - began
    }
}

impl World {
    /// Everybody got every message once and in order.
    fn check(&self, messages: &[String], end: End) {
        for number in 0..self.crowd.servers().len() {
            let mut events = self.crowd.events(number);
            events.retain(|event| messages.contains(event));
            if end == End::Killed {
                // What it did not come to write down is sent again.
                let mut known = HashSet::new();
                events.retain(|event| known.insert(event.clone()));
            }
            assert_eq!(events, messages, "server {number}, {:?}", manner(number));
        }
        assert!(end == End::Killed || self.crowd.seen().repeated == 0, "{:?}", self.crowd.seen());
    }
}

/// One in ten is dead: it says nothing, or that it will not.
fn manner(number: usize) -> Manner {
    match (number % DEAD, number / DEAD % 2) {
        (3, 0) => Manner::IsSilent,
        (3, _) => Manner::Refuses,
        _ => Manner::Answers,
    }
}

/// How many descriptors a process has at most, until `done`.
async fn descriptors(process: u32, done: Arc<AtomicBool>) -> usize {
    let (mut most, clock) = (0, Clock::system());
    while !done.load(Ordering::Relaxed) {
        most = most.max(std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count));
        clock.sleep(Duration::from_millis(20)).await;
    }
    most
}

/// How long other things take meanwhile, sorted.
#[derive(Debug, Default)]
struct Meanwhile {
    messages: Vec<Duration>,
    questions: Vec<Duration>,
}

/// Until `done`, says something in a room that has nothing to do with the others, and asks other servers for something.
async fn meanwhile(
    client: Client,
    user: TestUser,
    room: String,
    asked: Vec<String>,
    done: Arc<AtomicBool>,
) -> Meanwhile {
    let (mut taken, clock) = (Meanwhile::default(), Clock::system());
    let mut asked = asked.iter().cycle();
    while !done.load(Ordering::Relaxed) {
        let began = clock.monotonic();
        let path = format!("{CLIENT}/rooms/{room}/send/m.room.message/{}", unique_name());
        client.put(&path, &user.token, json!({ "msgtype": "m.text", "body": "meanwhile" })).await.ok();
        taken.messages.push(clock.monotonic() - began);
        let began = clock.monotonic();
        let path = format!("{CLIENT}/profile/@nobody:{}", asked.next().unwrap());
        assert_eq!(client.get(&path, &user.token).await.status, 404);
        taken.questions.push(clock.monotonic() - began);
        clock.sleep(Duration::from_millis(50)).await;
    }
    taken.messages.sort_unstable();
    taken.questions.sort_unstable();
    taken
}

/// The processor time that a process has had.
fn processor(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).expect("this is Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// How the program ends in the middle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGTERM
    InOrder,
    /// SIGKILL
    Killed,
}

/// Joins the room. Returns how long that took, and how long until all of its members were known.
async fn join(world: &World, alice: &TestUser) -> (Duration, Duration) {
    let began = world.clock.monotonic();
    let join = format!("{CLIENT}/join/{}?via={}", world.room(), world.host.peer.name());
    world.client().post(&join, &alice.token, json!({})).await.ok();
    let joined = world.clock.monotonic() - began;
    let members = world.client().get(&format!("{CLIENT}/rooms/{}/joined_members", world.room()), &alice.token).await;
    assert_eq!(members.ok()["joined"].as_object().unwrap().len(), world.crowd.servers().len() + 2);
    (joined, world.clock.monotonic() - began)
}

/// What it took until a message and many more were everywhere.
struct Spread {
    first: Duration,
    /// Processor time for each transaction.
    each: Duration,
    many: Duration,
}

/// A message to everybody who lives, then many at once.
async fn spread(world: &World, server: &Server, alice: &TestUser, messages: &mut Vec<String>) -> Spread {
    let (processor_before, before) = (processor(server), world.crowd.seen().transactions);
    messages.push(world.say(alice, world.room(), "1").await);
    let first = world.got("the first message", &messages[0], world.living()).await;
    let transactions = u32::try_from(world.crowd.seen().transactions - before).unwrap();
    let each = (processor(server) - processor_before) / transactions;
    for number in 2..20 {
        messages.push(world.say(alice, world.room(), &number.to_string()).await);
    }
    let many = world.got("many messages", messages.last().unwrap(), world.living()).await;
    Spread { first, each, many }
}

async fn a_room_of(servers: usize, place: TestPlace, end: End) {
    let world = World::new(servers, place).await;
    world.set_manners(manner);
    let server = world.start();
    let (alice, bob) = (world.client().register("alice").await, world.client().register("bob").await);
    let elsewhere = world.client().post(&format!("{CLIENT}/createRoom"), &bob.token, json!({})).await;
    let elsewhere = elsewhere.ok()["room_id"].as_str().unwrap().to_owned();
    let (joined, full) = join(&world, &alice).await;

    std::fs::write(format!("/proc/{}/clear_refs", server.id()), "5").unwrap();
    let memory = server.memory("VmRSS");
    let done = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(descriptors(server.id(), Arc::clone(&done)));
    let talking = tokio::spawn(meanwhile(world.client(), bob, elsewhere, world.asked(), Arc::clone(&done)));
    let mut messages = Vec::new();
    let Spread { first, each, many } = spread(&world, &server, &alice, &mut messages).await;
    let peak = server.memory("VmHWM");

    // It ends while a message is on its way.
    messages.push(world.say(&alice, world.room(), "half").await);
    world.got("half of a message", messages.last().unwrap(), world.living() / 2).await;
    done.store(true, Ordering::Relaxed);
    let (most_descriptors, taken) = (watching.await.unwrap(), talking.await.unwrap());
    let began = world.clock.monotonic();
    match end {
        End::InOrder => assert!(server.stop().status.success()),
        End::Killed => drop(server),
    }
    let stopped = world.clock.monotonic() - began;
    let server = world.start();
    messages.push(world.say(&alice, world.room(), "after").await);
    let rest = world.got("a message after the restart", messages.last().unwrap(), world.living()).await;

    // The dead come back.
    world.set_manners(|_| Manner::Answers);
    let back = world.got("who was dead", messages.last().unwrap(), servers).await;
    let seen = world.crowd.seen();
    drop(server);
    println!(
        "{servers} servers: joined after {joined:.2?}, full after {full:.2?}; the first message is everywhere after \
         {first:.2?}, 18 more after {many:.2?}, with {each:.2?} of processor time for each transaction; stopped within \
         {stopped:.2?}, the rest after {rest:.2?}, the dead have everything after {back:.2?}; at most \
         {most_descriptors} \
         descriptors; memory {memory} -> {peak} MiB; meanwhile messages took {}, questions {}; log of {} KiB; {seen:?}",
        figures(&taken.messages),
        figures(&taken.questions),
        world.log().len() / 1024,
    );
    world.check(&messages, end);
    assert!(most_descriptors < MOST_DESCRIPTORS && !world.log().contains("Too many open files"), "{most_descriptors}");
    assert!(peak - memory < MOST_MEMORY, "the process has grown by {} MiB", peak - memory);
    let longest = [taken.messages, taken.questions].concat().into_iter().max();
    assert!(longest < Some(Duration::from_secs(10)), "{longest:?}");
}

fn figures(sorted: &[Duration]) -> String {
    format!("{:.1?} (median), {:.1?} (longest)", sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_of_five_thousand_servers() {
    let servers = std::env::var("PLEXUS_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    a_room_of(servers, TestPlace::sqlite(), End::InOrder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_on_the_way_to_five_hundred_servers() {
    for place in places() {
        a_room_of(500, place, End::Killed).await;
    }
}
