"""`python -m deployments.local.account`: a RunPod account on this machine, as REST v1 shows it.

It keeps what it is told in one file and starts no workers: those are the control plane's. Its contract suite is written
so that it can be run against the real service.
"""

import json
import secrets
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from deployments.local.account.messages import (
    Body,
    EndpointCreate,
    EndpointUpdate,
    Misbehaviour,
    Resource,
    TemplateCreate,
    TemplateUpdate,
    VolumeCreate,
    VolumeUpdate,
)
from deployments.local.control_plane.door import key_required
from deployments.local.control_plane.messages import BadRequest, NotFound

_BODIES: Final[dict[str, tuple[type[Body], type[Body]]]] = {
    "networkvolumes": (VolumeCreate, VolumeUpdate),
    "templates": (TemplateCreate, TemplateUpdate),
    "endpoints": (EndpointCreate, EndpointUpdate),
}


class LocalAccount:
    """Volumes, templates and endpoints by id, written through to a file.

    Args:
        path: The file; what it holds from an earlier time is there again.
        worker_quota: How many workers all endpoints may have together.
    """

    def __init__(self, path: Path, worker_quota: int) -> None:
        self._path = path
        self._quota = worker_quota
        self._kinds: dict[str, dict[str, Resource]] = {kind: {} for kind in _BODIES}
        if path.exists():
            self._kinds |= json.loads(path.read_text(encoding="utf-8"))
        self.writes = 0
        self.misbehaviour = Misbehaviour()

    def routes(self) -> Iterator[web.RouteDef]:
        for kind in _BODIES:
            yield web.get(f"/v1/{kind}", self._list)
            yield web.post(f"/v1/{kind}", self._create)
            yield web.get(f"/v1/{kind}/{{id}}", self._read)
            yield web.patch(f"/v1/{kind}/{{id}}", self._update)
            yield web.delete(f"/v1/{kind}/{{id}}", self._delete)
        yield web.put("/local/misbehaviour", self._misbehave)
        yield web.get("/local/writes", self._count)

    async def _list(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        bound = {one["templateId"] for one in self._kinds["endpoints"].values()}
        wants_bound = request.query.get("includeEndpointBoundTemplates") == "true"
        shown = [
            one for one in self._kinds[kind].values() if kind != "templates" or wants_bound or one["id"] not in bound
        ]
        return web.json_response(shown)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._one(request))

    async def _create(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        said = await _body(request, _BODIES[kind][0])
        self._before_a_write()
        one = {"id": secrets.token_hex(7)} | said
        self._check(kind, one)
        self._kinds[kind][one["id"]] = self._as_kept(one)
        return self._written(request, one)

    async def _update(self, request: web.Request) -> web.Response:
        kind, one = _kind(request), self._one(request)
        said = await _body(request, _BODIES[kind][1])
        self._before_a_write()
        changed = one | said
        self._check(kind, changed)
        self._kinds[kind][one["id"]] = self._as_kept(changed)
        return self._written(request, changed)

    async def _delete(self, request: web.Request) -> web.Response:
        kind, one = _kind(request), self._one(request)
        self._before_a_write()
        held_by = {"templates": "templateId", "networkvolumes": "networkVolumeId"}.get(kind)
        if held_by and any(endpoint.get(held_by) == one["id"] for endpoint in self._kinds["endpoints"].values()):
            raise BadRequest(f"{one['name']} is in use by an endpoint")
        del self._kinds[kind][one["id"]]
        self._written(request, one)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _misbehave(self, request: web.Request) -> web.Response:
        self.misbehaviour = Misbehaviour.model_validate_json(await request.read())
        self.writes = 0
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _count(self, _request: web.Request) -> web.Response:
        return web.json_response({"writes": self.writes})

    def _one(self, request: web.Request) -> Resource:
        kind = _kind(request)
        one = self._kinds[kind].get(request.match_info["id"])
        if one is None:
            raise NotFound(f"{kind}: not found")
        return one

    def _check(self, kind: str, one: Resource) -> None:
        """Refuse what the service refuses: unknown ids, a template that serves another endpoint, too many workers."""
        others = [other for id_, other in self._kinds[kind].items() if id_ != one["id"]]
        if kind == "templates" and any(other["name"] == one["name"] for other in others):
            raise BadRequest("Template name must be unique")
        if kind != "endpoints":
            return
        if one["templateId"] not in self._kinds["templates"]:
            raise BadRequest("template not found")
        if any(other["templateId"] == one["templateId"] for other in others):
            raise BadRequest("template is bound to another endpoint")
        if one.get("networkVolumeId") and one["networkVolumeId"] not in self._kinds["networkvolumes"]:
            raise BadRequest("network volume not found")
        if one["workersMax"] + sum(other["workersMax"] for other in others) > self._quota:
            raise BadRequest(f"Max workers across all endpoints must not exceed {self._quota}")

    @staticmethod
    def _as_kept(one: Resource) -> Resource:
        """FlashBoot is told by the name alone."""
        if "flashboot" not in one:
            return one
        name = one["name"].removesuffix(" -fb")
        return {field: value for field, value in one.items() if field != "flashboot"} | {
            "name": f"{name} -fb" if one["flashboot"] else name
        }

    def _before_a_write(self) -> None:
        limit = self.misbehaviour.refuse_after
        if limit is not None and self.writes >= limit:
            raise web.HTTPInternalServerError

    def _written(self, request: web.Request, one: Resource) -> web.Response:
        self.writes += 1
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._kinds), encoding="utf-8")
        draft.replace(self._path)
        limit = self.misbehaviour.writes_before_silence
        if limit is not None and self.writes > limit and request.transport is not None:
            self.misbehaviour = Misbehaviour()
            request.transport.abort()
        return web.json_response(self._as_kept(one))


def account_app(account: LocalAccount, api_key: str) -> web.Application:
    """Return the application; every route asks for the key."""
    app = web.Application(middlewares=[key_required(api_key)])
    app.add_routes(list(account.routes()))
    return app


def _kind(request: web.Request) -> str:
    return request.path.split("/")[2]


async def _body(request: web.Request, kind: type[Body]) -> dict[str, Any]:
    try:
        return kind.model_validate_json(await request.read()).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{place}: {first['msg']}") from error
