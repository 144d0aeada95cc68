"""Where a file comes from: whose credential it carries."""

from http import HTTPStatus

from fastapi import Depends

from api_shim.auth import guarded_router
from api_shim.bodies import strictly
from api_shim.callers import Called
from api_shim.door import check_stored
from api_shim.errors import BODY_STATUSES
from api_shim.services import Provided
from flows.request import VERIFY_DEPLOYMENT, VerifyRequest
from gpu_tasks.contract.credentials import Verdict

router = guarded_router("provenance", also=(*BODY_STATUSES, HTTPStatus.GATEWAY_TIMEOUT))


@router.post("/verify", dependencies=[Depends(strictly(VerifyRequest))])
async def verify(services: Provided, caller: Called, body: VerifyRequest) -> Verdict:
    """Look at the credential of a stored file.

    `state` is `trusted` only for a file that this service's chain has signed and whose picture, sound
    and index are as they were then; `untrusted` for another
    signer, `invalid` for a file that was changed, `none` for one without a credential.
    """
    await services.owners.check_inputs(caller, {"key": body.key})
    await check_stored(services.bucket, "key", body.key, services.settings.max_video_bytes)
    seconds = services.settings.max_answer_seconds
    return await services.questions.ask(VERIFY_DEPLOYMENT, body, Verdict, seconds=seconds)
