"""Open pages without a browser: what one says to the page's server over its websocket, and what it hears."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from tornado.websocket import WebSocketClientConnection, websocket_connect

_TOKEN = re.compile(r'"token":"([^"]+)"')


@dataclass
class Socket:
    """One open page. A message of Bokeh's protocol is three texts: header, metadata, content."""

    connection: WebSocketClientConnection
    sent: int = 0
    frame_id: str = ""

    async def do(self, message: dict[str, str]) -> None:
        """Tell the page's frame what a person does."""
        told = {"type": "map", "entries": list(message.items())}
        await self.send_event("data_event", [("model", {"id": self.frame_id}), ("data", told)])

    async def send_event(self, name: str, values: list[tuple[str, object]]) -> None:
        event = {"type": "event", "name": name, "values": {"type": "map", "entries": values}}
        changes = [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}]
        await self.say("PATCH-DOC", {"events": changes})

    async def say(self, kind: str, content: object) -> None:
        self.sent += 1
        for part in ({"msgid": str(self.sent), "msgtype": kind}, {}, content):
            await self.connection.write_message(json.dumps(part))

    async def hear_until(self, wanted: str) -> str:
        """Return the first text with `wanted` in it."""
        while (told := await self.connection.read_message()) is not None:
            if isinstance(told, str) and wanted in told:
                return told
        raise AssertionError(f"the server closed before it said {wanted}")


def _ids_around(script: str, node: object) -> Iterator[str]:
    """Yield the ids of objects whose `data` has a `module` that ends so."""
    if isinstance(node, Mapping):
        attributes = node.get("attributes", {})
        data = attributes.get("data") if isinstance(attributes, Mapping) else None
        if isinstance(data, Mapping) and str(data.get("attributes", {}).get("module", "")).endswith(script):
            yield str(node["id"])
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _ids_around(script, inner)


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
        # The component is the object around the one that names its script.
        document = await socket.hear_until("/frame.js")
        socket.frame_id = next(_ids_around("frame.js", json.loads(document)))
        await socket.send_event("document_ready", [])
        yield socket
    finally:
        connection.close()
