"""Pulling a model from hosts that break: whole and verified, or not there and said why."""

import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.manifest import ModelEntry
from tests.weights.conftest import CONTENT
from tests.weights.host import Fault, Host, serving
from tests.weights.models import QUICK, digest, entry, store

OTHER = bytes(reversed(CONTENT))


def refusal(folder: Path, model: ModelEntry) -> FaultError:
    with pytest.raises(FaultError) as caught:
        store(folder, model).pull("model", limits=QUICK)
    return caught.value


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_model_is_fetched_once(tmp_path: Path, host: Host) -> None:
    weights = store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT))

    first, second = weights.pull("model", limits=QUICK), weights.pull("model", limits=QUICK)

    assert first == second == weights.path("model")
    assert first.read_bytes() == CONTENT
    assert len(host.asked) == 1
    assert left(tmp_path) == {"model.onnx"}


def test_a_cut_connection_is_taken_up_where_it_broke(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(cut_after=100_000), Fault(cut_after=50_000)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT
    assert host.ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert all("If-Range" in headers for _, headers in host.asked[1:])


def test_what_a_dead_process_had_fetched_is_taken_up_by_the_next(tmp_path: Path, host: Host) -> None:
    model = entry(f"{host.url}/model.onnx", content=CONTENT)
    host.faults = [Fault(cut_after=100_000), Fault(status=503), Fault(status=503), Fault(status=503)]
    assert refusal(tmp_path, model).fault.code is FaultCode.MODEL_NOT_FETCHED
    host.asked.clear()

    path = store(tmp_path, model).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT
    assert host.ranges() == ["bytes=100000-"]


@pytest.mark.parametrize("known", [True, False], ids=["digest known", "digest unknown"])
def test_a_file_that_changed_in_between_is_begun_anew(tmp_path: Path, host: Host, *, known: bool) -> None:
    host.faults = [Fault(cut_after=100_000), Fault(become=OTHER)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=OTHER if known else None)).pull(
        "model", limits=QUICK
    )

    assert path.read_bytes() == OTHER


def test_a_part_of_another_file_is_not_put_behind_the_first(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(cut_after=100_000), Fault(become=OTHER, ignore_condition=True)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=QUICK)

    assert path.read_bytes() == OTHER
    assert host.ranges() == [None, "bytes=100000-", None]


def test_without_a_digest_the_next_process_begins_anew(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(cut_after=100_000), *[Fault(status=503)] * 3]
    refusal(tmp_path, entry(f"{host.url}/model.onnx"))
    host.asked.clear()

    assert store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=QUICK).read_bytes() == CONTENT
    assert host.ranges() == [None]


def test_a_changed_file_without_a_name_is_told_by_its_digest_and_begun_anew(tmp_path: Path, host: Host) -> None:
    host.with_etag = False
    host.faults = [Fault(cut_after=100_000), Fault(become=OTHER)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=OTHER)).pull("model", limits=QUICK)

    assert path.read_bytes() == OTHER
    assert host.ranges() == [None, "bytes=100000-", None]


def test_without_a_name_or_a_digest_nothing_is_taken_up(tmp_path: Path, host: Host) -> None:
    host.with_etag = False
    host.faults = [Fault(cut_after=100_000)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT
    assert host.ranges() == [None, None]


def test_a_host_that_knows_no_ranges_sends_all_again(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(cut_after=100_000), Fault(ignore_range=True)]

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT


def test_a_beginning_longer_than_the_file_is_thrown_away(tmp_path: Path, host: Host) -> None:
    host.files["/model.onnx"] = CONTENT + b"more"
    host.faults = [Fault(cut_after=300_003), *[Fault(status=503)] * 3]
    refusal(tmp_path, entry(f"{host.url}/model.onnx"))
    host.files["/model.onnx"] = CONTENT
    host.with_etag = False

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault(status=404), "HTTP 404", id="not there"),
        pytest.param(Fault(status=403), "HTTP 403", id="not allowed"),
        pytest.param(Fault(stated_length=299_999), "299999 bytes, 300000 are expected", id="another length"),
        pytest.param(Fault(media_type="text/html; charset=utf-8"), "web page", id="a login page"),
        pytest.param(
            Fault(status=302, location="file:///etc/passwd"),
            "no address that may be followed",
            id="a redirect to a local file",
        ),
        pytest.param(
            Fault(status=302, location="ftp://127.0.0.1/model"),
            "no address that may be followed",
            id="a redirect to ftp",
        ),
    ],
)
def test_what_cannot_be_right_is_refused_at_once_with_its_reason(
    tmp_path: Path, host: Host, fault: Fault, reason: str
) -> None:
    host.faults = [fault]

    error = refusal(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT))

    assert error.fault.code is FaultCode.MODEL_NOT_FETCHED
    assert error.fault.is_retryable
    assert reason in error.fault.detail
    assert "http" not in error.fault.detail, "an address may hold a signature"
    assert len(host.asked) == 1
    assert "model.onnx" not in left(tmp_path)


