// Element Call, unmodified, in headless Chromium, in a client of its own: `host.html`. Without an SFU: what it does
// at the homeserver.
//
//   node call.mjs CHROMIUM BASE_URL PORT CALLER WATCHER
//
// PORT is where BASE_URL's `matrix_rtc` says that the SFU's authorization service listens, on 127.0.0.1. The password
// of `alice` is "password of alice". Prints "ok - STEP" for each step and exits 0 after the last one; a failure is printed
// and exits 1. With SCREENSHOTS=FOLDER in the environment, screenshots are written there.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Browser, Tab, assert, assertEqual, ok, run } from "../browser/chromium.mjs";

const [chromium, baseUrl, port, caller, watcher] = process.argv.slice(2);
const OWN = `http://127.0.0.1:${port}`;
const PATIENCE_MS = 60_000;
/** Within the limit on requests about delayed events. */
const ASK_INTERVAL_MS = 1_000;
/** Element Call's configuration: soon after a caller is gone the homeserver is to say so. */
const LEAVE = { delay_ms: 5_000, restart_ms: 1_000 };
const SCREEN = { width: 1024, height: 768, deviceScaleFactor: 1, mobile: false };
const FOLDERS = {
    "/call/": "node_modules/@element-hq/element-call-embedded/dist/",
    "/matrix-widget-api/": "node_modules/matrix-widget-api/",
    "/": "",
};
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json" };
/** The ways in which Element Call announces who takes part: by a state event, by a sticky event. */
const MODES = {
    compatibility: "org.matrix.msc3401.call.member",
    matrix_2_0: "org.matrix.msc4143.rtc.member",
};

/** The mode of the page that is loaded next. */
let mode;
/** Whom the homeserver has named to the authorization service. */
const authorized = [];

async function api(token, method, path, body) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch(`${baseUrl}/_matrix/${path}`, { method, headers, body: body && JSON.stringify(body) });
    const result = await response.json();
    assert(response.ok, `${method} ${path}: ${response.status} ${JSON.stringify(result)}`);
    return result;
}

/** As the SFU's authorization service: lets in whom the homeserver names. There is no SFU behind it. */
async function authorize(request) {
    let text = "";
    for await (const piece of request) text += piece;
    const openId = JSON.parse(text).openid_token;
    const query = new URLSearchParams({ access_token: openId.access_token });
    const { sub } = await api(undefined, "GET", `federation/v1/openid/userinfo?${query}`);
    authorized.push(sub);
    const part = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");
    const grant = { sub, exp: 4_102_444_800, video: { roomJoin: true } };
    const jwt = [part({ alg: "HS256", typ: "JWT" }), part(grant), "none"].join(".");
    return { url: `ws://127.0.0.1:${port}/sfu`, jwt };
}

async function serve(request, response) {
    const path = normalize(new URL(request.url, OWN).pathname);
    const json = (body) => response.writeHead(200, { "Content-Type": TYPES[".json"] }).end(JSON.stringify(body));
    if (["/livekit/sfu/get", "/livekit/get_token"].includes(path)) return json(await authorize(request));
    if (path === "/call/config.json") {
        return json({ matrix_rtc_mode: mode, matrix_rtc_session: { delayed_leave: LEAVE } });
    }
    const prefix = Object.keys(FOLDERS).find((it) => path.startsWith(it));
    const file = join(import.meta.dirname, FOLDERS[prefix], path.slice(prefix.length));
    const body = await readFile(file).catch(() => undefined);
    if (body === undefined) return response.writeHead(404).end();
    return response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body);
}

async function logIn(user) {
    const [identifier, password] = [{ type: "m.id.user", user }, `password of ${user}`];
    return api(undefined, "POST", "client/v3/login", { type: "m.login.password", identifier, password });
}

