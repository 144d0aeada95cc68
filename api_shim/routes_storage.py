"""Uploads and direct transfer."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, UploadFile

from api_shim import auth
from api_shim.bodies import strictly
from api_shim.errors import responses
from api_shim.services import Provided
from api_shim.wire import PresignAnswer, PresignRequest, UploadAnswer

router = APIRouter(
    prefix="/storage",
    tags=["storage"],
    dependencies=list(auth.documented),
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)


@router.post("/presign", dependencies=[Depends(strictly(PresignRequest))])
async def presign(services: Provided, body: PresignRequest) -> PresignAnswer:
    """Return a URL with which a client sends or fetches one object directly."""
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
        file.file, prefix=prefix, filename=filename or file.filename, content_type=file.content_type
    )
