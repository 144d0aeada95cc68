"""One RunPod account over REST v1: what it has, and single changes to it.

Reading and deleting are tried again; creating is not: after a lost answer only a look at the account tells.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import SecretStr, ValidationError

from deployments.fleet import rest_v1
from deployments.fleet.errors import AccountError, AnswerLostError
from deployments.fleet.resources import Found, Kind, Resource

REST_BASE: Final = "https://rest.runpod.io/v1"
_SECONDS: Final = 30.0
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.5
_LONGEST_DETAIL: Final = 300


class Account:
    """A context: its connection is closed at the end."""

    def __init__(self, api_key: SecretStr, base_url: str = REST_BASE) -> None:
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"),
            headers={"Authorization": f"Bearer {api_key.get_secret_value()}"},
            timeout=_SECONDS,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def found(self) -> tuple[Found, ...]:
        """Return every volume, template and endpoint of the account, whoever made it.

        Raises:
            AccountError: It refuses the key, does not answer, or answers what cannot be read.
        """
        answers = {kind: self._list(kind) for kind in Kind}
        try:
            return rest_v1.read(answers)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise AccountError(f"RunPod's list cannot be read: {place}: {first['msg']}.") from error

    def create(self, resource: Resource, kind: Kind, ids: Mapping[tuple[Kind, str], str]) -> str:
        """Make a resource and return its id.

        Raises:
            AccountError: It was refused, and is not there.
            AnswerLostError: It may be there.
        """
        answer = self._write("POST", f"/{rest_v1.PATHS[kind]}", rest_v1.write(resource, ids), resource.name)
        try:
            return str(answer.json()["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise AnswerLostError(f"RunPod took {kind} {resource.name} but did not tell its id.") from error

    def update(self, id_: str, resource: Resource, kind: Kind, ids: Mapping[tuple[Kind, str], str]) -> None:
        """Bring a resource to what is wanted; on an endpoint this begins a rolling release.

        Raises:
            AccountError: It was refused.
            AnswerLostError: It may have been done.
        """
        body = rest_v1.write_update(kind, rest_v1.write(resource, ids))
        self._write("PATCH", f"/{rest_v1.PATHS[kind]}/{id_}", body, resource.name)

    def delete(self, id_: str, kind: Kind, name: str) -> None:
        """Remove a resource; one that is not there (any more) is no error.

        Raises:
            AccountError: It was refused, or RunPod does not answer.
        """
        answer = self._repeat("DELETE", f"/{rest_v1.PATHS[kind]}/{id_}", {})
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_FOUND:
            raise _refused(answer, f"remove {kind} {name}")

    def _list(self, kind: Kind) -> list[dict[str, Any]]:
        answer = self._repeat("GET", f"/{rest_v1.PATHS[kind]}", rest_v1.LIST_QUERIES.get(kind, {}))
        if not answer.is_success:
            raise _refused(answer, f"list {kind}s")
        try:
            listed = answer.json()
        except ValueError as error:
            raise AccountError(f"RunPod's list of {kind}s is no JSON; is RUNPOD_REST_BASE right?") from error
        if not isinstance(listed, list):
            raise AccountError(f"RunPod's list of {kind}s is none; is RUNPOD_REST_BASE right?")
        return listed

    def _write(self, method: str, path: str, body: Mapping[str, Any], name: str) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                answer = self._http.request(method, path, json=dict(body))
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
                pass
            except httpx.HTTPError as error:
                raise AnswerLostError(_lost(name)) from error
            else:
                if answer.is_success:
                    return answer
                if answer.is_server_error:
                    raise AnswerLostError(_lost(name))
                if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise _refused(answer, f"write {name}")
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AccountError(f"RunPod could not be reached to write {name}; nothing was changed by this step.")

    def _repeat(self, method: str, path: str, query: Mapping[str, str]) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                answer = self._http.request(method, path, params=dict(query))
            except httpx.HTTPError:
                pass
            else:
                if not answer.is_server_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    return answer
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AccountError("RunPod's REST API does not answer; try again, or look at https://uptime.runpod.io.")


def _refused(answer: httpx.Response, what: str) -> AccountError:
    match answer.status_code:
        case HTTPStatus.UNAUTHORIZED:
            return AccountError("RunPod refuses the API key; set RUNPOD_API_KEY to one of this account.")
        case HTTPStatus.FORBIDDEN:
            return AccountError(
                "RUNPOD_API_KEY may not do this; give the key write access to endpoints, templates and volumes."
            )
        case HTTPStatus.GONE:
            return AccountError("RunPod has retired this API; see docs/deploy.md, and RUNPOD_REST_BASE.")
        case status:
            return AccountError(f"RunPod refused to {what} with status {status}: {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    try:
        said = answer.json()
    except ValueError:
        said = answer.text
    if isinstance(said, dict):
        said = said.get("message") or said.get("error") or said.get("detail") or said
    return str(said)[:_LONGEST_DETAIL]


def _lost(name: str) -> str:
    return f"RunPod's answer about {name} was lost; apply again, it finds out what became of it."
