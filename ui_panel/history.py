"""The list of tasks: the API's where it keeps one, else those that this browser started."""

import asyncio

from api_shim.calls import ApiError, TaskQuery
from api_shim.wire import TaskLine
from gpu_tasks.contract.records import Status
from ui_panel.door import Door
from ui_panel.state import PageState, Route

_PAGE = 12


class History:
    def __init__(self, state: PageState, door: Door) -> None:
        self._state = state
        self._door = door

    async def load(self, *, more: bool = False) -> None:
        """Read the list anew, or what follows in it.

        Raises:
            ClientError: As the client raises it.
        """
        if self._state.offers(Route.TASKS):
            cursor = self._state.cursor if more else None
            wanted = self._state.wanted_status
            statuses = (Status(wanted),) if wanted else ()
            page = await self._door.list_tasks(TaskQuery(limit=_PAGE, cursor=cursor, statuses=statuses))
            earlier = self._state.lines if more else ()
            self._state.param.update(lines=(*earlier, *page.tasks), cursor=page.next_cursor)
            return
        found = await asyncio.gather(*(self._line(task_id) for task_id in self._state.mine[:_PAGE]))
        wanted = self._state.wanted_status
        lines = tuple(line for line in found if line and (not wanted or line.status == wanted))
        self._state.param.update(lines=lines, cursor=None)

    async def _line(self, task_id: str) -> TaskLine | None:
        try:
            record = await self._door.status(task_id)
        except ApiError:
            return None
        result = record.result
        return TaskLine.of(record, output_url=(result.presigned_url or result.output_url) if result else None)
