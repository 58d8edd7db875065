// A person and the apps that show it log in on the page /_matrix/static/client/login/, in headless Chromium.
//
//   node login_fallback.mjs CHROMIUM BASE_URL USER PASSWORD BASE_URL_WITHOUT_PASSWORDS
//
// Prints "ok - STEP" for each step and exits 0 after the last one; a failure is printed and exits 1. With
// SCREENSHOTS=FOLDER in the environment, screenshots of the page are written there.
import { Browser, Tab, assert, assertEqual, ok, run } from "./chromium.mjs";

const [chromium, baseUrl, user, password, passwordlessUrl] = process.argv.slice(2);
const PAGE = "/_matrix/static/client/login/";
const DESKTOP = { width: 1024, height: 768, deviceScaleFactor: 1, mobile: false };
const PHONE = { width: 320, height: 568, deviceScaleFactor: 2, mobile: true };

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

run(new Browser(chromium), main);
