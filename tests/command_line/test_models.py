"""`lipswap models` as it is typed; pulling itself is tested in tests/weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

from gpu_tasks.contract.manifest import manifest
from tests.command_line.terminal import typed

FAILED, USAGE = 1, 2
WAV2LIP = "LicenseRef-Wav2Lip-NonCommercial"


def answer(folder: Path, *arguments: str, **variables: str) -> Any:  # noqa: ANN401  # JSON
    done = typed(folder, "models", *arguments, "--json", **variables)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / ".lipswap" / "weights").mkdir(parents=True, exist_ok=True)
    (folder / ".lipswap" / "weights" / name).write_bytes(content)


def test_the_list_tells_what_lies_here_and_what_may_earn_money(tmp_path: Path) -> None:
    put(tmp_path, "edtalk_256.onnx", b"anything")
    put(tmp_path, "wav2lip_96.onnx.part", b"any")

    rows = {row["name"]: row for row in answer(tmp_path, "list")}

    assert set(rows) == set(manifest().models)
    assert rows["face_mesh_468"]["presence"] == "bundled"
    assert rows["edtalk_256"]["presence"] == "there"
    assert rows["edtalk_256"]["is_default"]
    assert rows["wav2lip_96"]["presence"] == "partly"
    assert rows["wav2lip_gan"]["presence"] == "absent"
    assert rows["wav2lip_gan"]["to_acknowledge"] == [WAV2LIP]
    # Free itself, but not with what it needs.
    assert not rows["ghost_1_256"]["commercial_use"]


def test_the_table_names_every_model_whole(tmp_path: Path) -> None:
    shown = typed(tmp_path, "models", "list", COLUMNS="80").stdout

    assert [line.split()[0] for line in shown.splitlines()[1:]] == list(manifest().models)


def test_a_restricted_model_is_not_pulled_before_its_licence_is_acknowledged(tmp_path: Path) -> None:
    refused = typed(tmp_path, "models", "pull", "wav2lip_gan", "--json")

    assert refused.returncode == FAILED
    assert json.loads(refused.stdout)["code"] == "licence_not_acknowledged"
    assert WAV2LIP in refused.stderr
    assert not (tmp_path / ".lipswap").exists()


def test_an_acknowledgement_stands_in_the_folder_and_in_the_licences(tmp_path: Path) -> None:
    def standing() -> dict[str, bool]:
        return {row["licence"]: row["is_acknowledged"] for row in answer(tmp_path, "licences")}

    assert not standing()[WAV2LIP]

    first = typed(tmp_path, "models", "acknowledge", WAV2LIP)
    second = typed(tmp_path, "models", "acknowledge", WAV2LIP, language="ja")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "trained on LRS2" in first.stderr
    assert "すでに承認されています" in second.stderr
    assert standing()[WAV2LIP]
    assert sum(standing().values()) == 1


def test_an_acknowledgement_in_the_environment_counts(tmp_path: Path) -> None:
    rows = answer(tmp_path, "licences", LIPSWAP_ACKNOWLEDGED_LICENCES=WAV2LIP)

    assert [row["licence"] for row in rows if row["is_acknowledged"]] == [WAV2LIP]


def test_a_licence_that_does_not_exist_cannot_be_acknowledged(tmp_path: Path) -> None:
    assert typed(tmp_path, "models", "acknowledge", "MIT-ish").returncode == USAGE


def test_verify_reads_all_that_lies_here_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    put(tmp_path, "wav2lip_gan.pth", b"not a network")
    put(tmp_path, "edtalk_256.onnx", b"whatever it is")

    done = typed(tmp_path, "models", "verify", "--json")

    assert done.returncode == FAILED
    outcomes = json.loads(done.stdout)
    assert outcomes["face_mesh_468"]["trust"] == "manifest"
    assert outcomes["edtalk_256"]["trust"] == "first_use"
    assert outcomes["wav2lip_gan"]["error"] == "model_corrupt"
    assert hashlib.sha256(b"not a network").hexdigest() in outcomes["wav2lip_gan"]["detail"]
    assert answer(tmp_path, "verify", "edtalk_256")["edtalk_256"]["trust"] == "lock"


def test_verify_without_models_looks_at_the_bundled_ones(tmp_path: Path) -> None:
    done = typed(tmp_path, "models", "verify", language="ja")

    assert done.returncode == 0
    assert done.stderr.count("公開されているダイジェストと一致しました") == 3


def test_pull_wants_to_know_what_and_needs_no_network_for_what_is_bundled(tmp_path: Path) -> None:
    assert typed(tmp_path, "models", "pull").returncode == USAGE
    assert Path(answer(tmp_path, "pull", "face_mesh_468")["face_mesh_468"]).is_file()
