"""What production needs, asked of each service as the product itself would; changes nothing but one probe object."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.fernet import Fernet
from pydantic import ValidationError

from api_shim.settings import ShimSettings
from blocks.endpoint_health import EndpointState, state_of
from blocks.runpod_client import RunPodClient
from blocks.secret_blocks import SUFFIX, SecretBlockError
from deployments.bucket.errors import BucketError
from deployments.bucket.preparing import Bucket, Part
from deployments.doctor.findings import Finding, ProductionCheck, fine, notice, problem
from deployments.doctor.remote import (
    PrefectState,
    clock_skew_seconds,
    days_left,
    prefect_state,
    preflight_is_allowed,
    redis_answers,
)
from deployments.fleet.declaration import Declaration
from deployments.wording.messages import Message
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.errors import SigningSettingsError
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.settings import R2Settings

_LARGEST_SKEW_SECONDS: Final = 60.0
_SOON_DAYS: Final = 21
_STAGE_CHECKS: Final = {Stage.WAV2LIP: ProductionCheck.LIP_SYNC, Stage.FACEFUSION: ProductionCheck.FACE_SWAP}
_BROKEN: Final = {EndpointState.CRASH_LOOP, EndpointState.NO_WORKERS}


def examine_production(environment: Mapping[str, str], declaration: Declaration) -> Iterator[Finding]:
    """Yield what each check finds; with a variable missing nothing else can be asked.

    Args:
        environment: Where public addresses stand; the settings read the process's own.
        declaration: Names the pages that upload to the bucket, and how long objects are kept.
    """
    try:
        settings, signing = ShimSettings(), SigningSettings()
    except ValidationError:
        yield _wrong("; ".join(_wrong_variables()))
        return
    except SecretBlockError as error:
        yield _wrong(str(error))
        return
    yield fine(ProductionCheck.VARIABLES, Message.VARIABLES_RIGHT)
    yield from _look_at_bucket(settings, declaration)
    yield _look_at_redis(settings)
    yield from _look_at_prefect(environment)
    for stage, check in _STAGE_CHECKS.items():
        yield asyncio.run(_look_at_endpoint(settings, stage, check))
    yield _look_at_signing(signing)
    yield _look_at_door(settings)
    yield from _look_at_addresses(environment, settings)


def _wrong(problems: str) -> Finding:
    return problem(ProductionCheck.VARIABLES, Message.VARIABLES_WRONG, Message.VARIABLES_FIX, problems=problems)


def _wrong_variables() -> Iterator[str]:
    """Name all that is wrong, whichever model reads it: one that fails hides what another would say."""
    anything = R2Settings.model_construct()
    for read in (R2Settings, SigningSettings, lambda: ShimSettings(r2=anything)):
        try:
            read()
        except ValidationError as error:
            yield from _sentences(error)


def _sentences(error: ValidationError) -> Iterator[str]:
    """Name each variable as it is set; its value may be a secret and is not told."""
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in each["loc"])
        # The bucket's settings are read by a model of their own, whose fields have a prefix.
        name = f"R2_{field.upper()}" if error.title == "R2Settings" else field
        # That model alone does not look into Secret blocks.
        if each["type"] == "missing" and os.environ.get(f"{name}{SUFFIX}"):
            continue
        yield f"{name}: {each['msg'].removeprefix('Value error, ')}"


def _look_at_bucket(settings: ShimSettings, declaration: Declaration) -> Iterator[Finding]:
    bucket, name = Bucket(settings.r2), settings.r2.bucket
    skew = clock_skew_seconds(settings.r2.endpoint)
    try:
        bucket.check_objects()
    except BucketError as error:
        yield problem(ProductionCheck.BUCKET, Message.DETAIL, Message.BUCKET_FIX, detail=str(error))
    else:
        yield fine(ProductionCheck.BUCKET, Message.BUCKET_WORKS, bucket=name)
    if skew is not None and abs(skew) > _LARGEST_SKEW_SECONDS:
        yield problem(ProductionCheck.SKEW, Message.SKEW_IS, Message.SKEW_FIX, seconds=skew)
    else:
        yield fine(ProductionCheck.SKEW, Message.SKEW_IS, seconds=skew or 0.0)
    yield _look_at_pages(settings, declaration)
    yield _look_at_lifecycle(bucket, declaration)


def _look_at_pages(settings: ShimSettings, declaration: Declaration) -> Finding:
    origins = declaration.bucket.origins
    if not origins:
        return notice(ProductionCheck.PAGES, Message.PAGES_NONE, Message.PAGES_FIX)
    if refused := [origin for origin in origins if not preflight_is_allowed(settings.r2, origin)]:
        return problem(ProductionCheck.PAGES, Message.PAGES_REFUSED, Message.PAGES_FIX, origins=", ".join(refused))
    return fine(ProductionCheck.PAGES, Message.PAGES_ALLOWED, origins=", ".join(origins))


def _look_at_lifecycle(bucket: Bucket, declaration: Declaration) -> Finding:
    try:
        outdated = Part.LIFECYCLE in bucket.outdated(declaration.bucket)
    except BucketError:
        # The product's key may touch objects only; that it cannot read this is as it should be.
        return fine(ProductionCheck.LIFECYCLE, Message.LIFECYCLE_UNSEEN)
    if outdated:
        return notice(ProductionCheck.LIFECYCLE, Message.LIFECYCLE_OUTDATED, Message.LIFECYCLE_FIX)
    return notice(ProductionCheck.LIFECYCLE, Message.KEY_TOO_STRONG, Message.KEY_TOO_STRONG_FIX)


def _look_at_redis(settings: ShimSettings) -> Finding:
    if reason := redis_answers(settings.jobstore_redis_url):
        return problem(ProductionCheck.REDIS, Message.DETAIL, Message.REDIS_FIX, detail=reason)
    return fine(ProductionCheck.REDIS, Message.REDIS_WORKS)


def _look_at_prefect(environment: Mapping[str, str]) -> Iterator[Finding]:
    state = asyncio.run(prefect_state())
    yield _look_at_encryption(environment, state)
    if state.reason:
        yield problem(ProductionCheck.PREFECT, Message.DETAIL, Message.PREFECT_FIX, detail=state.reason)
        return
    if state.missing:
        yield problem(
            ProductionCheck.PREFECT, Message.PREFECT_LACKS, Message.PREFECT_LACKS_FIX, names=", ".join(state.missing)
        )
    else:
        yield fine(ProductionCheck.PREFECT, Message.PREFECT_WORKS, version=state.version)
    if state.workers:
        yield fine(ProductionCheck.ORCHESTRATOR, Message.ORCHESTRATORS, count=state.workers)
    else:
        yield problem(
            ProductionCheck.ORCHESTRATOR, Message.ORCHESTRATORS, Message.ORCHESTRATORS_FIX, count=state.workers
        )


def _look_at_encryption(environment: Mapping[str, str], state: PrefectState) -> Finding:
    """Look at the key of Prefect's blocks: which one its servers use nobody can ask them, only whether it fits."""
    key = environment.get("PREFECT_SERVER_ENCRYPTION_KEY")
    if state.can_decrypt is False:
        return problem(ProductionCheck.ENCRYPTION, Message.ENCRYPTION_MISFITS, Message.ENCRYPTION_MISFITS_FIX)
    if environment.get("PREFECT_API_KEY"):
        return fine(ProductionCheck.ENCRYPTION, Message.ENCRYPTION_CLOUD)
    if not key:
        return problem(ProductionCheck.ENCRYPTION, Message.ENCRYPTION_UNSET, Message.ENCRYPTION_FIX)
    try:
        Fernet(key)
    except ValueError:
        return problem(ProductionCheck.ENCRYPTION, Message.ENCRYPTION_WRONG, Message.ENCRYPTION_FIX)
    return fine(ProductionCheck.ENCRYPTION, Message.ENCRYPTION_RIGHT if state.can_decrypt else Message.ENCRYPTION_SET)


