"""Two people on matrix-nio, and one of them with a stranger on another SDK, hold a whole conversation.

    python conversation.py BASE_URL OWN_NAME PEER_USER_ID

Prints "ok - STEP" for each step and exits 0 after the last one; anything unexpected is raised and exits 1.
"""

import asyncio
import base64
import io
import sys
import tempfile

from nio import (
    AsyncClient,
    AsyncClientConfig,
    Event,
    InviteMemberEvent,
    MegolmEvent,
    MessageDirection,
    ReceiptEvent,
    RedactedEvent,
    RedactionEvent,
    RoomMessageText,
    RoomPreset,
    TypingNoticeEvent,
)
from nio.responses import ErrorResponse

PASSWORD = "correct horse battery staple"
STEP_TIMEOUT = 60
# A 2x2 red PNG.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
)
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


def ok(step):
    print(f"ok - {step}", flush=True)


def good(response):
    assert not isinstance(response, ErrorResponse), f"refused: {response}"
    return response


class Person:
    """A logged-in client, syncing in the background, that remembers what it saw."""

    def __init__(self, base_url, name, store):
        config = AsyncClientConfig(store_sync_tokens=False, encryption_enabled=True)
        self.client = AsyncClient(base_url, name, store_path=store, config=config)
        self.name = name
        self.seen = []
        self.changed = asyncio.Condition()

    async def register(self):
        first = AsyncClient(self.client.homeserver, self.name)
        good(await first.register(self.name, PASSWORD, "registration"))
        assert (await first.whoami()).user_id == first.user_id
        good(await first.logout())
        await first.close()

    async def start(self):
        good(await self.client.login(PASSWORD, "matrix-nio"))
        for kind in (Event, InviteMemberEvent, MegolmEvent, RedactionEvent, RedactedEvent):
            self.client.add_event_callback(self.remember, kind)
        self.client.add_ephemeral_callback(self.remember, (ReceiptEvent, TypingNoticeEvent))
        self.client.add_response_callback(self.woke)
        self.syncing = asyncio.create_task(self.client.sync_forever(timeout=30_000, full_state=True))
        await self.until("the first sync", lambda: self.client.next_batch)

    async def remember(self, room, event):
        self.seen.append((room.room_id, event))
        await self.woke(None)

    async def woke(self, _response):
        async with self.changed:
            self.changed.notify_all()

    async def until(self, what, check):
        async def wait():
            async with self.changed:
                while not (answer := check()):
                    if self.syncing.done():
                        self.syncing.result()
                        raise AssertionError("sync ended")
                    await self.changed.wait()
                return answer

        try:
            return await asyncio.wait_for(wait(), STEP_TIMEOUT)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.name} gave up waiting for: {what}") from None

    async def sees(self, room_id, what, check):
        def find():
            return next((event for room, event in self.seen if room == room_id and check(event)), None)

        return await self.until(what, find)

    async def says(self, room_id, body, **more):
        content = {"msgtype": "m.text", "body": body, **more}
        sent = await self.client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        return good(sent).event_id

    async def joins(self, room_id):
        await self.until(f"an invitation to {room_id}", lambda: room_id in self.client.invited_rooms)
        good(await self.client.join(room_id))
        await self.until(f"having joined {room_id}", lambda: room_id in self.client.rooms)

    async def has_member(self, room_id, user_id):
        def joined():
            room = self.client.rooms.get(room_id)
            return room is not None and user_id in room.users and user_id not in room.invited_users

        await self.until(f"{user_id} in {room_id}", joined)

    async def knows_devices(self, user_id, count):
        def known():
            return sum(1 for _ in self.client.device_store.active_user_devices(user_id)) == count

        await self.until(f"{count} devices of {user_id}", known)

    async def stop(self):
        self.syncing.cancel()
        token = self.client.access_token
        good(await self.client.logout())
        async with self.client.client_session.get(
            f"{self.client.homeserver}/_matrix/client/v3/account/whoami",
            headers={"Authorization": f"Bearer {token}"},
        ) as response:
            assert response.status == 401, "a token is worth nothing after logging out"
        await self.client.close()


