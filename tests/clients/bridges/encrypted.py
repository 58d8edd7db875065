"""The encryption of bridges that use mautrix-python: their bot and a user talk in an encrypted room.

The bot gets all that it needs in transactions (MSC2409, MSC3202) and has a device without logging in (MSC4190). The user
is a client of the same library, which syncs.

Usage: encrypted.py HOMESERVER SERVER_NAME PORT
"""

import asyncio
import sys
import tempfile
import types
from pathlib import Path

from mautrix.api import HTTPAPI, Method
from mautrix.api import Path as ApiPath
from mautrix.appservice import AppService
from mautrix.appservice.state_store.asyncpg import PgASStateStore
from mautrix.bridge.e2ee import EncryptionManager
from mautrix.client import Client
from mautrix.client.state_store import MemoryStateStore
from mautrix.crypto import MemoryCryptoStore, OlmMachine
from mautrix.types import (
    EncryptionAlgorithm,
    EventType,
    Membership,
    MessageType,
    RoomEncryptionStateEventContent,
    TextMessageEventContent,
)
from mautrix.util.async_db import Database

# How long one step may take, in seconds.
PATIENCE = 60


class RoomsOfUser(MemoryStateStore):
    """What the user's client knows of rooms."""

    async def find_shared_rooms(self, user_id):
        return [room for room, members in self.members.items() if user_id in members]


def ok(step):
    print(f"ok - {step}", flush=True)


def text(body):
    return TextMessageEventContent(msgtype=MessageType.TEXT, body=body)


async def within(awaitable):
    return await asyncio.wait_for(awaitable, PATIENCE)


class Bot:
    """An application service whose own user has a device."""

    def __init__(self, homeserver, server_name, folder):
        self.url = f"sqlite:{folder / 'bridge.db'}"
        self.db = Database.create(self.url, upgrade_table=PgASStateStore.upgrade_table)
        self.state = PgASStateStore(self.db)
        self.service = AppService(
            server=homeserver,
            domain=server_name,
            id="enc",
            as_token="from-enc",
            hs_token="to-enc",
            bot_localpart="encbot",
            state_store=self.state,
            ephemeral_events=True,
            encryption_events=True,
        )
        self.service.matrix_event_handler(self.on_event)
        self.joined = asyncio.Event()
        self.received = asyncio.Queue()
        self.failures = []
        config = {
            "bridge.encryption.verification_levels": {"send": "unverified", "share": "unverified", "receive": "unverified"},
            "bridge.encryption.allow_key_sharing": True,
            "bridge.encryption.appservice": True,
            "bridge.encryption.msc4190": True,
            "bridge.encryption.delete_keys": {},
            "bridge.encryption.rotation.disable_device_change_key_rotation": False,
        }
        bridge = types.SimpleNamespace(
            loop=asyncio.get_running_loop(),
            az=self.service,
            name="Bridge",
            config=config,
            get_portal=self.get_portal,
            state_store=self.state,
        )
        self.encryption = EncryptionManager(bridge, homeserver, "@enc_", f":{server_name}", self.url)

    async def get_portal(self, room):
        return types.SimpleNamespace(encrypted=True)

    async def start(self, port):
        await self.db.start()
        await self.db.execute("CREATE TABLE portal (mxid TEXT, encrypted BOOLEAN)")
        await self.service.start("127.0.0.1", port)
        await self.service.intent.ensure_registered()
        await self.service.ping_self()
        await self.encryption.start()

    async def on_event(self, event):
        try:
            await self.handle(event)
        except Exception as error:
            self.failures.append(error)
            raise

    async def handle(self, event):
        if event.type == EventType.ROOM_MEMBER:
            await self.encryption.handle_member_event(event)
            if event.state_key == self.service.bot_mxid and event.content.membership == Membership.INVITE:
                await self.db.execute("INSERT INTO portal VALUES ($1, true)", event.room_id)
                await self.service.intent.join_room(event.room_id)
                # Those who were there before: its state store gets them.
                await self.service.intent.get_room_members(event.room_id)
                self.joined.set()
        elif event.type == EventType.ROOM_ENCRYPTED and event.sender != self.service.bot_mxid:
            decrypted = await self.encryption.decrypt(event, wait_session_timeout=PATIENCE)
            await self.received.put(decrypted.content.body)

    async def say(self, room, body):
        event_type, content = await self.encryption.encrypt(room, EventType.ROOM_MESSAGE, text(body))
        return await self.service.intent.send_message_event(room, event_type, content)

    async def stop(self):
        await self.encryption.stop()
        await self.encryption.client.api.session.close()
        await self.service.stop()
        await self.db.stop()


class User:
    """A user whose client syncs."""

    def __init__(self, homeserver):
        self.api = HTTPAPI(base_url=homeserver)
        self.received = asyncio.Queue()

    async def start(self, homeserver):
        body = {"username": "alice", "password": "secret", "auth": {"type": "m.login.dummy"}}
        made = await self.api.request(Method.POST, ApiPath.v3.register, body)
        store, self.rooms = MemoryCryptoStore("alice", "alice"), RoomsOfUser()
        self.client = Client(
            made["user_id"],
            made["device_id"],
            base_url=homeserver,
            token=made["access_token"],
            sync_store=store,
            state_store=self.rooms,
        )
        await store.put_device_id(made["device_id"])
        self.client.crypto = OlmMachine(self.client, store, self.rooms)
        await self.client.crypto.load()
        await self.client.crypto.share_keys()
        self.client.add_event_handler(EventType.ROOM_MESSAGE, self.on_message)
        self.client.start(None)

    async def on_message(self, event):
        if event.sender != self.client.mxid:
            await self.received.put(event.content.body)

    async def joined(self, room, user):
        """Waits until the user's client knows that somebody has joined."""
        async with asyncio.timeout(PATIENCE):
            while not await self.rooms.is_joined(room, user):
                await asyncio.sleep(0.05)

    async def stop(self):
        self.client.stop()
        await self.client.api.session.close()
        await self.api.session.close()


async def converse(homeserver, server_name, port):
    with tempfile.TemporaryDirectory() as folder:
        bot, user = Bot(homeserver, server_name, Path(folder)), User(homeserver)
        await within(bot.start(port))
        ok("a device without a login")
        await within(user.start(homeserver))
        encryption = RoomEncryptionStateEventContent(algorithm=EncryptionAlgorithm.MEGOLM_V1)
        state = {"type": "m.room.encryption", "state_key": "", "content": encryption.serialize()}
        room = await user.client.create_room(invitees=[bot.service.bot_mxid], initial_state=[state])
        await within(bot.joined.wait())
        await user.joined(room, bot.service.bot_mxid)
        ok("an invite is accepted")
        await user.client.send_message(room, text("from the user"))
        assert await within(bot.received.get()) == "from the user"
        ok("the bridge decrypts")
        await bot.say(room, "from the bridge")
        assert await within(user.received.get()) == "from the bridge"
        ok("the user decrypts")
        for number in range(3):
            await user.client.send_message(room, text(str(number)))
            assert await within(bot.received.get()) == str(number)
        assert not bot.failures, bot.failures
        ok("more messages")
        await user.stop()
        await bot.stop()


asyncio.run(converse(sys.argv[1], sys.argv[2], int(sys.argv[3])))