async def _look_at_endpoint(settings: ShimSettings, stage: Stage, check: ProductionCheck) -> Finding:
    endpoint_id, variable = getattr(settings, f"runpod_{stage}_endpoint"), f"RUNPOD_{stage.upper()}_ENDPOINT"
    if settings.runpod_api_key is None or not endpoint_id:
        missing = variable if settings.runpod_api_key else "RUNPOD_API_KEY"
        return problem(check, Message.ENDPOINT_UNSET, Message.ENDPOINT_UNSET_FIX, name=missing)
    client = RunPodClient(settings.runpod_api_base, settings.runpod_api_key)
    try:
        health = await client.health(endpoint_id)
    except FaultError as error:
        return problem(check, Message.DETAIL, Message.ENDPOINT_FIX, detail=error.fault.detail, name=variable)
    finally:
        await client.aclose()
    state = state_of(health)
    workers = ", ".join(f"{name} {count}" for name, count in sorted(health.workers.items()) if count) or "-"
    if state in _BROKEN:
        return problem(check, Message.ENDPOINT_IS, Message.ENDPOINT_BROKEN_FIX, state=state, workers=workers)
    if state is EndpointState.NO_CAPACITY:
        return notice(check, Message.ENDPOINT_IS, Message.ENDPOINT_CAPACITY_FIX, state=state, workers=workers)
    return fine(check, Message.ENDPOINT_IS, state=state, workers=workers)