def source(event):
    """The event as the server sent it; ephemeral events carry none."""
    return getattr(event, "source", {})


def with_body(body):
    return lambda event: isinstance(event, RoomMessageText) and event.body == body


async def in_the_clear(carol, dave):
    created = good(
        await carol.client.room_create(
            name="In the clear", topic="What two people say", preset=RoomPreset.private_chat, invite=[dave.client.user_id]
        )
    )
    room_id = created.room_id
    await dave.joins(room_id)
    await carol.has_member(room_id, dave.client.user_id)
    ok("create a room, invite, join")

    hello = await carol.says(room_id, "hello dave")
    await dave.sees(room_id, "carol's hello", with_body("hello dave"))
    assert dave.client.rooms[room_id].display_name == "In the clear"
    ok("send and receive")

    good(await dave.client.update_receipt_marker(room_id, hello, thread_id="main"))
    await carol.sees(
        room_id,
        "dave's receipt",
        lambda event: isinstance(event, ReceiptEvent)
        and any(r.user_id == dave.client.user_id and r.event_id == hello for r in event.receipts),
    )
    ok("receipt")

    good(await dave.client.room_typing(room_id, True))
    await carol.sees(
        room_id, "dave typing", lambda event: isinstance(event, TypingNoticeEvent) and dave.client.user_id in event.users
    )
    good(await dave.client.room_typing(room_id, False))
    ok("typing")

    edit = {
        "m.new_content": {"msgtype": "m.text", "body": "hello dear dave"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": hello},
    }
    await carol.says(room_id, "* hello dear dave", **edit)
    await dave.sees(room_id, "the edit", with_body("* hello dear dave"))
    fetched = good(await dave.client.room_get_event(room_id, hello)).event.source
    replacement = fetched["unsigned"]["m.relations"]["m.replace"]
    assert replacement["content"]["m.new_content"]["body"] == "hello dear dave", fetched
    ok("edit")

    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": hello, "key": "👍"}}
    good(await dave.client.room_send(room_id, "m.reaction", reaction))
    await carol.sees(
        room_id,
        "the reaction",
        lambda event: source(event).get("type") == "m.reaction"
        and source(event)["content"]["m.relates_to"].get("key") == "👍",
    )
    ok("react")

    await dave.says(room_id, "in the thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": hello}})
    await carol.sees(room_id, "the reply in the thread", with_body("in the thread"))
    fetched = good(await carol.client.room_get_event(room_id, hello)).event.source
    thread = fetched["unsigned"]["m.relations"]["m.thread"]
    assert thread["count"] == 1 and thread["latest_event"]["content"]["body"] == "in the thread", thread
    ok("reply in a thread")

    regretted = await carol.says(room_id, "something regretted")
    await dave.sees(room_id, "what will be redacted", with_body("something regretted"))
    good(await carol.client.room_redact(room_id, regretted, "said too much"))
    await dave.sees(
        room_id, "the redaction", lambda event: isinstance(event, RedactionEvent) and event.redacts == regretted
    )
    fetched = good(await dave.client.room_get_event(room_id, regretted)).event
    assert isinstance(fetched, RedactedEvent) and fetched.reason == "said too much", fetched
    ok("redact")

    await page_back(carol, room_id)
    await exchange_image(carol, dave, room_id)


async def page_back(carol, room_id):
    count = 60
    for number in range(count):
        await carol.says(room_id, f"line {number}")
    token, events = None, []
    while True:
        page = good(await carol.client.room_messages(room_id, start=token, limit=25, direction=MessageDirection.back))
        events += page.chunk
        if not page.end:
            break
        token = page.end
    events.reverse()
    lines = [e.body for e in events if isinstance(e, RoomMessageText) and e.body.startswith("line ")]
    assert lines == [f"line {number}" for number in range(count)], lines
    assert events[0].source["type"] == "m.room.create", events[0]
    ok("page back through history")


