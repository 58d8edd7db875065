// A client as Element Call, a widget, sees it: it does for the widget what a Matrix client does. What it needs to know
// is in the fragment of the page's address, as JSON.
const { baseUrl, token, userId, deviceId, roomId } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const { ClientWidgetApi, OpenIDRequestState, Widget, WidgetDriver } = globalThis.mxwidgets;
const DELAYED = "org.matrix.msc4140";
const STICKY = "org.matrix.msc4354";

async function call(method, path, body) {
    const response = await fetch(`${baseUrl}/_matrix/client/${path}`, {
        method,
        headers: { Authorization: `Bearer ${token}` },
        body: body && JSON.stringify(body),
    });
    const result = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(result)}`);
    return result;
}

const room = (rest) => `v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
const transaction = () => crypto.randomUUID();

class Driver extends WidgetDriver {
    async validateCapabilities(requested) {
        return requested;
    }

    async #send(eventType, content, stateKey, query) {
        const type = encodeURIComponent(eventType);
        const path = stateKey === null || stateKey === undefined
            ? room(`send/${type}/${transaction()}`)
            : room(`state/${type}/${encodeURIComponent(stateKey)}`);
        return call("PUT", `${path}?${new URLSearchParams(query)}`, content);
    }

    async sendEvent(eventType, content, stateKey = null) {
        const { event_id: eventId } = await this.#send(eventType, content, stateKey, {});
        return { roomId, eventId };
    }

    async sendStickyEvent(durationMs, eventType, content) {
        const query = { [`${STICKY}.sticky_duration_ms`]: durationMs };
        const { event_id: eventId } = await this.#send(eventType, content, null, query);
        return { roomId, eventId };
    }

    async sendDelayedEvent(delay, eventType, content, stateKey = null) {
        const { delay_id: delayId } = await this.#send(eventType, content, stateKey, { [`${DELAYED}.delay`]: delay });
        return { roomId, delayId };
    }

    async sendDelayedStickyEvent(delay, durationMs, eventType, content) {
        const query = { [`${DELAYED}.delay`]: delay, [`${STICKY}.sticky_duration_ms`]: durationMs };
        const { delay_id: delayId } = await this.#send(eventType, content, null, query);
        return { roomId, delayId };
    }

    async #update(delayId, action) {
        await call("POST", `unstable/${DELAYED}/delayed_events/${delayId}`, { action });
    }

    cancelScheduledDelayedEvent(delayId) {
        return this.#update(delayId, "cancel");
    }

    restartScheduledDelayedEvent(delayId) {
        return this.#update(delayId, "restart");
    }

    sendScheduledDelayedEvent(delayId) {
        return this.#update(delayId, "send");
    }

    async sendToDevice(eventType, encrypted, messages) {
        await call("PUT", `v3/sendToDevice/${encodeURIComponent(eventType)}/${transaction()}`, { messages });
    }

    async readRoomTimeline(_room, eventType, _msgtype, _stateKey, limit) {
        const filter = JSON.stringify({ types: [eventType] });
        const query = new URLSearchParams({ dir: "b", limit: limit || 50, filter });
        const { chunk } = await call("GET", room(`messages?${query}`));
        return chunk;
    }

    async readRoomState(_room, eventType, stateKey) {
        const state = await call("GET", room("state"));
        return state.filter((it) => it.type === eventType && (stateKey === undefined || it.state_key === stateKey));
    }

    async readStickyEvents() {
        const { rooms } = await call("GET", "v3/sync?timeout=0");
        return rooms?.join?.[roomId]?.msc4354_sticky?.events ?? [];
    }

    askOpenID(observer) {
        call("POST", `v3/user/${encodeURIComponent(userId)}/openid/request_token`, {})
            .then((credentials) => observer.update({ state: OpenIDRequestState.Allowed, token: credentials }));
    }

    async getRtcTransports() {
        const found = await call("GET", "unstable/org.matrix.msc4143/rtc/transports");
        window.transports = found.rtc_transports;
        return found;
    }

    getKnownRooms() {
        return [roomId];
    }

    async *getTurnServers() {}
}

const parameters = new URLSearchParams({
    widgetId: "call", parentUrl: location.origin, roomId, userId, deviceId, baseUrl, lang: "en", theme: "light",
    perParticipantE2EE: "false", confineToRoom: "true", appPrompt: "false", intent: "start_call", skipLobby: "true",
    hideHeader: "true", preload: "false", displayName: userId,
});
const frame = document.getElementById("call");
const url = `${location.origin}/call/index.html#?${parameters}`;
const widget = new Widget({ id: "call", creatorUserId: userId, type: "m.custom", url, waitForIframeLoad: false });
const api = new ClientWidgetApi(widget, frame, new Driver());
api.setViewedRoomId(roomId);
for (const action of ["io.element.join", "im.vector.hangup", "io.element.close", "io.element.device_mute"]) {
    api.on(`action:${action}`, (event) => {
        event.preventDefault();
        api.transport.reply(event.detail, {});
    });
}
api.once("ready", async () => {
    let since = undefined;
    for (;;) {
        const query = new URLSearchParams({ timeout: since ? 20_000 : 0, ...(since && { since }) });
        const { next_batch: next, rooms, to_device: toDevice } = await call("GET", `v3/sync?${query}`);
        const joined = rooms?.join?.[roomId];
        const stateEvents = [...(joined?.state?.events ?? []), ...(joined?.timeline?.events ?? [])];
        for (const event of stateEvents) {
            event.room_id = roomId;
            if (event.state_key !== undefined) await api.feedStateUpdate(event).catch(() => {});
            if (since) await api.feedEvent(event).catch(() => {});
        }
        for (const event of joined?.msc4354_sticky?.events ?? []) {
            await api.feedEvent({ ...event, room_id: roomId }).catch(() => {});
        }
        for (const message of toDevice?.events ?? []) await api.feedToDevice(message, false).catch(() => {});
        since = next;
    }
});
frame.src = url;
