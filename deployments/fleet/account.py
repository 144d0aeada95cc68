"""One RunPod account over its REST API: what it has, and single changes to it.

Reading and deleting are tried again; creating is not: after a lost answer only a look at the account tells.
"""

import time
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import SecretStr, ValidationError

from deployments.fleet.dialects import Dialect, Known, Write
from deployments.fleet.errors import AccountError, AnswerLostError
from deployments.fleet.resources import Found, Kind, Resource
from deployments.fleet.rest_v1 import RestV1
from deployments.fleet.rest_v2 import RestV2

# v1 (https://rest.runpod.io/v1) is announced to end in December 2026.
REST_BASE: Final = "https://api.runpod.io/v2"
_DIALECTS: Final[Mapping[str, Dialect]] = {"v1": RestV1(), "v2": RestV2()}
_SECONDS: Final = 30.0
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.5
_LONGEST_DETAIL: Final = 300


class Account:
    """A context: its connection is closed at the end."""

    def __init__(self, api_key: SecretStr, base_url: str = REST_BASE) -> None:
        version = base_url.rstrip("/").rpartition("/")[2]
        if version not in _DIALECTS:
            raise AccountError(f"RUNPOD_REST_BASE ends with /{' or /'.join(_DIALECTS)}; {base_url} does not.")
        self.dialect = _DIALECTS[version]
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
            return self.dialect.read(answers)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise AccountError(f"RunPod's list cannot be read: {place}: {first['msg']}.") from error

    def create(self, resource: Resource, known: Known) -> str:
        """Make a resource and return its id; empty for one that is made along with another.

        Raises:
            AccountError: It was refused, and is not there.
            AnswerLostError: It may be there.
        """
        if (write := self.dialect.creating(resource, known)) is None:
            return ""
        answer = self._write(write, resource.name)
        try:
            return str(answer.json()["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise AnswerLostError(f"RunPod took {resource.name} but did not tell its id.") from error

    def update(self, id_: str, resource: Resource, known: Known) -> None:
        """Bring a resource to what is wanted; another image or environment begins a rolling release.

        Raises:
            AccountError: It was refused.
            AnswerLostError: It may have been done.
        """
        if (write := self.dialect.updating(id_, resource, known)) is not None:
            self._write(write, resource.name)

    def delete(self, id_: str, kind: Kind, name: str) -> None:
        """Remove a resource; one that is not there (any more) is no error.

        Raises:
            AccountError: It was refused, or RunPod does not answer.
        """
        if (path := self.dialect.deleting(id_, kind)) is None:
            return
        answer = self._repeat("DELETE", path, {})
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_FOUND:
            raise _refused(answer, f"remove {kind} {name}")

    def _list(self, kind: Kind) -> list[dict[str, Any]]:
        if (listing := self.dialect.listings.get(kind)) is None:
            return []
        answer = self._repeat("GET", listing.path, listing.query)
        if not answer.is_success:
            raise _refused(answer, f"list {kind}s")
        try:
            listed = answer.json()
            if listing.wrapped_in is not None and isinstance(listed, dict):
                listed = listed.get(listing.wrapped_in)
        except ValueError as error:
            raise AccountError(f"RunPod's list of {kind}s is no JSON; is RUNPOD_REST_BASE right?") from error
        if not isinstance(listed, list):
            raise AccountError(f"RunPod's list of {kind}s is none; is RUNPOD_REST_BASE right?")
        return listed

    def _write(self, write: Write, name: str) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                answer = self._http.request(write.method, write.path, json=dict(write.body))
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
