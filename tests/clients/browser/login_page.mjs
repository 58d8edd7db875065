// A person and the apps that show it log in on the page /_matrix/static/client/login/, in headless Chromium.
//
//   node login_page.mjs CHROMIUM BASE_URL USER PASSWORD BASE_URL_WITHOUT_PASSWORDS
//
// Prints "ok - STEP" for each step and exits 0 after the last one; a failure is printed and exits 1. With
// SCREENSHOTS=FOLDER in the environment, screenshots of the page are written there.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [chromium, baseUrl, user, password, passwordlessUrl] = process.argv.slice(2);
const PAGE = "/_matrix/static/client/login/";
const STEP_TIMEOUT_MS = 60_000;
const DESKTOP = { width: 1024, height: 768, deviceScaleFactor: 1, mobile: false };
const PHONE = { width: 320, height: 568, deviceScaleFactor: 2, mobile: true };

const ok = (step) => process.stdout.write(`ok - ${step}\n`);

function assert(condition, what) {
    if (!condition) throw new Error(what);
}

function assertEqual(actual, expected, what) {
    const [left, right] = [actual, expected].map((value) => JSON.stringify(value));
    assert(left === right, `${what}: ${left} instead of ${right}`);
}

const timeout = (what) =>
    new Promise((_, reject) => {
        setTimeout(() => reject(new Error(`gave up waiting for: ${what}`)), STEP_TIMEOUT_MS).unref();
    });

/** Chromium, driven by the DevTools protocol over the pipes 3 and 4; it exits when they close. */
class Browser {
    #next = 1;
    #pending = new Map();
    #listeners = new Set();

    constructor() {
        this.folder = mkdtempSync(join(tmpdir(), "plexus-chromium-"));
        const flags = [
            "--headless", "--remote-debugging-pipe", `--user-data-dir=${this.folder}`, "--disable-gpu",
            "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", "--proxy-server=direct://",
            // Chromium has no sandbox for root.
            ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
        ];
        this.process = spawn(chromium, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
        this.gone = new Promise((_, reject) => {
            this.process.on("error", reject);
            this.process.on("exit", (code, signal) => reject(new Error(`Chromium ended: ${code ?? signal}`)));
        });
        this.gone.catch(() => {});
        let text = "";
        this.process.stdio[4].setEncoding("utf8").on("data", (piece) => {
            const messages = (text + piece).split("\0");
            text = messages.pop();
            messages.forEach((message) => this.#receive(JSON.parse(message)));
        });
    }

    #receive({ id, result, error, method, params, sessionId }) {
        if (id === undefined) {
            this.#listeners.forEach((listener) => listener(method, params, sessionId));
            return;
        }
        const { resolve, reject, command } = this.#pending.get(id);
        this.#pending.delete(id);
        if (error) reject(new Error(`${command}: ${error.message}`));
        else resolve(result);
    }

    send(command, params = {}, sessionId = undefined) {
        const id = this.#next++;
        this.process.stdio[3].write(JSON.stringify({ id, method: command, params, sessionId }) + "\0");
        const reply = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, command }));
        return Promise.race([reply, this.gone, timeout(command)]);
    }

    listen(listener) {
        this.#listeners.add(listener);
    }

    async close() {
        this.process.kill();
        await this.gone.catch(() => {});
        // Its helpers may write for a moment longer, also while the folder is being removed.
        for (let left = 100; ; left--) {
            try {
                return rmSync(this.folder, { recursive: true, force: true });
            } catch (error) {
                if (left === 0) throw error;
                await sleep(100);
            }
        }
    }
}

/** A tab. `errors` are its uncaught exceptions and what the content security policy blocked. */
class Tab {
    errors = [];
    #loaded = () => {};

    static async open(browser, screen) {
        const tab = new Tab();
        const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
        const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
        tab.send = (command, params) => browser.send(command, params, sessionId);
        browser.listen((method, params, session) => session === sessionId && tab.#notice(method, params));
        for (const domain of ["Page", "Runtime", "Log"]) await tab.send(`${domain}.enable`);
        await tab.send("Emulation.setDeviceMetricsOverride", screen);
        return tab;
    }

    /** Answers the page's API requests with `answer`, a command of the domain Fetch, in the server's place. */
    async intercept(answer) {
        this.intercepted = (request) => this.send(answer.command, { requestId: request.requestId, ...answer.params });
        await this.send("Fetch.enable", { patterns: [{ urlPattern: "*/_matrix/client/*" }] });
    }

    #notice(method, params) {
        if (method === "Fetch.requestPaused") this.intercepted(params);
        if (method === "Page.loadEventFired") this.#loaded();
        if (method === "Runtime.exceptionThrown") this.errors.push(JSON.stringify(params.exceptionDetails));
        // Refused requests are reported under "network".
        if (method === "Log.entryAdded" && params.entry.level === "error" && params.entry.source !== "network") {
            this.errors.push(params.entry.text);
        }
    }

