"""A store hands out verified files only, and only under licences that somebody has acknowledged."""

import json
import os
from pathlib import Path

import pytest

from gpu_tasks.acknowledgements import acknowledge, acknowledged_in
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.manifest import ModelEntry, manifest
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import Trust, open_weights
from tests.weights.conftest import CONTENT
from tests.weights.host import Host
from tests.weights.models import COPYLEFT, QUICK, RESTRICTED, digest, entry, store

LOCK = "models.lock.json"
OTHER = bytes(reversed(CONTENT))


def put(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def refused(folder: Path, model: ModelEntry, *, acknowledged: frozenset[str] = frozenset()) -> FaultError:
    with pytest.raises(FaultError) as caught:
        store(folder, model, acknowledged=acknowledged).path("model")
    return caught.value


def test_a_file_that_is_not_there_is_missing_by_name(tmp_path: Path) -> None:
    error = refused(tmp_path / "no such folder", entry(content=CONTENT))

    assert error.fault.code is FaultCode.MODEL_MISSING
    assert "model.onnx" in error.fault.detail


@pytest.mark.parametrize("content", [OTHER, CONTENT[:-1], b""], ids=["another", "cut off", "empty"])
def test_a_file_that_is_not_the_manifests_is_corrupt_and_says_both_digests(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content)

    error = refused(tmp_path, entry(content=CONTENT))

    assert error.fault.code is FaultCode.MODEL_CORRUPT
    assert not error.fault.is_retryable
    assert all(told in error.fault.detail for told in ("model.onnx", digest(CONTENT), digest(content)))


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = put(tmp_path, CONTENT)
    weights = store(tmp_path, entry(content=CONTENT))

    first = weights.verify("model")
    assert weights.verify("model") is first

    replacement = tmp_path / "other"
    replacement.write_bytes(OTHER)
    os.utime(replacement, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    replacement.replace(path)
    with pytest.raises(FaultError) as caught:
        weights.path("model")
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT


def test_pull_puts_the_right_file_in_the_place_of_a_corrupt_one(tmp_path: Path, host: Host) -> None:
    put(tmp_path, OTHER)

    path = store(tmp_path, entry(f"{host.url}/model.onnx", content=CONTENT)).pull("model", limits=QUICK)

    assert path.read_bytes() == CONTENT


def test_the_first_file_of_an_unpublished_digest_is_trusted_and_locked(tmp_path: Path, host: Host) -> None:
    model = entry(f"{host.url}/model.onnx")
    store(tmp_path, model).pull("model", limits=QUICK)

    locked = json.loads((tmp_path / LOCK).read_text())["models"]["model"]
    assert (locked["sha256"], locked["size_bytes"]) == (digest(CONTENT), len(CONTENT))
    assert (locked["release"], locked["host"]) == ("v1", "127.0.0.1")
    assert store(tmp_path, model).verify("model").trust is Trust.LOCK

    put(tmp_path, OTHER)
    assert refused(tmp_path, model).fault.code is FaultCode.MODEL_CORRUPT


def test_a_host_that_changed_its_file_after_first_use_is_not_believed(tmp_path: Path, host: Host) -> None:
    model = entry(f"{host.url}/model.onnx")
    store(tmp_path, model).pull("model", limits=QUICK).unlink()
    host.files["/model.onnx"] = OTHER

    with pytest.raises(FaultError) as caught:
        store(tmp_path, model).pull("model", limits=QUICK)

    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT
    assert not (tmp_path / "model.onnx").exists()


def test_a_file_that_somebody_put_there_is_trusted_at_first_use_and_not_later(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)

    assert store(tmp_path, entry()).verify("model").trust is Trust.FIRST_USE

    put(tmp_path, OTHER)
    assert refused(tmp_path, entry()).fault.code is FaultCode.MODEL_CORRUPT


def test_a_new_release_is_not_taken_for_the_old_one(tmp_path: Path, host: Host) -> None:
    store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=QUICK)
    host.files["/v2"] = OTHER
    newer = entry(f"{host.url}/v2", release="v2")

    assert refused(tmp_path, newer).fault.code is FaultCode.MODEL_MISSING
    assert store(tmp_path, newer).pull("model", limits=QUICK).read_bytes() == OTHER


def test_a_damaged_lock_is_no_reason_to_trust_anew(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    (tmp_path / LOCK).write_text('{"models": {"model"')

    error = refused(tmp_path, entry())

    assert error.fault.code is FaultCode.MODEL_CORRUPT
    assert LOCK in error.fault.detail


def test_a_published_digest_counts_more_than_the_lock(tmp_path: Path, host: Host) -> None:
    host.files["/model.onnx"] = OTHER
    store(tmp_path, entry(f"{host.url}/model.onnx")).pull("model", limits=QUICK)

    assert refused(tmp_path, entry(content=CONTENT)).fault.code is FaultCode.MODEL_CORRUPT


@pytest.mark.parametrize("licence", [RESTRICTED, COPYLEFT])
def test_a_restricted_model_is_neither_used_nor_fetched_before_its_licence_is_acknowledged(
    tmp_path: Path, host: Host, licence: str
) -> None:
    put(tmp_path, CONTENT)
    model = entry(f"{host.url}/model.onnx", content=CONTENT, licence=licence)

    error = refused(tmp_path, model, acknowledged=frozenset({"MIT"}))
    with pytest.raises(FaultError) as pulling:
        store(tmp_path, model).pull("model", limits=QUICK)

    assert error.fault.code is pulling.value.fault.code is FaultCode.LICENCE_NOT_ACKNOWLEDGED
    assert licence in error.fault.detail
    assert host.asked == []


def test_an_acknowledgement_in_settings_or_in_the_folder_lets_a_model_run(tmp_path: Path) -> None:
    path = put(tmp_path, CONTENT)
    model = entry(content=CONTENT, licence=RESTRICTED)

    assert store(tmp_path, model, acknowledged=frozenset({RESTRICTED})).path("model") == path

    weights = store(tmp_path, model)
    assert acknowledge(tmp_path, RESTRICTED)
    assert weights.path("model") == path
    assert not acknowledge(tmp_path, RESTRICTED), "it stands once"
    assert acknowledged_in(tmp_path) == {RESTRICTED}


def test_acknowledgements_that_cannot_be_read_acknowledge_nothing(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    (tmp_path / "acknowledged.json").write_text("true")

    error = refused(tmp_path, entry(content=CONTENT, licence=RESTRICTED))

    assert error.fault.code is FaultCode.LICENCE_NOT_ACKNOWLEDGED


def test_settings_name_the_folder_and_the_licences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIPSWAP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("LIPSWAP_ACKNOWLEDGED_LICENCES", f"MIT, {RESTRICTED},")

    weights = open_weights(WeightSettings())

    assert weights.folder == tmp_path
    assert weights.acknowledged == {"MIT", RESTRICTED}


@pytest.mark.parametrize("model_id", [name for name, model in manifest().models.items() if model.bundled])
def test_bundled_models_are_verified_where_they_lie(tmp_path: Path, model_id: str) -> None:
    weights = open_weights(WeightSettings(weights=tmp_path))

    assert weights.path(model_id) == weights.pull(model_id)
    assert weights.verify(model_id).trust is Trust.MANIFEST


def test_no_such_model_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="wav3lip"):
        store(tmp_path, entry()).path("wav3lip")


def test_what_a_request_needs_is_looked_for_without_reading_it(tmp_path: Path) -> None:
    weights = open_weights(WeightSettings(weights=tmp_path))
    (tmp_path / "hyperswap_1a_256.onnx").touch()
    with pytest.raises(FaultError, match="arcface_w600k_r50") as caught:
        weights.expect("hyperswap_1a_256")
    assert caught.value.fault.code is FaultCode.LICENCE_NOT_ACKNOWLEDGED
    for licence in manifest().licences:
        acknowledge(tmp_path, licence)
    with pytest.raises(FaultError, match="arcface_w600k_r50") as caught:
        weights.expect("hyperswap_1a_256")
    assert caught.value.fault.code is FaultCode.MODEL_MISSING
    # Not the published file, which is found out where it is used.
    (tmp_path / "arcface_w600k_r50.onnx").touch()
    weights.expect("hyperswap_1a_256")
    weights.expect("face_mesh_468")
