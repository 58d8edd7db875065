"use strict";
// The client around this page replaces onLogin; the other names are those that clients know from Synapse's page.
const matrixLogin = (window.matrixLogin = {
    endpoint: location.origin + "/_matrix/client/v3/login",
    serverAcceptsPassword: false,
    serverAcceptsSso: false,
    onLogin(response) {
        say("You are logged in as " + response.user_id + ". You may close this page.");
    },
    passwordLogin() {
        const user = document.getElementById("user_id").value;
        const password = document.getElementById("password").value;
        return logIn({ type: "m.login.password", identifier: { type: "m.id.user", user }, password });
    },
    onLoad: start,
});

function say(text) {
    document.getElementById("feedback").textContent = text;
}

function show(visible) {
    document.getElementById("password_flow").hidden = !visible;
}

async function ask(options) {
    const response = await fetch(matrixLogin.endpoint, options).catch(() => {
        throw new Error("The server cannot be reached.");
    });
    // While the server is down, a reverse proxy answers with a page.
    const body = await response.json().catch(() => null);
    if (!response.ok || !body) {
        throw new Error((body && body.error) || "The server answered " + response.status + ".");
    }
    return body;
}

async function logIn(request) {
    const query = new URLSearchParams(location.search);
    for (const name of ["device_id", "initial_device_display_name"]) {
        if (query.get(name)) {
            request[name] = query.get(name);
        }
    }
    say("Logging in...");
    show(false);
    let response;
    try {
        response = await ask({ method: "POST", body: JSON.stringify(request) });
    } catch (error) {
        say(error.message);
        show(matrixLogin.serverAcceptsPassword);
        return;
    }
    say("");
    matrixLogin.onLogin(response);
}

async function start() {
    let flows;
    try {
        flows = (await ask({})).flows.map((flow) => flow.type);
    } catch (error) {
        say(error.message);
        return;
    }
    matrixLogin.serverAcceptsPassword = flows.includes("m.login.password");
    const token = new URLSearchParams(location.search).get("loginToken");
    if (token) {
        await logIn({ type: "m.login.token", token });
    } else if (matrixLogin.serverAcceptsPassword) {
        show(true);
    } else {
        say("Nobody can log in on this page: the server does not take passwords.");
    }
}

document.getElementById("password_flow").addEventListener("submit", (event) => {
    event.preventDefault();
    matrixLogin.passwordLogin();
});
start();
