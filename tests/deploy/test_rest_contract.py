"""The contract of RunPod's REST v1 as our client uses it, on the local account or on a real one.

For that: RUNPOD_REST_CONTRACT_URL=https://rest.runpod.io/v1 and RUNPOD_REST_CONTRACT_KEY. What it makes has no
workers, costs nothing and is removed.
"""

import os
import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from deployments.fleet.account import Account
from deployments.fleet.errors import AccountError
from deployments.fleet.planning import ours, removal
from deployments.fleet.resources import Endpoint, Found, Kind, Template, Volume
from deployments.local.control_plane.settings import Scaler
from tests.deploy.account import API_KEY, RunningAccount

_REMOTE = os.environ.get("RUNPOD_REST_CONTRACT_URL")


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Account]:
    if _REMOTE:
        with Account(SecretStr(os.environ["RUNPOD_REST_CONTRACT_KEY"]), _REMOTE) as account:
            yield account
    else:
        running: RunningAccount = request.getfixturevalue("account")
        with Account(SecretStr(API_KEY), f"{running.url}/v1") as account:
            yield account


@pytest.fixture
def prefix(client: Account) -> Iterator[str]:
    """Names of this test alone; whatever is under them is gone afterwards."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    yield name
    for change in removal(ours(client.found(), name).values()):
        client.delete(str(change.id), change.kind, change.name)


def template(prefix: str, **changes: object) -> Template:
    plain = Template(name=f"{prefix}-one", image="docker.io/library/busybox:1", env={"A": "1"}, disk_gb=5)
    return plain.model_copy(update=changes)


def endpoint(prefix: str, **changes: object) -> Endpoint:
    plain = Endpoint(
        name=f"{prefix}-one",
        template=f"{prefix}-one",
        gpu_types=("NVIDIA RTX A4000",),
        gpu_count=1,
        scaler=Scaler.REQUEST_COUNT,
        scaler_value=1,
        workers_min=0,
        workers_max=0,
        idle_seconds=5,
        execution_seconds=600,
        flashboot=False,
    )
    return plain.model_copy(update=changes)


def there(client: Account, prefix: str) -> dict[Kind, Found]:
    return {found.kind: found for found in ours(client.found(), prefix).values()}


def test_a_template_and_its_endpoint_are_told_as_they_were_made(client: Account, prefix: str) -> None:
    ids = {(Kind.TEMPLATE, f"{prefix}-one"): client.create(template(prefix), Kind.TEMPLATE, {})}
    client.create(endpoint(prefix), Kind.ENDPOINT, ids)

    found = there(client, prefix)
    assert found[Kind.TEMPLATE].resource == template(prefix)
    seen = found[Kind.ENDPOINT].resource
    assert isinstance(seen, Endpoint)
    left_to_runpod = {"data_centers", "min_cuda", "flashboot"}
    assert seen.model_dump(exclude=left_to_runpod) == endpoint(prefix).model_dump(exclude=left_to_runpod)


def test_what_is_changed_is_told_changed(client: Account, prefix: str) -> None:
    ids = {(Kind.TEMPLATE, f"{prefix}-one"): client.create(template(prefix), Kind.TEMPLATE, {})}
    id_ = client.create(endpoint(prefix), Kind.ENDPOINT, ids)

    client.update(ids[Kind.TEMPLATE, f"{prefix}-one"], template(prefix, env={"B": "2"}), Kind.TEMPLATE, ids)
    client.update(id_, endpoint(prefix, idle_seconds=60, execution_seconds=900), Kind.ENDPOINT, ids)

    found = there(client, prefix)
    assert found[Kind.TEMPLATE].resource == template(prefix, env={"B": "2"})
    seen = found[Kind.ENDPOINT].resource
    assert isinstance(seen, Endpoint)
    assert (seen.idle_seconds, seen.execution_seconds) == (60, 900)


def test_what_is_removed_is_gone_and_removing_it_again_is_no_error(client: Account, prefix: str) -> None:
    id_ = client.create(template(prefix), Kind.TEMPLATE, {})

    client.delete(id_, Kind.TEMPLATE, f"{prefix}-one")
    client.delete(id_, Kind.TEMPLATE, f"{prefix}-one")

    assert there(client, prefix) == {}


def test_an_unknown_gpu_type_is_refused_with_a_reason(client: Account, prefix: str) -> None:
    ids = {(Kind.TEMPLATE, f"{prefix}-one"): client.create(template(prefix), Kind.TEMPLATE, {})}

    with pytest.raises(AccountError, match="refused to write"):
        client.create(endpoint(prefix, gpu_types=("NVIDIA Abacus",)), Kind.ENDPOINT, ids)


def test_a_template_serves_one_endpoint(client: Account, prefix: str) -> None:
    ids = {(Kind.TEMPLATE, f"{prefix}-one"): client.create(template(prefix), Kind.TEMPLATE, {})}
    client.create(endpoint(prefix), Kind.ENDPOINT, ids)

    with pytest.raises(AccountError, match="refused to write"):
        client.create(endpoint(prefix, name=f"{prefix}-two"), Kind.ENDPOINT, ids)


def test_a_wrong_key_is_told_as_such(client: Account) -> None:
    base = str(client._http.base_url)
    with Account(SecretStr("another-key"), base) as stranger, pytest.raises(AccountError, match="RUNPOD_API_KEY"):
        stranger.found()


@pytest.mark.skipif(bool(_REMOTE), reason="a volume costs money as soon as it is there")
def test_a_volume_grows_and_is_held_by_its_endpoint(client: Account, prefix: str) -> None:
    volume = Volume(name=f"{prefix}-models", size_gb=10, data_center="EU-RO-1")
    ids = {
        (Kind.VOLUME, volume.name): client.create(volume, Kind.VOLUME, {}),
        (Kind.TEMPLATE, f"{prefix}-one"): client.create(template(prefix), Kind.TEMPLATE, {}),
    }
    client.create(endpoint(prefix, volume=volume.name), Kind.ENDPOINT, ids)

    grown = volume.model_copy(update={"size_gb": 20})
    client.update(ids[Kind.VOLUME, volume.name], grown, Kind.VOLUME, ids)
    assert there(client, prefix)[Kind.VOLUME].resource == grown
    with pytest.raises(AccountError, match="in use"):
        client.delete(ids[Kind.VOLUME, volume.name], Kind.VOLUME, volume.name)