/** Resolves to the first value of `ask` that is not undefined. */
async function until(what, ask) {
    for (const start = Date.now(); Date.now() < start + PATIENCE_MS; await sleep(ASK_INTERVAL_MS)) {
        const value = await ask();
        if (value !== undefined) return value;
    }
    throw new Error(`gave up waiting for: ${what}`);
}

/** A room with both users, in which everybody may take part in calls. */
async function makeRoom(alice, bob) {
    const events = { [MODES.compatibility]: 0 };
    const room = { preset: "public_chat", power_level_content_override: { events } };
    const { room_id: roomId } = await api(alice.access_token, "POST", "client/v3/createRoom", room);
    await api(bob.access_token, "POST", `client/v3/join/${encodeURIComponent(roomId)}`, {});
    return roomId;
}

/** Returns whether the caller takes part in a call, as the other user sees it. */
async function takesPart(bob, roomId) {
    const { rooms } = await api(bob.access_token, "GET", "client/v3/sync?timeout=0");
    const { state, timeline, msc4354_sticky: sticky } = rooms.join[roomId];
    const events = [...state.events, ...(sticky?.events ?? []), ...timeline.events];
    const last = events.filter((event) => event.type === MODES[mode]).at(-1);
    return Boolean(last?.content.application);
}

/** Returns the caller's scheduled leave, if there is one. */
async function scheduledLeave(alice) {
    const { delayed_events: events } =
        await api(alice.access_token, "GET", "client/unstable/org.matrix.msc4140/delayed_events");
    return events.find((event) => event.type === MODES[mode] && !event.finalised);
}

async function call(tab, alice, bob, roomId) {
    const { access_token: token, user_id: userId, device_id: deviceId } = alice;
    const parameters = encodeURIComponent(JSON.stringify({ baseUrl, token, userId, deviceId, roomId }));
    await tab.go("about:blank");
    await tab.go(`${OWN}/host.html#${parameters}`);
    await tab.until("window.transports");
    const urls = await tab.evaluate("window.transports.map((transport) => transport.livekit_service_url)");
    assertEqual(urls, [`${OWN}/livekit`], "the transports");
    await until("the member", async () => (await takesPart(bob, roomId)) || undefined);
    const { running_since: since } = await until("the delayed leave", () => scheduledLeave(alice));
    return since;
}

async function inMode(browser, alice, bob, name) {
    mode = name;
    const tab = await Tab.open(browser, SCREEN);
    const roomId = await makeRoom(alice, bob);
    const since = await call(tab, alice, bob, roomId);
    assertEqual(authorized.pop(), alice.user_id, "the user of the OpenID token");
    ok(`${name}: the caller is announced, and the leave is scheduled`);

    await until("a restart", async () => (await scheduledLeave(alice))?.running_since > since || undefined);
    await tab.picture(`call-${name}`);
    ok(`${name}: the leave is restarted`);

    const widget = "document.getElementById('call').contentDocument";
    await tab.evaluate(`${widget}.querySelector("[data-testid=incall_leave]").click()`);
    await until("the leave", async () => !(await takesPart(bob, roomId)) || undefined);
    await until("the end of the delayed leave", async () => !(await scheduledLeave(alice)) || undefined);
    ok(`${name}: the caller hangs up`);

    await call(tab, alice, bob, roomId);
    // The client loses its connection, and so does the widget.
    await tab.evaluate("window.fetch = () => new Promise(() => {})");
    await until("the leave", async () => !(await takesPart(bob, roomId)) || undefined);
    ok(`${name}: the homeserver sends the leave of a caller who is gone`);
}

async function main(browser) {
    const server = createServer((request, response) => {
        serve(request, response).catch((error) => response.writeHead(500).end(String(error)));
    });
    await new Promise((resolve, reject) => server.on("error", reject).listen(Number(port), "127.0.0.1", resolve));
    const [alice, bob] = [await logIn(caller), await logIn(watcher)];
    for (const name of Object.keys(MODES)) await inMode(browser, alice, bob, name);
}

const devices = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];
run(new Browser(chromium, devices), main);
