"""Somebody on matrix-nio logs in, waits for a message in a long poll, and uploads and downloads 40 MB, over HTTPS.

    python behind_proxy.py BASE_URL NAME PASSWORD

Prints "ok - all" at the end and exits 0; anything unexpected is raised and exits 1.
"""

import asyncio
import io
import sys
import time

from nio import AsyncClient, RoomMessageText
from nio.responses import ErrorResponse

SIZE = 40 * 1024 * 1024
# How long the long poll waits before somebody says something, in seconds.
QUIET = 2


def good(response):
    assert not isinstance(response, ErrorResponse), f"refused: {response}"
    return response


async def say_later(client, room_id):
    await asyncio.sleep(QUIET)
    content = {"msgtype": "m.text", "body": "finally"}
    good(await client.room_send(room_id, "m.room.message", content))


async def main(base_url, name, password):
    # The certificate is made for the test.
    client = AsyncClient(base_url, name, ssl=False)
    good(await client.login(password))
    room_id = good(await client.room_create()).room_id
    since = good(await client.sync(timeout=0)).next_batch
    began = time.monotonic()
    speaking = asyncio.create_task(say_later(client, room_id))
    answer = good(await client.sync(timeout=30000, since=since))
    assert time.monotonic() - began >= QUIET * 0.9, "the long poll was cut short"
    said = [event.body for event in answer.rooms.join[room_id].timeline.events if isinstance(event, RoomMessageText)]
    assert said == ["finally"], said
    await speaking

    data = bytes(range(256)) * (SIZE // 256)
    response, _ = await client.upload(lambda *_: io.BytesIO(data), "application/octet-stream", "large", filesize=SIZE)
    downloaded = good(await client.download(mxc=good(response).content_uri))
    assert downloaded.body == data, "it came back changed"
    await client.close()
    print("ok - all", flush=True)


asyncio.run(main(*sys.argv[1:]))
