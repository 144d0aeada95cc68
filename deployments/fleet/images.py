"""Whether an image exists, asked of its registry as container engines do (OCI distribution specification, v2)."""

import re
from http import HTTPStatus
from typing import Final, NamedTuple

import httpx

from deployments.fleet.errors import PreflightError

_SECONDS: Final = 15.0
# Docker Hub's names leave its host out, and its API lies at another one.
_DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io"})
_DOCKER_HUB_API: Final = "registry-1.docker.io"
_ACCEPTED: Final = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
# Container engines ask a registry on their own machine by http, too.
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1"})
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


class ImageName(NamedTuple):
    """Parts of `host/repository:tag`."""

    host: str
    repository: str
    tag: str


def parts_of(image: str) -> ImageName:
    """Return the parts of an image's name; a first part without dot or colon is a folder of Docker Hub."""
    path, _, tag = image.rpartition(":")
    host, _, repository = path.partition("/")
    if not repository or not ("." in host or ":" in host or host == "localhost"):
        host, repository = "docker.io", path
    return ImageName(host, repository, tag)


class ImageRegistry:
    """Asks registries anonymously; private images are vouched for by the one who deploys."""

    def check(self, image: str) -> None:
        """Ask for one image.

        Raises:
            PreflightError: It is not there, is not for everybody, or the registry does not answer.
        """
        name = parts_of(image)
        try:
            with httpx.Client(timeout=_SECONDS, follow_redirects=True) as http:
                status = self._ask(http, name)
        except httpx.HTTPError as error:
            raise PreflightError(f"The registry {name.host} does not answer; {image} could not be checked.") from error
        match status:
            case HTTPStatus.OK:
                return
            case HTTPStatus.NOT_FOUND:
                raise PreflightError(f"The image {image} does not exist; push it, or correct tag in the declaration.")
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                raise PreflightError(
                    f"The image {image} does not exist or is private; for a private one set registry_auth_id and apply "
                    "with --no-image-check."
                )
            case _:
                raise PreflightError(f"The registry {name.host} answered with status {status} about {image}.")

    def _ask(self, http: httpx.Client, name: ImageName) -> int:
        host = _DOCKER_HUB_API if name.host in _DOCKER_HUB else name.host
        scheme = "http" if name.host.partition(":")[0] in _THIS_MACHINE else "https"
        url = f"{scheme}://{host}/v2/{name.repository}/manifests/{name.tag}"
        answer = http.head(url, headers={"Accept": _ACCEPTED})
        if answer.status_code == HTTPStatus.UNAUTHORIZED and (token := _token(http, answer)):
            answer = http.head(url, headers={"Accept": _ACCEPTED, "Authorization": f"Bearer {token}"})
        return answer.status_code


def _token(http: httpx.Client, answer: httpx.Response) -> str | None:
    """Return the token that the challenge points to: registries want one even for public images."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if not challenge.lower().startswith("bearer "):
        return None
    asked = dict(_CHALLENGE.findall(challenge))
    realm = asked.pop("realm", None)
    if realm is None:
        return None
    told = http.get(realm, params=asked)
    if not told.is_success:
        return None
    body = told.json()
    token = body.get("token") or body.get("access_token")
    return str(token) if token else None
