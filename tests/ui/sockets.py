"""Open pages without a browser: what one says to the page's server over its websocket, and what it hears."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from tornado.websocket import WebSocketClientConnection, websocket_connect

_TOKEN = re.compile(r'"token":"([^"]+)"')
_READY = {
    "kind": "MessageSent",
    "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}},
}


@dataclass
class Socket:
    """One open page. A message of Bokeh's protocol is three texts: header, metadata, content."""

    connection: WebSocketClientConnection
    sent: int = 0
    heard: list[str] = field(default_factory=list)

    async def say(self, kind: str, content: object) -> None:
        self.sent += 1
        for part in ({"msgid": str(self.sent), "msgtype": kind}, {}, content):
            await self.connection.write_message(json.dumps(part))

    async def hear(self) -> str | None:
        """Return the next text; None when the server has closed."""
        told = await self.connection.read_message()
        if isinstance(told, str):
            self.heard.append(told)
            return told
        return None if told is None else ""

    async def hear_until(self, wanted: str) -> None:
        while wanted not in (told := await self.hear() or ""):
            if told == "" and self.connection.close_code is not None:
                raise AssertionError(f"the server closed before it said {wanted}")


@asynccontextmanager
async def opened_page(url: str, query: str = "") -> AsyncIterator[Socket]:
    """Ask for the page and be told of it, as a browser's scripts do when they are ready."""
    async with httpx.AsyncClient(timeout=60) as http:
        found = _TOKEN.search((await http.get(f"{url}/{query}")).text)
    assert found, "the page names no session"
    connection = await websocket_connect(f"{url.replace('http', 'ws', 1)}/ws{query}", subprotocols=["bokeh", found[1]])
    socket = Socket(connection)
    try:
        await socket.hear_until('"ACK"')
        await socket.say("PULL-DOC-REQ", {})
        await socket.hear_until('"PULL-DOC-REPLY"')
        await socket.say("PATCH-DOC", {"events": [_READY]})
        yield socket
    finally:
        connection.close()
