"""A receiver of webhooks: an HTTP server that keeps what it gets and answers as it was told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook


@dataclass
class Receiver:
    """`answers` are the statuses of the next calls; when there is none left it is 200."""

    secret: str
    url: str = ""
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    # Verified messages, and the status that each was answered with.
    taken: list[tuple[str, dict[str, Any], int]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        message = Webhook(self.secret).verify(await request.text(), dict(request.headers))
        status = self.answers.pop(0) if self.answers else 200
        self.taken.append((request.headers["webhook-id"], message, status))
        return web.Response(status=status, headers=self.headers)

    def statuses(self, webhook_id: str) -> list[int]:
        """How the calls with this id were answered, in order."""
        return [status for taken_id, _, status in self.taken if taken_id == webhook_id]


@asynccontextmanager
async def receiving(secret: str) -> AsyncIterator[Receiver]:
    """Serve on a free port of this machine."""
    receiver = Receiver(secret)
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        await runner.cleanup()
