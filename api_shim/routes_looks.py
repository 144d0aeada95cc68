"""Before anything is paid for: which faces there are, what a result would look like, what it would cost."""

from http import HTTPStatus

from fastapi import Depends

from api_shim.auth import guarded_router
from api_shim.bodies import strictly
from api_shim.callers import Called
from api_shim.door import check_stored, declare
from api_shim.errors import BODY_STATUSES
from api_shim.services import Provided
from api_shim.starting import taken_in
from api_shim.wire import FaceAnswer, FacesAnswer, PreviewAnswer, PreviewBody, RunBody
from flows.request import (
    ESTIMATE_DEPLOYMENT,
    FACES_DEPLOYMENT,
    PREVIEW_DEPLOYMENT,
    EstimateRequest,
    FacesRequest,
    PipelineRequest,
    PreviewRequest,
    beyond,
)
from gpu_tasks.contract.jobs import Engine
from gpu_tasks.contract.looks import Estimate, FoundFaces, MadePreview

router = guarded_router(
    "before a run", also=(*BODY_STATUSES, HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
)


@router.post("/faces", dependencies=[Depends(strictly(FacesRequest))])
async def faces(services: Provided, caller: Called, body: FacesRequest) -> FacesAnswer:
    """Find the faces of a target, with a picture of each, for choosing who is changed."""
    await services.owners.check_inputs(caller, {"target_key": body.target_key})
    await check_stored(services.bucket, "target_key", body.target_key, services.settings.max_video_bytes)
    seconds = services.settings.max_answer_seconds
    found = await services.questions.ask(FACES_DEPLOYMENT, body, FoundFaces, seconds=seconds)
    shown = tuple(
        FaceAnswer(**face.model_dump(exclude={"crop_key"}), crop_url=services.records.signed_url(face.crop_key))
        for face in found.faces
    )
    return FacesAnswer(**{**found.model_dump(exclude={"faces"}), "faces": shown})


@router.post("/preview", dependencies=[Depends(strictly(PreviewBody))])
async def preview(services: Provided, caller: Called, body: PreviewBody) -> PreviewAnswer:
    """Show a frame or three seconds of the result as the draft engine makes it, signed as an AI-made preview."""
    request = await taken_in(services, body.request, caller)
    if (refusal := beyond(request, Engine.DRAFT)) is not None:
        raise refusal
    consent = await declare(request.consent, services.settings.consent_policy, services.audit)
    asked = PreviewRequest(
        request=_without_consent(request), kind=body.kind, at_seconds=body.at_seconds, consent=consent
    )
    seconds = services.settings.max_answer_seconds
    made = await services.questions.ask(PREVIEW_DEPLOYMENT, asked, MadePreview, seconds=seconds)
    return PreviewAnswer(**made.model_dump(mode="json"), url=services.records.signed_url(made.key))


@router.post("/estimate", dependencies=[Depends(strictly(RunBody))])
async def estimate(services: Provided, caller: Called, body: RunBody) -> Estimate:
    """Tell how long a run would take and what it would cost, stage by stage."""
    asked = EstimateRequest(request=_without_consent(await taken_in(services, body, caller)))
    seconds = services.settings.max_answer_seconds
    return await services.questions.ask(ESTIMATE_DEPLOYMENT, asked, Estimate, seconds=seconds)


def _without_consent(request: PipelineRequest) -> PipelineRequest:
    """Return what Prefect may keep: of a declaration it gets the name, never the text."""
    return request.model_copy(update={"consent": None})