async def exchange_image(carol, dave, room_id):
    uploaded, _ = await carol.client.upload(
        lambda _a, _b: io.BytesIO(PNG), content_type="image/png", filename="red.png", filesize=len(PNG)
    )
    uri = good(uploaded).content_uri
    info = {"mimetype": "image/png", "size": len(PNG), "w": 2, "h": 2}
    content = {"msgtype": "m.image", "body": "red.png", "url": uri, "info": info}
    good(await carol.client.room_send(room_id, "m.room.message", content))
    image = await dave.sees(room_id, "the image", lambda event: source(event).get("content", {}).get("msgtype") == "m.image")
    whole = good(await dave.client.download(mxc=image.url))
    assert whole.body == PNG and whole.content_type == "image/png", "the image is unchanged"
    server_name, media_id = uri.removeprefix("mxc://").split("/")
    thumbnail = good(await dave.client.thumbnail(server_name, media_id, 32, 32))
    assert thumbnail.content_type.startswith("image/") and thumbnail.body
    ok("upload and fetch an image")


async def encrypted(carol, dave):
    created = await carol.client.room_create(
        preset=RoomPreset.private_chat, invite=[dave.client.user_id], initial_state=[ENCRYPTION]
    )
    room_id = good(created).room_id
    await dave.joins(room_id)
    await carol.has_member(room_id, dave.client.user_id)
    await dave.has_member(room_id, carol.client.user_id)
    await carol.says(room_id, "a secret")
    secret = await dave.sees(room_id, "the secret", with_body("a secret"))
    assert secret.decrypted, "the secret was encrypted"
    await dave.says(room_id, "well kept")
    await carol.sees(room_id, "the answer", with_body("well kept"))
    ok("encrypted conversation")


async def encrypted_with_peer(carol, peer_id):
    def invited():
        rooms = carol.client.invited_rooms.values()
        return next((room.room_id for room in rooms if room.inviter == peer_id), None)

    room_id = await carol.until(f"an invitation from {peer_id}", invited)
    await carol.joins(room_id)
    await carol.has_member(room_id, peer_id)
    secret = await carol.sees(room_id, "the peer's secret", with_body("js to peer"))
    assert secret.decrypted, "the peer's secret was encrypted"
    await carol.says(room_id, "peer to js")
    ok("encrypted conversation with another SDK")
    return room_id


async def new_devices(carol, later, room_id, peer_id):
    await carol.sees(room_id, "word of a new device", with_body("js has a new device"))
    await carol.knows_devices(peer_id, 2)
    await carol.says(room_id, "peer to two devices")

    await later.start()
    await later.has_member(room_id, peer_id)
    await later.knows_devices(peer_id, 2)
    await carol.says(room_id, "the peer has a new device")
    for device in (carol, later):
        secret = await device.sees(room_id, "what is for both devices", with_body("js to two devices"))
        assert secret.decrypted, "it was encrypted"
    await later.says(room_id, "from new device to new device")
    ok("a new device on each side")


async def main():
    base_url, own_name, peer_id = sys.argv[1:]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, tempfile.TemporaryDirectory() as new:
        carol, later = Person(base_url, own_name, one), Person(base_url, own_name, new)
        dave = Person(base_url, f"{own_name}-friend", other)
        for person in (carol, dave):
            await person.register()
            await person.start()
        ok("register, log out, log in")
        await in_the_clear(carol, dave)
        await encrypted(carol, dave)
        room_id = await encrypted_with_peer(carol, peer_id)
        await new_devices(carol, later, room_id, peer_id)
        for person in (carol, later, dave):
            await person.stop()
        ok("log out")


asyncio.run(main())
