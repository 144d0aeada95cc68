"""The contract of RunPod's REST API, v1 and v2, as our client uses it: on the local account or on a real one.

For that: RUNPOD_REST_CONTRACT_URL=https://api.runpod.io/v2 and RUNPOD_REST_CONTRACT_KEY. What it makes has no
workers, costs nothing and is removed.
"""

import os
import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from deployments.fleet.account import Account
from deployments.fleet.dialects import Known
from deployments.fleet.errors import AccountError
from deployments.fleet.planning import ours, plan, removal
from deployments.fleet.resources import KINDS, Endpoint, Found, Kind, Resource, Template, Volume
from deployments.local.control_plane.settings import Scaler
from tests.deploy.account import API_KEY, RunningAccount

_REMOTE = os.environ.get("RUNPOD_REST_CONTRACT_URL")


@pytest.fixture
def client(account: RunningAccount) -> Iterator[Account]:
    if _REMOTE and not _REMOTE.endswith(account.version):
        pytest.skip("the real service is asked in its own version")
    key = os.environ["RUNPOD_REST_CONTRACT_KEY"] if _REMOTE else API_KEY
    with Account(SecretStr(key), _REMOTE or account.base) as client:
        yield client


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


def made(client: Account, *resources: Resource) -> Known:
    """Make resources, in the order given."""
    told = client.dialect.as_told(resources)
    ids: dict[tuple[Kind, str], str] = {}
    known = Known(ids, {(KINDS[type(one)], one.name): one for one in told})
    for one in told:
        ids[KINDS[type(one)], one.name] = client.create(one, known)
    return known


def there(client: Account, prefix: str) -> dict[Kind, Found]:
    return {found.kind: found for found in ours(client.found(), prefix).values()}


def test_what_was_made_is_told_as_it_was_made(client: Account, prefix: str) -> None:
    resources = (template(prefix), endpoint(prefix))
    made(client, *resources)

    # Nothing is left to do, by the same comparison that `plan` makes.
    assert plan(client.dialect.as_told(resources), client.found(), prefix).is_empty


def test_what_is_changed_is_told_changed(client: Account, prefix: str) -> None:
    known = made(client, template(prefix), endpoint(prefix))
    changed = (template(prefix, env={"B": "2"}), endpoint(prefix, idle_seconds=60, execution_seconds=900))
    before = there(client, prefix)

    for one in client.dialect.as_told(changed):
        client.update(before[KINDS[type(one)]].id, one, known)

    assert there(client, prefix)[Kind.TEMPLATE].resource == changed[0]
    assert plan(client.dialect.as_told(changed), client.found(), prefix).is_empty


def test_what_is_removed_is_gone_and_removing_it_again_is_no_error(client: Account, prefix: str) -> None:
    made(client, template(prefix), endpoint(prefix))
    steps = removal(ours(client.found(), prefix).values())

    for _ in range(2):
        for step in steps:
            client.delete(str(step.id), step.kind, step.name)

    assert there(client, prefix) == {}


def test_an_unknown_gpu_is_refused_with_a_reason(client: Account, prefix: str) -> None:
    known = made(client, template(prefix))

    with pytest.raises(AccountError, match="refused to write"):
        client.create(endpoint(prefix, gpu_types=("NVIDIA Abacus",)), known)


def test_of_two_endpoints_in_one_template_the_second_is_refused_where_templates_are_shared(
    client: Account, prefix: str
) -> None:
    known = made(client, template(prefix), endpoint(prefix))
    (second,) = client.dialect.as_told([endpoint(prefix, name=f"{prefix}-two")])

    if Kind.TEMPLATE in client.dialect.listings:
        with pytest.raises(AccountError, match="refused to write"):
            client.create(second, known)
    else:
        assert client.create(second, known)


def test_a_wrong_key_is_told_as_such(client: Account) -> None:
    base = str(client._http.base_url)
    with Account(SecretStr("another-key"), base) as stranger, pytest.raises(AccountError, match="RUNPOD_API_KEY"):
        stranger.found()


@pytest.mark.skipif(bool(_REMOTE), reason="a volume costs money as soon as it is there")
def test_a_volume_grows_and_is_held_by_its_endpoint(client: Account, prefix: str) -> None:
    volume = Volume(name=f"{prefix}-models", size_gb=10, data_center="EU-RO-1")
    known = made(client, volume, template(prefix), endpoint(prefix, volume=volume.name))

    grown = volume.model_copy(update={"size_gb": 20})
    client.update(known.ids[Kind.VOLUME, volume.name], grown, known)
    assert there(client, prefix)[Kind.VOLUME].resource == grown
    with pytest.raises(AccountError, match="in use"):
        client.delete(known.ids[Kind.VOLUME, volume.name], Kind.VOLUME, volume.name)


def test_an_address_of_no_version_that_we_know_is_refused() -> None:
    with pytest.raises(AccountError, match="RUNPOD_REST_BASE ends with /v1 or /v2"):
        Account(SecretStr(API_KEY), "https://rest.runpod.io")
