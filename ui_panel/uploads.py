"""Uploads for the page's scripts: where the parts of a file go. The bytes themselves never pass through here.

The scripts call the page's own server, not the API, so that the API's secret stays here; and by HTTP instead of the
websocket, so that an upload outlives a connection that is lost.
"""

from typing import Annotated, Any, Literal, TypeVar

from bokeh.server.views.auth_request_handler import AuthRequestHandler
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from api_shim.calls import ApiError, ClientError
from api_shim.wire import Intent, PartsRequest, PresignRequest, UploadBegin, UploadComplete
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.records import Status
from gpu_tasks.contract.sentences import Language
from ui_panel.door import Door
from ui_panel.media import Slot
from ui_panel.offers import Offers
from ui_panel.text import advice
from ui_panel.views_result import filename_of

Asked = TypeVar("Asked", bound=BaseModel)

# A form on another site can send neither this header nor JSON without asking first, which nobody here allows.
_HEADER = "X-Lipswap-Page"
_MAX_BODY_BYTES = 2_000_000
_PREFIXES = {Slot.VOICE: "uploads/audio", Slot.VIDEO: "uploads/video", Slot.FACES: "uploads/source"}
_TYPES = {Slot.VOICE: "audio/", Slot.VIDEO: "video/", Slot.FACES: "image/"}
# Small files go in one piece; an API without parts takes all of them so.
_ONE_PIECE_BYTES = 16 * 1024 * 1024


class _Begin(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: Slot
    name: Annotated[str, StringConstraints(max_length=300)]
    media_type: Annotated[str, StringConstraints(max_length=100)] = ""
    size: int = Field(gt=0)


class Plan(BaseModel):
    """How a file is sent: in one piece to `url`, or in parts under `upload_id`."""

    model_config = ConfigDict(frozen=True)

    way: Literal["whole", "parts"]
    key: str
    url: str | None = None
    headers: dict[str, str] = {}
    upload_id: str | None = None
    part_bytes: int = 0
    part_count: int = 1
    parallel: int = 3


class DoorHandler(AuthRequestHandler):
    """What all of these share: who may ask, and how an error is told."""

    def initialize(self, door: Door, offers: Offers, parallel: int, *, needs_sign_in: bool) -> None:
        self._door = door
        self._offers = offers
        self._parallel = parallel
        self._needs_sign_in = needs_sign_in

    async def prepare(self) -> None:
        await super().prepare()
        self.set_header("Cache-Control", "no-store")
        if self._needs_sign_in and not self.current_user:
            self._refuse(401, Fault(code=FaultCode.UNAUTHORIZED, detail="Sign in first."))
        elif self.request.method not in {"GET", "HEAD"} and self.request.headers.get(_HEADER) != "1":
            self._refuse(403, Fault(code=FaultCode.REQUEST_INVALID, detail="Only the page itself may ask for this."))

    def asked(self, kind: type[Asked]) -> Asked:
        """Return the body as `kind`, else an error that `answer` tells."""
        if len(self.request.body) > _MAX_BODY_BYTES:
            raise ApiError(Fault(code=FaultCode.PAYLOAD_TOO_LARGE, detail="Too large."), status=413)
        try:
            return kind.model_validate_json(self.request.body)
        except ValidationError as error:
            fault = Fault(code=FaultCode.REQUEST_INVALID, detail="The request does not have the documented form.")
            raise ApiError(fault, status=422) from error

    def tell(self, error: ClientError) -> None:
        """Answer with an error of the API, its sentence in the reader's language."""
        self._refuse(error.status if isinstance(error, ApiError) else 503, error.fault)

    def _refuse(self, status: int, fault: Fault) -> None:
        told = self.request.headers.get("X-Lipswap-Language", "en")
        language = Language(told) if told in set(Language) else Language.ENGLISH
        self.set_status(status)
        retryable = status == 401 or status >= 500 or status == 429  # noqa: PLR2004  # by HTTP's classes
        self.finish({"error": fault.code.value, "sentence": advice(fault, language), "is_retryable": retryable})


class BeginHandler(DoorHandler):
    async def post(self) -> None:
        try:
            asked = self.asked(_Begin)
            plan = await self._plan(asked)
        except ClientError as error:
            self.tell(error)
        else:
            self.finish(plan.model_dump_json())

    async def _plan(self, asked: _Begin) -> Plan:
        media_type = _media_type(asked)
        if asked.size > _ONE_PIECE_BYTES and await self._offers.takes_parts():
            begun = await self._door.begin_upload(
                UploadBegin(prefix=_PREFIXES[asked.slot], filename=asked.name, content_type=media_type, size=asked.size)
            )
            return Plan(
                way="parts",
                key=begun.key,
                upload_id=begun.upload_id,
                part_bytes=begun.part_bytes,
                part_count=begun.part_count,
                parallel=self._parallel,
            )
        presigned = await self._door.presign(
            PresignRequest(intent=Intent.UPLOAD, content_type=media_type, size=asked.size)
        )
        return Plan(way="whole", key=presigned.key, url=presigned.url, headers=presigned.headers, part_bytes=asked.size)


class PartsHandler(DoorHandler):
    async def post(self, upload_id: str) -> None:
        try:
            answer = await self._door.upload_parts(upload_id, self.asked(PartsRequest))
        except ClientError as error:
            self.tell(error)
        else:
            self.finish(answer.model_dump_json())


class CompleteHandler(DoorHandler):
    async def post(self, upload_id: str) -> None:
        try:
            # Which parts are there, with their tags, is asked of the bucket: its CORS rule need not show tags.
            there = await self._door.upload_parts(upload_id, PartsRequest())
            parts: list[dict[str, Any]] = [
                {"part_number": part.part_number, "etag": part.etag} for part in there.uploaded
            ]
            asked = UploadComplete.model_validate({"parts": parts})
            answer = await self._door.complete_upload(upload_id, asked)
        except ClientError as error:
            self.tell(error)
        except ValidationError:
            fault = Fault(code=FaultCode.OBJECT_MISSING, detail="No part has arrived.")
            self.tell(ApiError(fault, status=409))
        else:
            self.finish(answer.model_dump_json())


class AbandonHandler(DoorHandler):
    async def delete(self, upload_id: str) -> None:
        try:
            await self._door.abandon_upload(upload_id)
        except ClientError as error:
            self.tell(error)
        else:
            self.set_status(204)
            self.finish()


class DownloadHandler(DoorHandler):
    """Sends a browser to a result in the bucket, signed now, under a sensible name."""

    async def get(self, task_id: str) -> None:
        try:
            record = await self._door.status(task_id)
            if record.status is not Status.COMPLETED or record.result is None:
                self.tell(ApiError(Fault(code=FaultCode.OBJECT_MISSING, detail="There is no result."), status=404))
                return
            url = await self._door.look_up(record.result.output_key, filename=filename_of(record))
        except ClientError as error:
            self.tell(error)
        else:
            self.redirect(url)


class AliveHandler(DoorHandler):
    """Tells a page whose connection was lost that the server is back."""

    def get(self) -> None:
        self.finish("ok")


def _media_type(asked: _Begin) -> str:
    told = asked.media_type.partition(";")[0].strip().lower()
    # A browser that does not know a file, or knows a sound as a video (webm), says so; the slot decides.
    if told.startswith(_TYPES[asked.slot]) and not told.startswith("image/svg"):
        return told
    return {"audio/": "audio/mpeg", "video/": "video/mp4", "image/": "image/jpeg"}[_TYPES[asked.slot]]
