"""Parts of the page that run in the browser. Each is told what to show, and tells what a person did."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import param
from panel.custom import JSComponent

# Panel sends a component's script to every page anew, inside the websocket, and a script sent so can import nothing by
# a relative address. So this is all of it: the components are files of ours, imported from the page's own address.
_LOADER: Final = """
export function render(given) {
  import(new URL(given.model.module, document.baseURI).href).then((island) => island.render(given))
}
"""

Hear = Callable[[object], Awaitable[None]]


class Island(JSComponent):
    """One component: `shown` is what it shows, `texts` its words, `module` its script."""

    shown = param.Dict(default={})
    texts = param.Dict(default={})
    module = param.String(default="")

    _esm = _LOADER

    def __init__(self, hear: Hear, *, module: str, texts: Mapping[str, str], shown: Mapping[str, Any]) -> None:
        super().__init__(module=module, texts=dict(texts), shown=dict(shown), sizing_mode="stretch_width", margin=0)
        self._hear = hear
        self._hearing: set[asyncio.Future[None]] = set()

    def _handle_msg(self, data: object) -> None:
        # Beside the page's events: one slow answer of the API must not hold up the next click.
        hearing = asyncio.ensure_future(self._hear(data))
        self._hearing.add(hearing)
        hearing.add_done_callback(self._hearing.discard)