def _look_at_signing(signing: SigningSettings) -> Finding:
    if signing.chain is None:
        return problem(ProductionCheck.SIGNING, Message.SIGNING_DEVELOPMENT, Message.SIGNING_FIX)
    try:
        load_signatory(signing)
        load_signatory(signing, now=datetime.now(UTC) + timedelta(days=_SOON_DAYS))
    except SigningSettingsError as error:
        return problem(ProductionCheck.SIGNING, Message.DETAIL, Message.SIGNING_FIX, detail=str(error))
    return fine(ProductionCheck.SIGNING, Message.SIGNING_RIGHT, days=_SOON_DAYS)


def _look_at_door(settings: ShimSettings) -> Finding:
    if settings.api_secret is None:
        return problem(ProductionCheck.DOOR, Message.DOOR_OPEN, Message.DOOR_FIX)
    if settings.allow_draft:
        return notice(ProductionCheck.DOOR, Message.DRAFT_ALLOWED, Message.DRAFT_FIX)
    return fine(ProductionCheck.DOOR, Message.DOOR_CLOSED)


def _look_at_addresses(environment: Mapping[str, str], settings: ShimSettings) -> Iterator[Finding]:
    """Look at the certificates of what others reach us by, and of the bucket and Redis where they have one."""
    named = (environment.get("FF_API_BASE_URL"), settings.r2.public_base_url, settings.r2.endpoint)
    addresses = sorted({address for address in named if address and address.startswith("https://")})
    found = {address: days_left(address) for address in addresses}
    if wrong := [f"{address}: {left}" for address, left in found.items() if isinstance(left, str)]:
        yield problem(ProductionCheck.ADDRESSES, Message.DETAIL, Message.ADDRESSES_FIX, detail="; ".join(wrong))
        return
    lasting = {address: left for address, left in found.items() if isinstance(left, int)}
    if soon := [f"{address}: {left}" for address, left in lasting.items() if left < _SOON_DAYS]:
        yield notice(ProductionCheck.ADDRESSES, Message.ADDRESSES_SOON, Message.ADDRESSES_FIX, days="; ".join(soon))
        return
    yield fine(ProductionCheck.ADDRESSES, Message.ADDRESSES_RIGHT, count=len(addresses))
