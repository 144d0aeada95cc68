"""From files or keys on a command line to a finished task: what `lipswap run` and `lipswap demo` share."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from api_shim.client import Client, Kind
from deployments.console import Told
from deployments.wording.messages import Message
from flows.request import PipelineRequest
from gpu_tasks.contract.artifacts import OUTPUTS, UPLOADS
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord


class Inputs(BaseModel):
    """What a person named: each a file of theirs, or a key of something uploaded before."""

    model_config = ConfigDict(frozen=True)

    target: str
    audio: str | None = None
    sources: tuple[str, ...] = ()


def upload_all(client: Client, inputs: Inputs, options: dict[str, Any]) -> PipelineRequest:
    """Upload what is a file, and return the request.

    Raises:
        FaultError: OBJECT_MISSING for a file that is not there, REQUEST_INVALID for options that do not fit.
        ClientError: As Client raises.
    """
    if named := {"target_key", "audio_key", "source_keys"} & options.keys():
        raise FaultError(FaultCode.REQUEST_INVALID, f"Name {min(named)} by --target, --audio or --source.")
    fields: dict[str, Any] = {"target_key": _key_of(client, inputs.target, "video")}
    if inputs.audio is not None:
        fields["audio_key"] = _key_of(client, inputs.audio, "audio")
    fields["source_keys"] = tuple(_key_of(client, source, "source") for source in inputs.sources)
    try:
        return PipelineRequest.model_validate(options | fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FaultError(FaultCode.REQUEST_INVALID, f"{field}: {first['msg']}.") from error


def parse_options(settings: Iterable[str]) -> dict[str, Any]:
    """Turn `wav2lip.blending=50` and `engine=draft` into the fields of a request; values are JSON, or else text.

    Raises:
        FaultError: REQUEST_INVALID for a setting without a name or a value.
    """
    options: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise FaultError(FaultCode.REQUEST_INVALID, f"Write an option as name=value, not as {setting!r}.")
        *groups, last = name.split(".")
        fields = options
        for group in groups:
            fields = fields.setdefault(group, {})
            if not isinstance(fields, dict):
                raise FaultError(FaultCode.REQUEST_INVALID, f"{group} is given as a value and as a group of options.")
        try:
            fields[last] = json.loads(text)
        except ValueError:
            fields[last] = text
    return options


def follow(client: Client, task_id: str, told: Told, *, timeout: float) -> TaskRecord:
    """Show a task's progress until it ends, and return its final record.

    Raises:
        NotEndedError: It has not ended after `timeout` seconds.
        ClientError: As Client raises.
    """
    try:
        with told.watching() as watched:
            for record in client.follow(task_id, timeout=timeout):
                watched.show(record)
    except KeyboardInterrupt:
        told.say(Message.GOES_ON, task_id=task_id)
        raise
    return record


def _key_of(client: Client, named: str, kind: Kind) -> str:
    path = Path(named).expanduser()
    if path.is_file():
        return client.upload(path, kind=kind).key
    if named.startswith((UPLOADS, OUTPUTS)):
        return named
    raise FaultError(FaultCode.OBJECT_MISSING, f"{named} is neither a file here nor a key that starts with {UPLOADS}")