def test_a_redirect_is_followed_with_the_range(tmp_path: Path, host: Host) -> None:
    moved = Fault(status=302, location=f"{host.url}/model.onnx")
    host.faults = [moved, Fault(cut_after=100_000), moved]

    path = store(tmp_path, entry(f"{host.url}/release", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT
    assert [address for address, _ in host.asked] == ["/release", "/model.onnx"] * 2
    assert host.ranges()[-1] == "bytes=100000-"


def test_a_wrong_digest_leaves_no_file_and_tells_both(tmp_path: Path, host: Host) -> None:
    host.files["/model.onnx"] = OTHER

    error = refusal(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT))

    assert error.fault.code is FaultCode.MODEL_CORRUPT
    assert digest(CONTENT) in error.fault.detail
    assert digest(OTHER) in error.fault.detail
    assert "model.onnx" in error.fault.detail
    assert left(tmp_path) == set()


def test_the_next_address_is_asked_when_one_is_gone_or_wrong(tmp_path: Path, host: Host) -> None:
    host.files |= {"/wrong": OTHER}
    urls = [f"{host.url}/{name}" for name in ("gone", "wrong", "model.onnx")]

    path = store(tmp_path, entry(*urls, content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT


def test_a_host_that_says_later_is_asked_again_and_given_up_after_some_tries(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(status=503), Fault(status=429)]
    model = entry(f"{host.url}/model.onnx", content=CONTENT)
    assert store(tmp_path / "a", model).pull("model", limits=QUICK).read_bytes() == CONTENT

    host.faults, host.asked[:] = [Fault(status=503)] * 9, []
    assert "HTTP 503" in refusal(tmp_path / "b", model).fault.detail
    assert len(host.asked) == QUICK.tries


def test_a_host_that_drips_is_left_at_the_deadline(tmp_path: Path, host: Host) -> None:
    host.faults = [Fault(drip=True)]
    limits = replace(QUICK, deadline_seconds=0.4)

    with pytest.raises(FaultError, match="the time is over"):
        store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT)).pull("model", limits=limits)


def test_a_host_where_nothing_listens_is_said_not_to_answer(tmp_path: Path) -> None:
    with serving(Host()) as gone:
        url = gone.url

    assert "does not answer" in refusal(tmp_path, entry(f"{url}/model.onnx", content=CONTENT)).fault.detail


def test_no_file_grows_beyond_the_cap(tmp_path: Path, host: Host) -> None:
    with pytest.raises(FaultError, match="more than 200000"):
        store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=replace(QUICK, max_bytes=200_000))

    assert left(tmp_path) == set()


def test_an_address_that_is_no_http_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(CONTENT)

    error = refusal(tmp_path, entry((tmp_path / "here").as_uri(), content=CONTENT))

    assert error.fault.code is FaultCode.MODEL_NOT_FETCHED


def test_the_proxy_of_the_settings_is_asked(tmp_path: Path, host: Host) -> None:
    host.files["http://models.invalid/model.onnx"] = CONTENT
    limits = replace(QUICK, proxies={"http": host.url})

    path = store(tmp_path, entry("http://models.invalid/model.onnx", content=CONTENT)).pull("model", limits=limits)

    assert path.read_bytes() == CONTENT


def pull_elsewhere(folder: Path, url: str) -> bytes:
    return store(folder, entry(url)).pull("model", limits=QUICK).read_bytes()


def test_processes_that_pull_at_once_fetch_the_file_once(tmp_path: Path, host: Host) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        url = f"{host.url}/model.onnx"
        contents = list(pool.map(pull_elsewhere, [tmp_path] * 3, [url] * 3, timeout=200))

    assert contents == [CONTENT] * 3
    assert len(host.asked) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


@pytest.mark.parametrize("says_its_length", [True, False])
def test_a_full_disk_is_said_and_freed(small_disk: Path, host: Host, *, says_its_length: bool) -> None:
    if not says_its_length:
        host.faults = [Fault(omit_length=True)]

    error = refusal(small_disk, entry(f"{host.url}/model.onnx"))

    assert error.fault.code is FaultCode.DISK_FULL
    assert left(small_disk) == set()
