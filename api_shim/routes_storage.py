"""Uploads and direct transfer."""

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, File, Form, Path, UploadFile

from api_shim.auth import guarded_router
from api_shim.bodies import strictly
from api_shim.callers import Called
from api_shim.errors import BODY_STATUSES, responses
from api_shim.services import Provided
from api_shim.wire import (
    Intent,
    PartsAnswer,
    PartsRequest,
    PresignAnswer,
    PresignRequest,
    UploadAnswer,
    UploadBegin,
    UploadBegun,
    UploadComplete,
)

UploadId = Annotated[str, Path(max_length=4096)]
_UPLOAD_ERRORS = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

router = guarded_router("storage", prefix="/storage", also=BODY_STATUSES)


@router.post("/presign", dependencies=[Depends(strictly(PresignRequest))])
async def presign(services: Provided, caller: Called, body: PresignRequest) -> PresignAnswer:
    """Return a URL with which a client sends or fetches one object directly."""
    if body.intent is Intent.DOWNLOAD and body.key is not None:
        await services.owners.check_inputs(caller, {"key": body.key})
    return await services.uploads.presign(body)


@router.post("/upload")
async def upload(
    services: Provided,
    file: Annotated[UploadFile, File(description="The file; its name only gives the key its suffix.")],
    prefix: Annotated[
        str | None, Form(max_length=300, description="uploads/audio, uploads/video or uploads/source.")
    ] = None,
    filename: Annotated[str | None, Form(max_length=300)] = None,
) -> UploadAnswer:
    """Store a file under a new key.

    The body is spooled to disk as it comes in; memory holds one chunk of it.
    """
    return await services.uploads.store(
        file.file, field="file", prefix=prefix, filename=filename or file.filename, content_type=file.content_type
    )


@router.post("/uploads", dependencies=[Depends(strictly(UploadBegin))])
async def begin_upload(services: Provided, caller: Called, body: UploadBegin) -> UploadBegun:
    """Begin a large upload: all parts have the same size but for the last, and each has a URL of its own."""
    return await services.large_uploads.begin(body, owner=caller.key_id)


@router.post("/uploads/{upload_id}/parts", responses=_UPLOAD_ERRORS, dependencies=[Depends(strictly(PartsRequest))])
async def upload_parts(services: Provided, caller: Called, upload_id: UploadId, body: PartsRequest) -> PartsAnswer:
    """Return URLs for the parts that are asked for, and what is there already: to resume, ask for none first."""
    return await services.large_uploads.parts(upload_id, body, owner=caller.key_id)


@router.post(
    "/uploads/{upload_id}/complete", responses=_UPLOAD_ERRORS, dependencies=[Depends(strictly(UploadComplete))]
)
async def complete_upload(
    services: Provided, caller: Called, upload_id: UploadId, body: UploadComplete
) -> UploadAnswer:
    """Put the parts together; what came is looked at by its content, size and digest."""
    return await services.large_uploads.complete(upload_id, body, owner=caller.key_id)


@router.delete("/uploads/{upload_id}", status_code=HTTPStatus.NO_CONTENT, responses=_UPLOAD_ERRORS)
async def abort_upload(services: Provided, caller: Called, upload_id: UploadId) -> None:
    """Forget an upload and its parts; what is forgotten by its sender is aborted after a day or two."""
    await services.large_uploads.abort(upload_id, owner=caller.key_id)
