"""Where a file comes from: whose credential it carries."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from api_shim import auth
from api_shim.bodies import strictly
from api_shim.callers import Called
from api_shim.door import check_stored
from api_shim.errors import responses
from api_shim.services import Provided
from flows.request import VERIFY_DEPLOYMENT, VerifyRequest
from gpu_tasks.contract.credentials import Verdict

router = APIRouter(tags=["provenance"], dependencies=list(auth.documented))


@router.post(
    "/verify",
    responses=responses(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    ),
    dependencies=[Depends(strictly(VerifyRequest))],
)
async def verify(services: Provided, caller: Called, body: VerifyRequest) -> Verdict:
    """Look at the credential of a stored file.

    `state` is `trusted` only for a file that this service's chain has signed and whose picture, sound
    and index are as they were then; `untrusted` for another
    signer, `invalid` for a file that was changed, `none` for one without a credential.
    """
    await services.owners.check_inputs(caller, [body.key])
    await check_stored(services.bucket, "key", body.key, services.settings.max_video_bytes)
    seconds = services.settings.max_answer_seconds
    return await services.questions.ask(VERIFY_DEPLOYMENT, body, Verdict, seconds=seconds)
