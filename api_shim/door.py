"""What is checked at the door, before a run exists and anything is paid for."""

import asyncio

from api_shim.inputs import inputs_of
from api_shim.settings import ShimSettings
from api_shim.uploads import check_size
from blocks import webhook_address
from blocks.audit import AuditLog
from flows.request import PipelineRequest, beyond, unsupported
from gpu_tasks.contract.audit import AuditEvent, AuditFact
from gpu_tasks.contract.consent import Consent, ConsentPolicy, DeclaredConsent, consent_to_record
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine
from gpu_tasks.contract.manifest import manifest, resolve_engine
from gpu_tasks.contract.needed import models_named
from gpu_tasks.storage import ArtifactStore
from gpu_tasks.weights import WeightStore


def check_request(request: PipelineRequest, settings: ShimSettings, *, is_declared: bool = False) -> None:
    """Refuse what can be known to fail from the request and the settings alone.

    Args:
        request: What is asked.
        settings: What the service can do.
        is_declared: Consent to the very same inputs stands in the audit chain already.

    Raises:
        FaultError: MISSING_AUDIO_KEY, REQUEST_INVALID, OPTION_UNSUPPORTED, CONSENT_REQUIRED, ENGINE_UNAVAILABLE,
            RUNPOD_NOT_CONFIGURED or FACEFUSION_NOT_CONFIGURED; where the workers' models can be seen from here,
            MODEL_MISSING or LICENCE_NOT_ACKNOWLEDGED.
    """
    if not request.wants_lip_sync and not request.wants_face_swap:
        raise FaultError(FaultCode.MISSING_AUDIO_KEY, field="audio_key")
    if request.output_key is not None and request.output_key == request.wav2lip_output_key:
        raise FaultError(
            FaultCode.REQUEST_INVALID, "output_key and wav2lip_output_key are the same.", field="output_key"
        )
    if (refusal := unsupported(request)) is not None:
        raise refusal
    if (reason := configuration_gap(settings)) is not None:
        raise FaultError(FaultCode.RUNPOD_NOT_CONFIGURED, reason)
    if request.wants_lip_sync and settings.runpod_wav2lip_endpoint is None:
        raise FaultError(FaultCode.RUNPOD_NOT_CONFIGURED)
    if request.wants_face_swap and settings.runpod_facefusion_endpoint is None:
        raise FaultError(FaultCode.FACEFUSION_NOT_CONFIGURED)
    engine = resolve_engine(
        request.engine,
        draft_allowed=settings.allow_draft,
        neural_ready=settings.neural_ready,
        stages=request.gpu_stages,
    )
    if (refusal := beyond(request, engine)) is not None:
        raise refusal
    if engine is Engine.NEURAL and settings.weights is not None:
        _expect_models(request, WeightStore(settings.weights, manifest()))
    if not is_declared:
        consent_to_record(request.consent, settings.consent_policy)


def _expect_models(request: PipelineRequest, weights: WeightStore) -> None:
    recognises = bool(request.reference_keys)
    for model in models_named(request.gpu_stages, request.wav2lip, request.facefusion, recognises=recognises):
        weights.expect(model)


async def check_webhook(url: str, settings: ShimSettings) -> None:
    """Refuse a webhook that could not be signed, or whose address may not be called.

    Raises:
        FaultError: OPTION_UNSUPPORTED or WEBHOOK_REFUSED.
    """
    if not settings.webhook_secrets.get_secret_value():
        raise FaultError(
            FaultCode.OPTION_UNSUPPORTED,
            "Field: webhook_url; it needs a secret to sign with, LIPSWAP_WEBHOOK_SECRET.",
            field="webhook_url",
        )
    await webhook_address.check(url, allow_loopback=settings.webhook_loopback)


def configuration_gap(settings: ShimSettings) -> str | None:
    """Say what is missing before any request can run, None when nothing is."""
    if settings.runpod_api_key is None:
        return "RUNPOD_API_KEY is missing."
    if settings.runpod_wav2lip_endpoint is None and settings.runpod_facefusion_endpoint is None:
        return "Both endpoints are missing."
    return None


async def declare(consent: Consent | None, policy: ConsentPolicy, audit: AuditLog) -> DeclaredConsent | None:
    """Put a declaration of consent into the audit chain, and return the name it goes by from here on.

    Raises:
        FaultError: CONSENT_REQUIRED, or STORAGE_UNAVAILABLE.
    """
    recorded = consent_to_record(consent, policy)
    if recorded is None:
        return None
    entry = await asyncio.to_thread(audit.append, AuditFact(event=AuditEvent.CONSENT_DECLARED, consent=recorded))
    return DeclaredConsent(id=recorded.id, entry=entry.key)


async def check_objects(request: PipelineRequest, store: ArtifactStore, settings: ShimSettings) -> None:
    """Look at all named objects at once: inputs are there and neither empty nor too large, output keys are free.

    Raises:
        FaultError: OBJECT_MISSING, OBJECT_EMPTY, OBJECT_TOO_LARGE, OUTPUT_EXISTS or STORAGE_UNAVAILABLE.
    """
    # All others are pictures.
    max_bytes = {
        "target_key": settings.max_video_bytes,
        # A video may bring the sound, so the larger cap holds.
        "audio_key": max(settings.max_audio_bytes, settings.max_video_bytes),
    }
    outputs = [("output_key", request.output_key), ("wav2lip_output_key", request.wav2lip_output_key)]

    checks = [
        check_stored(store, field, key, max_bytes.get(field, settings.max_image_bytes))
        for field, key in inputs_of(request).items()
    ]
    checks += [_check_output(store, field, key) for field, key in outputs if key is not None]
    # All are asked at once; of several faults the first in the order of the fields is told.
    for found in await asyncio.gather(*checks, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found


async def check_stored(store: ArtifactStore, field: str, key: str, max_bytes: int) -> None:
    """Look whether the object that a field names can be read at all.

    Raises:
        FaultError: OBJECT_MISSING, OBJECT_EMPTY, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE.
    """
    head = await asyncio.to_thread(store.head, key)
    if head is None:
        raise FaultError(FaultCode.OBJECT_MISSING, f"{field}: {key}.", field=field)
    check_size(field, head.size_bytes, max_bytes, key=key)


async def _check_output(store: ArtifactStore, field: str, key: str) -> None:
    if await asyncio.to_thread(store.head, key) is not None:
        raise FaultError(FaultCode.OUTPUT_EXISTS, f"{field}: {key}.", field=field)