    async go(url) {
        const loaded = new Promise((resolve) => (this.#loaded = resolve));
        const { errorText } = await this.send("Page.navigate", { url });
        assert(!errorText, `${url}: ${errorText}`);
        await Promise.race([loaded, timeout(url)]);
    }

    /** Returns the value of an expression; waits for it if it is a promise. */
    async evaluate(expression) {
        const params = { expression, awaitPromise: true, returnByValue: true };
        const { result, exceptionDetails } = await this.send("Runtime.evaluate", params);
        assert(!exceptionDetails, `${expression}: ${JSON.stringify(exceptionDetails)}`);
        return result.value;
    }

    /** Resolves when the expression is true. */
    async until(expression) {
        const asked = `new Promise((resolve) => {
            const ask = () => (${expression}) ? resolve(true) : setTimeout(ask, 10);
            ask();
        })`;
        return this.evaluate(asked).catch(async (error) => {
            const text = await this.evaluate("document.body.innerText");
            throw new Error(`${expression}: ${error.message}; the page says: ${text}`);
        });
    }

    /** Clicks in the middle of an element; what lies over it gets the click. */
    async click(selector) {
        const { x, y } = await this.evaluate(`(() => {
            const box = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect();
            return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
        })()`);
        for (const type of ["mousePressed", "mouseReleased"]) {
            await this.send("Input.dispatchMouseEvent", { type, x, y, button: "left", clickCount: 1 });
        }
    }

    async write(selector, text) {
        await this.click(selector);
        await this.evaluate(`document.querySelector(${JSON.stringify(selector)}).select()`);
        await this.send("Input.insertText", { text });
    }

    async pressEnter() {
        const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
        for (const type of ["keyDown", "keyUp"]) await this.send("Input.dispatchKeyEvent", { type, ...key });
    }

    async picture(name) {
        if (!process.env.SCREENSHOTS) return;
        const { data } = await this.send("Page.captureScreenshot");
        writeFileSync(join(process.env.SCREENSHOTS, `${name}.png`), Buffer.from(data, "base64"));
    }

    assertNoErrors() {
        assertEqual(this.errors, [], "errors in the page");
    }
}

const FORM_SHOWN = "document.querySelector('button')?.getClientRects().length > 0";
const said = (text) => `document.getElementById("feedback").textContent.includes(${JSON.stringify(text)})`;

async function fillIn(tab, secret) {
    await tab.until(FORM_SHOWN);
    await tab.write("#user_id", user);
    await tab.write("#password", secret);
}

/** Calls the client-server API as whoever has the access token. */
async function call(accessToken, path, options = {}) {
    const headers = { Authorization: `Bearer ${accessToken}` };
    const response = await fetch(`${baseUrl}/_matrix/client/${path}`, { headers, ...options });
    return response.json();
}

async function withoutClient(tab) {
    await tab.go(baseUrl + PAGE);
    await fillIn(tab, "wrong");
    await tab.picture("form");
    await tab.click("button");
    await tab.until(said("Invalid username or password"));
    await tab.until(FORM_SHOWN);
    await tab.picture("wrong-password");
    ok("a wrong password is said, and the form stays");

    await fillIn(tab, password);
    await tab.pressEnter();
    await tab.until(said(`You are logged in as @${user}:`));
    assert(!(await tab.evaluate(FORM_SHOWN)), "the form is gone after the login");
    await tab.picture("logged-in");
    ok("a password logs in");
}

/** matrix-ios-sdk and others replace `onLogin` and name the device in the page's address. */
async function withCallback(tab) {
    await tab.go(`${baseUrl}${PAGE}?device_id=FALLBACK&initial_device_display_name=The%20old%20phone`);
    await tab.evaluate("window.matrixLogin.onLogin = (response) => { window.credentials = response; }");
    await fillIn(tab, password);
    await tab.click("button");
    await tab.until("window.credentials");
    const { access_token: token, device_id: device, user_id: name } = await tab.evaluate("window.credentials");
    assertEqual(device, "FALLBACK", "the device in the response");
    const { user_id: owner, device_id: ownDevice } = await call(token, "v3/account/whoami");
    assertEqual([owner, ownDevice], [name, device], "whose token it is");
    const { display_name: displayName } = await call(token, `v3/devices/${device}`);
    assertEqual(displayName, "The old phone", "the device's name");
    ok("the client's callback gets the response, for the device it named");
    return token;
}

/** Early Android clients send the response to the app as the address of a frame. */
async function withFrame(browser, screen) {
    const tab = await Tab.open(browser, screen);
    await tab.go(baseUrl + PAGE);
    await tab.evaluate(`window.matrixLogin.onLogin = (response) => {
        const frame = document.createElement("iframe");
        document.addEventListener("securitypolicyviolation", (event) => { window.blocked = event.blockedURI; });
        frame.setAttribute("src", "js:" + JSON.stringify({ action: "onLogin", credentials: response }));
        document.documentElement.appendChild(frame);
        setTimeout(() => { window.framed = true; }, 0);
    }`);
    await fillIn(tab, password);
    await tab.click("button");
    await tab.until("window.framed");
    assertEqual(await tab.evaluate("window.blocked ?? null"), null, "the blocked frame");
    ok("the policy lets a frame carry the response");
}

async function withLoginToken(tab, accessToken) {
    const getToken = (body) => call(accessToken, "v1/login/get_token", { method: "POST", body: JSON.stringify(body) });
    const { session } = await getToken({});
    const identifier = { type: "m.id.user", user };
    const auth = { type: "m.login.password", identifier, password, session };
    const { login_token: token } = await getToken({ auth });
    assert(token, "the server gives a login token");
    await tab.go(`${baseUrl}${PAGE}?loginToken=${token}`);
    await tab.until(said(`You are logged in as @${user}:`));
    await tab.go(`${baseUrl}${PAGE}?loginToken=${token}`);
    await tab.until(said("token"));
    await tab.until(FORM_SHOWN);
    ok("a login token logs in, once");
}

async function withoutPasswords(tab) {
    await tab.go(passwordlessUrl + PAGE);
    await tab.until(said("does not take passwords"));
    assert(!(await tab.evaluate(FORM_SHOWN)), "no form is shown");
    await tab.picture("without-passwords");
    ok("a server without passwords says so");
}

/** While the server is down: a reverse proxy's error page, then no answer at all. */
async function outOfOrder(tab) {
    await tab.go(baseUrl + PAGE);
    await fillIn(tab, password);
    const proxyError = { responseCode: 502, body: Buffer.from("<html>Bad Gateway</html>").toString("base64") };
    await tab.intercept({ command: "Fetch.fulfillRequest", params: proxyError });
    await tab.click("button");
    await tab.until(said("The server answered 502"));
    await tab.intercept({ command: "Fetch.failRequest", params: { errorReason: "ConnectionRefused" } });
    await tab.until(FORM_SHOWN);
    await tab.click("button");
    await tab.until(said("The server cannot be reached"));
    await tab.send("Fetch.disable");
    await tab.until(FORM_SHOWN);
    await tab.click("button");
    await tab.until(said(`You are logged in as @${user}:`));
    ok("a server that is down is said, and the form stays");
}

async function onPhone(browser) {
    const tab = await Tab.open(browser, PHONE);
    await tab.go(baseUrl + PAGE);
    await fillIn(tab, password);
    await tab.picture("phone");
    const { wide, inner, outside } = await tab.evaluate(`({
        wide: document.documentElement.scrollWidth,
        inner: window.innerWidth,
        outside: [...document.querySelectorAll("h1, input, button")].filter((element) => {
            const box = element.getBoundingClientRect();
            return box.left < 0 || box.right > ${PHONE.width} || box.bottom > ${PHONE.height};
        }).map((element) => element.outerHTML),
    })`);
    assertEqual([wide, inner], [PHONE.width, PHONE.width], "the page is as wide as the screen");
    assertEqual(outside, [], "what lies outside of the screen");
    await tab.click("button");
    await tab.until(said(`You are logged in as @${user}:`));
    tab.assertNoErrors();
    ok("the page fits a narrow screen");
}

/** Nothing injected into the page runs, and nothing is sent to other servers. */
async function policy(browser) {
    const tab = await Tab.open(browser, DESKTOP);
    await tab.go(baseUrl + PAGE);
    await tab.until(FORM_SHOWN);
    const blocked = await tab.evaluate(`new Promise((resolve) => {
        const violations = new Set();
        document.addEventListener("securitypolicyviolation", (event) => {
            violations.add(event.effectiveDirective);
            if (violations.size === 3) resolve([...violations].sort());
        });
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        const image = document.createElement("img");
        image.src = "http://127.0.0.1:1/";
        document.body.append(image);
        fetch("http://127.0.0.1:1/").catch(() => {});
    })`);
    assertEqual(blocked, ["connect-src", "img-src", "script-src-elem"], "what the policy blocked");
    assertEqual(await tab.evaluate("window.ran ?? null"), null, "an injected script ran");
    ok("the content security policy holds");
}

async function main(browser) {
    const tab = await Tab.open(browser, DESKTOP);
    await withoutClient(tab);
    const token = await withCallback(tab);
    await withLoginToken(tab, token);
    await withoutPasswords(tab);
    await outOfOrder(tab);
    tab.assertNoErrors();
    ok("no errors in the page");
    await withFrame(browser, DESKTOP);
    await onPhone(browser);
    await policy(browser);
}

const browser = new Browser();
main(browser)
    .catch((error) => {
        process.stdout.write(`not ok - ${error.stack ?? error}\n`);
        process.exitCode = 1;
    })
    .finally(() => browser.close())
    .then(() => process.exit());
