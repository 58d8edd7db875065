// Two people on matrix-js-sdk, and one of them with a stranger on another SDK, hold a whole conversation.
//
//   node conversation.mjs BASE_URL OWN_NAME PEER_USER_ID
//
// Prints "ok - STEP" for each step and exits 0 after the last one; anything unexpected prints what it was and exits 1.
import { createHash } from "node:crypto";
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

const [baseUrl, ownName, peerId] = process.argv.slice(2);
const PASSWORD = "correct horse battery staple";
const STEP_TIMEOUT_MS = 60_000;
// A 2x2 red PNG.
const PNG = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==",
    "base64",
);

if (process.env.SDK_LOG !== "1") {
    for (const level of ["trace", "debug", "info", "warn", "error"]) logger[level] = () => {};
    logger.getChild = () => logger;
    for (const level of ["trace", "debug", "info", "warn"]) console[level] = () => {};
}

const ok = (step) => process.stdout.write(`ok - ${step}\n`);

function assert(condition, what) {
    if (!condition) throw new Error(what);
}

/** Resolves when `check()` answers something truthy; asked again at each of the client's `events`. */
function until(client, events, what, check) {
    return new Promise((resolve, reject) => {
        const finish = (settle, value) => {
            clearTimeout(timer);
            for (const name of events) client.off(name, attempt);
            settle(value);
        };
        const attempt = (...args) => {
            let answer;
            try {
                answer = check(...args);
            } catch (error) {
                return finish(reject, error);
            }
            if (answer) finish(resolve, answer);
        };
        const timer = setTimeout(() => finish(reject, new Error(`gave up waiting for: ${what}`)), STEP_TIMEOUT_MS);
        for (const name of events) client.on(name, attempt);
        attempt();
    });
}

const TIMELINE = ["Room.timeline", "Room.localEchoUpdated", "Event.decrypted", "Event.replaced", "Room.redaction", "sync"];

function findEvent(client, roomId, predicate) {
    const room = client.getRoom(roomId);
    if (!room) return undefined;
    const threads = room.getThreads().flatMap((thread) => thread.events);
    return [...room.getLiveTimeline().getEvents(), ...threads].find(predicate);
}

const seen = (client, roomId, what, predicate) =>
    until(client, TIMELINE, what, () => findEvent(client, roomId, predicate));

async function registerAndLogin(name, options = {}) {
    const anonymous = sdk.createClient({ baseUrl });
    const registered = await anonymous.registerRequest({
        username: name,
        password: PASSWORD,
        initial_device_display_name: "registration",
        auth: { type: "m.login.dummy" },
    });
    assert(registered.user_id.startsWith(`@${name}:`), "the user id is made from the name");

    const first = sdk.createClient({ baseUrl, accessToken: registered.access_token, userId: registered.user_id });
    assert((await first.whoami()).user_id === registered.user_id, "whoami knows the new user");
    await first.logout(true);
    return login(name, options);
}

/** A new device of an account, which has synced. `options` are further ones of its client. */
async function login(name, options = {}) {
    const session = await sdk.createClient({ baseUrl }).loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user: name },
        password: PASSWORD,
        initial_device_display_name: "matrix-js-sdk",
    });
    const client = sdk.createClient({
        baseUrl,
        accessToken: session.access_token,
        userId: session.user_id,
        deviceId: session.device_id,
        ...options,
    });
    await client.initRustCrypto({ useIndexedDB: false });
    await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true, threadSupport: true });
    await until(client, ["sync"], "the first sync", () => client.isInitialSyncComplete());
    return client;
}

async function joinWhenInvited(client, roomId) {
    await until(client, ["Room", "Room.myMembership", "sync"], `an invitation to ${roomId}`, () =>
        client.getRoom(roomId)?.getMyMembership() === "invite");
    await client.joinRoom(roomId);
    await until(client, ["Room.myMembership", "sync"], `having joined ${roomId}`, () =>
        client.getRoom(roomId)?.getMyMembership() === "join");
}

