"""A RunPod account on this machine, as REST v1 and v2 show it. `python -m deployments.local.account` serves both.

It keeps what it is told in one file for each version and starts no workers: those are the control plane's. The contract
suite of both is written so that it can be run against the real service.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from aiohttp import web
from pydantic import ValidationError

from deployments.local.account import messages, messages_v2
from deployments.local.account.messages import Body, Misbehaviour, Resource
from deployments.local.control_plane.door import key_required
from deployments.local.control_plane.messages import BadRequest, NotFound

_ENDPOINTS = "endpoints"


class LocalAccount:
    """Volumes, templates and endpoints by id, written through to a file: v1.

    Args:
        path: The file; what it holds from an earlier time is there again.
        worker_quota: How many workers all endpoints may have together.
    """

    version: ClassVar[str] = "v1"
    bodies: ClassVar[Mapping[str, tuple[type[Body], type[Body]]]] = MappingProxyType(
        {
            "networkvolumes": (messages.VolumeCreate, messages.VolumeUpdate),
            "templates": (messages.TemplateCreate, messages.TemplateUpdate),
            _ENDPOINTS: (messages.EndpointCreate, messages.EndpointUpdate),
        }
    )

    def __init__(self, path: Path, worker_quota: int) -> None:
        self._path = path
        self._quota = worker_quota
        self._kinds: dict[str, dict[str, Resource]] = {kind: {} for kind in self.bodies}
        if path.exists():
            self._kinds |= json.loads(path.read_text(encoding="utf-8"))
        self.writes = 0
        self.misbehaviour = Misbehaviour()

    def routes(self) -> Iterator[web.RouteDef]:
        for kind in self.bodies:
            yield web.get(f"/{self.version}/{kind}", self._list)
            yield web.post(f"/{self.version}/{kind}", self._create)
            yield web.get(f"/{self.version}/{kind}/{{id}}", self._read)
            yield web.patch(f"/{self.version}/{kind}/{{id}}", self._update)
            yield web.delete(f"/{self.version}/{kind}/{{id}}", self._delete)
        yield web.put(f"/local/{self.version}/misbehaviour", self._misbehave)
        yield web.get(f"/local/{self.version}/writes", self._count)
        yield web.delete(f"/local/{self.version}", self._forget)

    def listed(self, kind: str, query: Mapping[str, str]) -> object:
        """Return a list's answer: without its parameter, v1 leaves out the templates that serve an endpoint."""
        bound = {one["templateId"] for one in self._kinds[_ENDPOINTS].values()}
        hides = kind == "templates" and query.get("includeEndpointBoundTemplates") != "true"
        return [one for one in self._kinds[kind].values() if not (hides and one["id"] in bound)]

    def check(self, kind: str, one: Resource) -> None:
        """Refuse what the service refuses: unknown ids, a template that serves another endpoint, too many workers."""
        others = [other for id_, other in self._kinds[kind].items() if id_ != one["id"]]
        if kind == "templates" and any(other["name"] == one["name"] for other in others):
            raise BadRequest("Template name must be unique")
        if kind != _ENDPOINTS:
            return
        if one["templateId"] not in self._kinds["templates"]:
            raise BadRequest("template not found")
        if any(other["templateId"] == one["templateId"] for other in others):
            raise BadRequest("template is bound to another endpoint")
        if one.get("networkVolumeId") and one["networkVolumeId"] not in self._kinds["networkvolumes"]:
            raise BadRequest("network volume not found")
        self._check_quota(one["workersMax"] + sum(other["workersMax"] for other in others))

    def is_held(self, kind: str, one: Resource) -> bool:
        """Tell whether an endpoint stands on a resource."""
        held_by = {"templates": "templateId", "networkvolumes": "networkVolumeId"}.get(kind)
        return any(held_by and each.get(held_by) == one["id"] for each in self._kinds[_ENDPOINTS].values())

    def as_kept(self, one: Resource) -> Resource:
        """Return what is told of a resource: v1 tells FlashBoot by the name alone."""
        if "flashboot" not in one:
            return one
        name = one["name"].removesuffix(" -fb")
        told = {field: value for field, value in one.items() if field != "flashboot"}
        return told | {"name": f"{name} -fb" if one["flashboot"] else name}

    def _check_quota(self, workers: int) -> None:
        if workers > self._quota:
            raise BadRequest(f"Max workers across all endpoints must not exceed {self._quota}")

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(self.listed(_kind(request), request.query))

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._one(request))

    async def _create(self, request: web.Request) -> web.Response:
        kind = _kind(request)
        said = await _body(request, self.bodies[kind][0])
        self._before_a_write()
        one = {"id": secrets.token_hex(7)} | said
        self.check(kind, one)
        self._kinds[kind][one["id"]] = self.as_kept(one)
        return self._written(request, one)

    async def _update(self, request: web.Request) -> web.Response:
        kind, one = _kind(request), self._one(request)
        said = await _body(request, self.bodies[kind][1])
        self._before_a_write()
        changed = one | said
        self.check(kind, changed)
        self._kinds[kind][one["id"]] = self.as_kept(changed)
        return self._written(request, changed)

    async def _delete(self, request: web.Request) -> web.Response:
        kind, one = _kind(request), self._one(request)
        self._before_a_write()
        if self.is_held(kind, one):
            raise BadRequest(f"{one['name']} is in use by an endpoint")
        del self._kinds[kind][one["id"]]
        self._written(request, one)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _misbehave(self, request: web.Request) -> web.Response:
        self.misbehaviour = Misbehaviour.model_validate_json(await request.read())
        self.writes = 0
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _forget(self, _request: web.Request) -> web.Response:
        """Begin anew, as an account that was never used."""
        self._kinds = {kind: {} for kind in self.bodies}
        self.writes, self.misbehaviour = 0, Misbehaviour()
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _count(self, _request: web.Request) -> web.Response:
        return web.json_response({"writes": self.writes})

    def _one(self, request: web.Request) -> Resource:
        kind = _kind(request)
        one = self._kinds[kind].get(request.match_info["id"])
        if one is None:
            raise NotFound(f"{kind}: not found")
        return one

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
        return web.json_response(self.as_kept(one))


