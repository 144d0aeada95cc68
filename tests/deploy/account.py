"""A real server that speaks RunPod's REST v1, as a process of its own, and the file that is brought to it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from deployments.fleet.account import Account
from deployments.fleet.resources import Found, Kind

API_KEY = "a-key-of-the-tests"
QUOTA = 10
ENVIRONMENT = {"R2_ENDPOINT": "https://account.r2.cloudflarestorage.com", "R2_BUCKET": "media"}


@dataclass(frozen=True)
class RunningAccount:
    """`version` is the one of the API that the tests speak."""

    url: str
    version: str = "v1"

    @property
    def base(self) -> str:
        return f"{self.url}/{self.version}"

    def client(self) -> Account:
        return Account(SecretStr(API_KEY), self.base)

    def forget(self) -> None:
        """Remove everything, and behave well from now on."""
        self._ask("DELETE", f"/local/{self.version}")

    def misbehave(self, **how: int | None) -> None:
        self._ask("PUT", f"/local/{self.version}/misbehaviour", how)

    def writes(self) -> int:
        """How many writes were carried out since the last `misbehave`."""
        return int(self._ask("GET", f"/local/{self.version}/writes")["writes"])

    def names(self, kind: Kind) -> list[str]:
        """Names of all that is there of a kind; v2 has no templates of its own."""
        return sorted(found.resource.name for found in self._found() if found.kind is kind)

    def edit(self, kind: Kind, name: str, changes: Mapping[str, Any]) -> None:
        """Change something as a person does in the console; the fields are the API's own."""
        found = next(one for one in self._found() if one.kind is kind and one.resource.name == name)
        path = {"v1": {Kind.TEMPLATE: "templates", Kind.ENDPOINT: "endpoints"}}.get(self.version, {})
        self._ask("PATCH", f"/{self.version}/{path.get(kind, 'serverless')}/{found.id}", changes)

    def _found(self) -> tuple[Found, ...]:
        with self.client() as account:
            return account.found()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401  # JSON
        request = urllib.request.Request(  # noqa: S310  # our own loopback address
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # the same
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def running_account(folder: Path) -> Iterator[str]:
    """Run the server, and tell its address; what it holds lies in `folder`."""
    command = (sys.executable, "-m", "deployments.local.account", str(folder), "0", str(QUOTA))
    with (
        (folder / "account.log").open("ab") as log,
        subprocess.Popen(command, env={"RUNPOD_API_KEY": API_KEY}, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        try:
            # It listens before it tells its address; a server that ends closes the pipe.
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()
            process.wait(60)


def declared(path: Path, **changes: Any) -> Path:  # noqa: ANN401  # fields of the declaration
    """Write the shipped declaration with changes; `a__b` is the field b of a, None removes one."""
    said = yaml.safe_load((Path(__file__).parents[2] / "deployments" / "lipswap.yaml").read_text(encoding="utf-8"))
    for place, value in ({"worker_quota": QUOTA} | changes).items():
        *folders, last = place.split("__")
        inner = said
        for folder in folders:
            inner = inner[folder]
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return path