async function inTheClear(alice, bob) {
    const { room_id: roomId } = await alice.createRoom({
        name: "In the clear",
        topic: "What two people say",
        preset: "private_chat",
        invite: [bob.getUserId()],
    });
    await joinWhenInvited(bob, roomId);
    ok("create a room, invite, join");

    const { event_id: hello } = await alice.sendTextMessage(roomId, "hello bob");
    await seen(bob, roomId, "alice's hello", (e) => e.getId() === hello && e.getContent().body === "hello bob");
    assert(bob.getRoom(roomId).name === "In the clear", "bob sees the room's name");
    ok("send and receive");

    await bob.sendReadReceipt(findEvent(bob, roomId, (e) => e.getId() === hello));
    await until(alice, ["Room.receipt", "sync"], "bob's receipt", () =>
        alice.getRoom(roomId).getReceiptsForEvent(alice.getRoom(roomId).findEventById(hello))
            .some((receipt) => receipt.userId === bob.getUserId()));
    ok("receipt");

    await bob.sendTyping(roomId, true, 30_000);
    await until(alice, ["RoomMember.typing", "sync"], "bob typing", () =>
        alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
    await bob.sendTyping(roomId, false, 0);
    await until(alice, ["RoomMember.typing", "sync"], "bob no longer typing", () =>
        !alice.getRoom(roomId).getMember(bob.getUserId())?.typing);
    ok("typing");

    await alice.sendMessage(roomId, {
        "msgtype": "m.text",
        "body": "* hello dear bob",
        "m.new_content": { msgtype: "m.text", body: "hello dear bob" },
        "m.relates_to": { rel_type: "m.replace", event_id: hello },
    });
    await seen(bob, roomId, "the edit", (e) => e.getId() === hello && e.getContent().body === "hello dear bob");
    ok("edit");

    await bob.sendEvent(roomId, "m.reaction", {
        "m.relates_to": { rel_type: "m.annotation", event_id: hello, key: "👍" },
    });
    await seen(alice, roomId, "the reaction", (e) => e.getType() === "m.reaction" && e.getRelation()?.key === "👍");
    ok("react");

    await bob.sendMessage(roomId, hello, { msgtype: "m.text", body: "in the thread" });
    await seen(alice, roomId, "the reply in the thread", (e) => e.getContent().body === "in the thread");
    const { events: replies } = await alice.relations(roomId, hello, "m.thread", null);
    assert(replies.length === 1, `the thread has one reply, not ${replies.length}`);
    ok("reply in a thread");

    const { event_id: regretted } = await alice.sendTextMessage(roomId, "something regretted");
    await seen(bob, roomId, "what will be redacted", (e) => e.getId() === regretted);
    await alice.redactEvent(roomId, regretted);
    await seen(bob, roomId, "the redaction", (e) => e.getId() === regretted && e.isRedacted());
    ok("redact");

    await pageBack(alice, roomId);
    await exchangeImage(alice, bob, roomId);
}

async function pageBack(alice, roomId) {
    const COUNT = 60;
    for (let n = 0; n < COUNT; n++) await alice.sendNotice(roomId, `line ${n}`);
    const late = sdk.createClient({ baseUrl, accessToken: alice.getAccessToken(), userId: alice.getUserId() });
    await late.startClient({ initialSyncLimit: 5 });
    await until(late, ["sync"], "the late client's first sync", () => late.isInitialSyncComplete());
    const room = late.getRoom(roomId);
    const lines = () => room.getLiveTimeline().getEvents()
        .map((e) => e.getContent().body).filter((body) => body?.startsWith("line "));
    assert(lines().length <= 5, "the first sync is limited");
    while (room.oldState.paginationToken) await late.scrollback(room, 30);
    late.stopClient();
    const expected = Array.from({ length: COUNT }, (_, n) => `line ${n}`);
    assert(JSON.stringify(lines()) === JSON.stringify(expected), `history in order and whole: ${lines()}`);
    assert(room.getLiveTimeline().getEvents()[0].getType() === "m.room.create", "history begins with the room");
    ok("page back through history");
}

async function exchangeImage(alice, bob, roomId) {
    const { content_uri: uri } = await alice.uploadContent(PNG, { type: "image/png", name: "red.png" });
    const { event_id: image } = await alice.sendMessage(roomId, {
        msgtype: "m.image", body: "red.png", url: uri, info: { mimetype: "image/png", size: PNG.length, w: 2, h: 2 },
    });
    const event = await seen(bob, roomId, "the image", (e) => e.getId() === image);
    const download = async (...size) => {
        const url = bob.mxcUrlToHttp(event.getContent().url, ...size, ...(size.length ? [] : [undefined, undefined, undefined]), false, true, true);
        const response = await fetch(url, { headers: { Authorization: `Bearer ${bob.getAccessToken()}` } });
        assert(response.ok, `download of ${url}: ${response.status}`);
        return { type: response.headers.get("content-type"), bytes: Buffer.from(await response.arrayBuffer()) };
    };
    const whole = await download();
    assert(createHash("sha256").update(whole.bytes).digest("hex") === createHash("sha256").update(PNG).digest("hex"), "the image is unchanged");
    assert(whole.type === "image/png", `the image's type: ${whole.type}`);
    const thumbnail = await download(32, 32, "scale");
    assert(thumbnail.type.startsWith("image/") && thumbnail.bytes.length > 0, "a thumbnail is an image");
    ok("upload and fetch an image");
}

const decrypted = (client, roomId, body) => seen(client, roomId, `encrypted "${body}"`, (e) =>
    e.isEncrypted() && !e.isDecryptionFailure() && e.getContent().body === body);

const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

async function encrypted(alice, bob) {
    const { room_id: roomId } = await alice.createRoom({
        preset: "private_chat", invite: [bob.getUserId()], initial_state: [encryption],
    });
    await joinWhenInvited(bob, roomId);
    await until(alice, ["RoomState.members", "sync"], "bob in the room", () =>
        alice.getRoom(roomId)?.getMember(bob.getUserId())?.membership === "join");
    await alice.sendTextMessage(roomId, "a secret");
    await decrypted(bob, roomId, "a secret");
    await bob.sendTextMessage(roomId, "well kept");
    await decrypted(alice, roomId, "well kept");
    ok("encrypted conversation");
}

async function encryptedWithPeer(alice) {
    const { room_id: roomId } = await alice.createRoom({
        name: "Two kinds of client", preset: "private_chat", invite: [peerId], initial_state: [encryption],
    });
    await until(alice, ["RoomState.members", "sync"], `${peerId} joining`, () =>
        alice.getRoom(roomId)?.getMember(peerId)?.membership === "join");
    await alice.sendTextMessage(roomId, "js to peer");
    await decrypted(alice, roomId, "peer to js");
    ok("encrypted conversation with another SDK");
    return roomId;
}

/** Who has a new device goes on there, also with those who talked with the old one. */
async function newDevices(alice, roomId) {
    const later = await login(ownName);
    await alice.sendTextMessage(roomId, "js has a new device");
    await Promise.all([alice, later].map((device) => decrypted(device, roomId, "peer to two devices")));

    await decrypted(alice, roomId, "the peer has a new device");
    for (;;) {
        const updated = new Promise((resolve) => alice.once("crypto.devicesUpdated", resolve));
        if ((await alice.getCrypto().getUserDeviceInfo([peerId])).get(peerId)?.size === 2) break;
        await updated;
    }
    await later.sendTextMessage(roomId, "js to two devices");
    await Promise.all([alice, later].map((device) => decrypted(device, roomId, "from new device to new device")));
    ok("a new device on each side");
    return later;
}

async function publishCrossSigningKeys(alice) {
    await alice.getCrypto().bootstrapCrossSigning({
        authUploadDeviceSigningKeys: async (makeRequest) => {
            try {
                return await makeRequest(null);
            } catch (error) {
                return makeRequest({
                    type: "m.login.password",
                    identifier: { type: "m.id.user", user: alice.getUserId() },
                    password: PASSWORD,
                    session: error.data.session,
                });
            }
        },
    });
}

async function crossSigning(alice) {
    await publishCrossSigningKeys(alice);
    assert(await alice.getCrypto().userHasCrossSigningKeys(alice.getUserId(), true), "cross-signing keys are published");
    assert((await alice.getCrypto().getDeviceVerificationStatus(alice.getUserId(), alice.getDeviceId())).signedByOwner,
        "the device is signed by its owner");
    ok("cross-signing");
}

/** Somebody logs out, and reads later what was sent meanwhile: a dehydrated device has received the keys. */
async function dehydratedDevice(bob) {
    const name = `${ownName}-away`;
    let storageKey;
    const cryptoCallbacks = { getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], storageKey] };
    const before = await registerAndLogin(name, { cryptoCallbacks });
    const userId = before.getUserId();
    await publishCrossSigningKeys(before);
    await before.getCrypto().bootstrapSecretStorage({
        setupNewSecretStorage: true,
        createSecretStorageKey: async () => {
            const key = await before.getCrypto().createRecoveryKeyFromPassphrase();
            storageKey = key.privateKey;
            return key;
        },
    });
    const { room_id: roomId } = await before.createRoom({
        preset: "private_chat", invite: [bob.getUserId()], initial_state: [encryption],
    });
    await joinWhenInvited(bob, roomId);
    await before.getCrypto().startDehydration();
    before.stopClient();
    await before.logout(true);
    for (;;) {
        const updated = new Promise((resolve) => bob.once("crypto.devicesUpdated", resolve));
        const devices = (await bob.getCrypto().getUserDeviceInfo([userId], true)).get(userId);
        if (devices?.size === 1 && [...devices.values()][0].dehydrated) break;
        await updated;
    }
    await bob.sendTextMessage(roomId, "while you were away");

    const after = await login(name, { cryptoCallbacks });
    for (;;) {
        const updated = new Promise((resolve) => after.once("crypto.devicesUpdated", resolve));
        if (await after.getCrypto().userHasCrossSigningKeys(userId)) break;
        await updated;
    }
    await after.getCrypto().bootstrapCrossSigning({});
    await after.getCrypto().startDehydration();
    await decrypted(after, roomId, "while you were away");
    after.stopClient();
    await after.logout(true);
    ok("dehydrated device");
}

async function main() {
    const alice = await registerAndLogin(ownName);
    const bob = await registerAndLogin(`${ownName}-friend`);
    ok("register, log out, log in");
    await inTheClear(alice, bob);
    await encrypted(alice, bob);
    await crossSigning(alice);
    await dehydratedDevice(bob);
    const later = await newDevices(alice, await encryptedWithPeer(alice));
    for (const client of [alice, later, bob]) {
        const token = client.getAccessToken();
        client.stopClient();
        await client.logout(true);
        const response = await fetch(`${baseUrl}/_matrix/client/v3/account/whoami`, { headers: { Authorization: `Bearer ${token}` } });
        assert(response.status === 401, "a token is worth nothing after logging out");
    }
    ok("log out");
}

main().then(
    () => process.exit(0),
    (error) => {
        process.stdout.write(`not ok - ${error.stack ?? error}\n`);
        process.exit(1);
    },
);
