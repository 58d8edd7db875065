// Headless Chromium, driven by the DevTools protocol.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const STEP_TIMEOUT_MS = 60_000;

export const ok = (step) => process.stdout.write(`ok - ${step}\n`);

export function assert(condition, what) {
    if (!condition) throw new Error(what);
}

export function assertEqual(actual, expected, what) {
    const [left, right] = [actual, expected].map((value) => JSON.stringify(value));
    assert(left === right, `${what}: ${left} instead of ${right}`);
}

export const timeout = (what) =>
    new Promise((_, reject) => {
        setTimeout(() => reject(new Error(`gave up waiting for: ${what}`)), STEP_TIMEOUT_MS).unref();
    });

/** Chromium, driven by the DevTools protocol over the pipes 3 and 4; it exits when they close. */
export class Browser {
    #next = 1;
    #pending = new Map();
    #listeners = new Set();

    constructor(chromium, moreFlags = []) {
        this.folder = mkdtempSync(join(tmpdir(), "plexus-chromium-"));
        const flags = [
            "--headless", "--remote-debugging-pipe", `--user-data-dir=${this.folder}`, "--disable-gpu",
            "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-dev-shm-usage", "--proxy-server=direct://",
            // Chromium has no sandbox for root.
            ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
            ...moreFlags,
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
export class Tab {
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

/** Runs `main` with a browser, prints how it failed, and ends the program. */
export function run(browser, main) {
    main(browser)
        .catch((error) => {
            process.stdout.write(`not ok - ${error.stack ?? error}\n`);
            process.exitCode = 1;
        })
        .finally(() => browser.close())
        .then(() => process.exit());
}
