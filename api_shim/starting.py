"""From the body of a request to a task: everything that can be known is checked before a run exists."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from api_shim.bodies import parsed
from api_shim.callers import Caller
from api_shim.door import check_objects, check_request, check_webhook, declare
from api_shim.gaps import check_endpoints
from api_shim.idempotency import Idempotency
from api_shim.inputs import inputs_of
from api_shim.services import Services
from api_shim.wire import RunBody
from flows.request import PipelineRequest
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord

# Part of a body that stands for the driving audio until it has been stored.
_INLINE = "uploads/audio/inline"
# Options that are changed one by one, not as a whole.
_NESTED = frozenset({"wav2lip", "facefusion", "face_selection"})
# The objects under these belong to the first run.
_OUTPUTS = frozenset({"output_key", "wav2lip_output_key"})
_INPUTS = ("audio_key", "target_key", "source_keys")


async def taken_in(services: Services, body: RunBody, caller: Caller, *, is_declared: bool = False) -> PipelineRequest:
    """Check a body as far as can be known, and store the sound that stands in it.

    Raises:
        FaultError: As `check_request` and `check_objects`.
    """
    audio = body.inline_audio
    # The place of the inline audio is known only after it was stored, which is the last thing before the run.
    request = body.as_request(audio_key=_INLINE if audio else body.audio_key)
    check_request(request, services.settings, is_declared=is_declared)
    if request.webhook_url is not None:
        await check_webhook(request.webhook_url, services.settings)
    await services.owners.check_inputs(caller, inputs_of(request))
    if audio is None:
        await check_objects(request, services.bucket, services.settings)
        return request
    await check_objects(body.as_request(audio_key=None), services.bucket, services.settings)
    stored = await services.uploads.store(
        BytesIO(audio),
        field="audio_base64",
        prefix="uploads/audio",
        filename=None,
        content_type="application/octet-stream",
    )
    return body.as_request(audio_key=stored.key)


async def start(
    services: Services,
    body: RunBody,
    caller: Caller,
    idempotency: Idempotency | None,
    *,
    declared: DeclaredConsent | None = None,
) -> TaskRecord:
    """Start a task and return its first record; a request that was made before gives the task that it made then.

    Args:
        services: What routes work with.
        body: What is asked.
        caller: Whose task it becomes.
        idempotency: The caller's key for this request.
        declared: Consent to the same inputs that was declared earlier.

    Raises:
        FaultError: What is wrong with the request, or who does not answer.
    """
    if idempotency is not None and (replayed := await _replayed(services, idempotency)) is not None:
        return replayed
    async with services.quotas.place(caller.key) as place:
        await check_endpoints(body, services.store, services.settings)
        request = await taken_in(services, body, caller, is_declared=declared is not None)
        consent = declared or await declare(request.consent, services.settings.consent_policy, services.audit)
        created = await services.runs.create(request, consent=consent, idempotency=idempotency, owner=caller.key_id)
        place.task_id = str(created.id)
        await services.owners.note(str(created.id), caller.key_id)
        return await services.records.begin(created)


async def _replayed(services: Services, idempotency: Idempotency) -> TaskRecord | None:
    """Return the task that an earlier request has made; None where there is none any more."""
    run = await services.runs.replayed(idempotency)
    try:
        return await services.records.read(str(run.id)) if run is not None else None
    except FaultError as error:
        # Deleted a moment ago: its key is free again.
        if error.fault.code is FaultCode.TASK_UNKNOWN:
            return None
        raise


def changed(earlier: Mapping[str, Any], changes: Mapping[str, Any]) -> RunBody:
    """Return an earlier request with some fields changed; where its results went stays its own.

    Raises:
        RequestValidationError: The fields do not go together, or are none.
    """
    merged = {name: value for name, value in earlier.items() if name not in _OUTPUTS}
    if changes.get("audio_base64") is not None:
        merged.pop("audio_key", None)
    for name, value in changes.items():
        before = merged.get(name) if name in _NESTED else None
        merged[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return parsed(json.dumps(merged).encode(), RunBody)


def declared_before(parameters: Mapping[str, Any], body: RunBody) -> DeclaredConsent | None:
    """Return the consent under which a run was started, when this request is for the very same inputs."""
    earlier, consent = parameters["request"], parameters.get("consent")
    asked = body.model_dump(mode="json")
    if not consent or body.consent is not None or body.audio_base64 is not None:
        return None
    if any(asked[name] != earlier.get(name, asked[name]) for name in _INPUTS):
        return None
    return DeclaredConsent.model_validate(consent)