class LocalAccountV2(LocalAccount):
    """The same as v2 shows it: endpoints hold their image, lists are wrapped, everything is told."""

    version: ClassVar[str] = "v2"
    bodies: ClassVar[Mapping[str, tuple[type[Body], type[Body]]]] = MappingProxyType(
        {
            "network-volumes": (messages_v2.VolumeCreate, messages_v2.VolumeUpdate),
            "serverless": (messages_v2.EndpointCreate, messages_v2.EndpointUpdate),
        }
    )

    def listed(self, kind: str, query: Mapping[str, str]) -> object:  # noqa: ARG002  # v1's
        wrapper = {"network-volumes": "networkVolumes", "serverless": _ENDPOINTS}[kind]
        return {wrapper: list(self._kinds[kind].values())}

    def check(self, kind: str, one: Resource) -> None:
        if kind != "serverless":
            return
        if any(volume not in self._kinds["network-volumes"] for volume in one["networkVolumes"]):
            raise BadRequest("network volume not found")
        others = [other for id_, other in self._kinds[kind].items() if id_ != one["id"]]
        self._check_quota(one["workers"]["max"] + sum(other["workers"]["max"] for other in others))

    def is_held(self, kind: str, one: Resource) -> bool:
        held = [volume for each in self._kinds["serverless"].values() for volume in each["networkVolumes"]]
        return kind == "network-volumes" and one["id"] in held

    def as_kept(self, one: Resource) -> Resource:
        return one


def account_app(accounts: tuple[LocalAccount, ...], api_key: str) -> web.Application:
    """Return the application; every route asks for the key."""
    app = web.Application(middlewares=[key_required(api_key)])
    for account in accounts:
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
