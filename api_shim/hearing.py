"""Reading server-sent events: lines in, records out. The part of listening that both clients share."""

from typing import Final, NamedTuple

from pydantic import ValidationError

from gpu_tasks.contract.records import TaskRecord

# A silence of more than two heartbeats: the connection is dead, or something on the way holds the events back.
SILENCE_SECONDS: Final = 40.0


class Heard(NamedTuple):
    """What a finished event says: a record, or that nothing more comes."""

    record: TaskRecord | None = None
    is_end: bool = False


class EventReader:
    """Takes the lines of one stream."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def take(self, line: str) -> Heard | None:
        """Return an event as soon as its last line has come; comments and what we do not know are passed over."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        match fields.get("event"):
            case "record":
                try:
                    return Heard(TaskRecord.model_validate_json(fields.get("data", "")))
                except ValidationError:
                    return None
            case "end":
                return Heard(is_end=True)
            case _:
                return None
