"""The finished file: its sound is kept, and whatever is wrong with a job is a typed fault or a note."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Segment
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.media.join import join
from gpu_tasks.media.probe import probe
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import (
    LEFT_PERSON,
    PLAIN,
    SAMPLES,
    SOURCE,
    TARGET,
    Clip,
    artifact,
    footage,
    reference,
    unpinned,
)
from tests.facefusion.standins import write_standins


def without_content_check(weights: WeightStore) -> NeuralSwap:
    return NeuralSwap(weights, FaceSwapSettings(content_models=()))


@pytest.fixture(scope="module")
def speaking(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The clip with a voice under it, as a lip-sync leaves it."""
    path = tmp_path_factory.mktemp("speaking") / "speaking.mp4"
    seconds = float(clip.frame_count / clip.fps)
    silent = clip.bench.path_of(TARGET)
    join([silent], destination=path, fps=clip.fps, audio_from=SAMPLES / "speech.wav", duration_seconds=seconds)
    return clip.with_files(target=path)


def own_folder(clip: Clip, folder: Path) -> Clip:
    return replace(clip, bench=replace(clip.bench, folder=folder))


def fault_of(act: Callable[[], object]) -> tuple[FaultCode, str]:
    with pytest.raises(FaultError) as caught:
        act()
    return caught.value.fault.code, caught.value.fault.detail


def test_the_voice_of_a_target_is_under_the_result(engine: NeuralSwap, speaking: Clip, tmp_path: Path) -> None:
    clip = own_folder(speaking, tmp_path)
    holds = Segment(start_frame=0, stop_frame=clip.frame_count)
    for job in (clip.job(), clip.job(laid_out=holds)):
        product = engine.run(job, clip.bench)
        made = probe(product.path)
        assert made.video is not None
        assert made.audio is not None
        assert made.video.frame_count == clip.frame_count
        assert made.video.fps == Fraction(25)
        assert product.faces.ratio == 1


def test_a_segment_stays_silent_and_a_silent_target_too(
    engine: NeuralSwap, speaking: Clip, clip: Clip, tmp_path: Path
) -> None:
    part = speaking.job(segment=Segment(start_frame=2, stop_frame=6))
    assert probe(engine.run(part, own_folder(speaking, tmp_path).bench).path).audio is None
    assert probe(engine.run(clip.job(), own_folder(clip, tmp_path).bench).path).audio is None


def test_a_lip_synced_target_without_its_sound_is_a_fault(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    job = clip.job(laid_out=Segment(start_frame=0, stop_frame=clip.frame_count))
    code, _ = fault_of(lambda: engine.run(job, own_folder(clip, tmp_path).bench))
    assert code is FaultCode.AUDIO_MERGE_FAILED
    assert not list(tmp_path.glob("*.mp4"))


def test_a_source_without_a_face_is_named(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "landscape.png"), np.full((200, 200, 3), 90, np.uint8))
    with_landscape = clip.with_files(**{"landscape.png": tmp_path / "landscape.png"})
    job = with_landscape.job(sources=(SOURCE, artifact("landscape.png")))
    code, detail = fault_of(lambda: engine.run(job, with_landscape.bench))
    assert code is FaultCode.NO_FACE_IN_SOURCE
    assert "Source 2 of 2: landscape.png" in detail


def test_of_several_faces_in_a_source_the_largest_is_taken_and_it_is_said(engine: NeuralSwap, two: Clip) -> None:
    job = two.job(sources=(SOURCE, artifact("group.png")), frame_count=2)
    with engine.frames(job, two.bench, engine.equip(job, two.bench)) as (frames, notes):
        assert len(list(frames)) == 2
    assert notes == ("group.png shows 2 faces; the largest was taken",)


def test_a_source_that_is_no_picture_is_a_fault(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
    noisy = clip.with_files(**{"noise.png": tmp_path / "noise.png"})
    code, _ = fault_of(lambda: engine.run(noisy.job(sources=(artifact("noise.png"),)), noisy.bench))
    assert code in {FaultCode.MEDIA_UNREADABLE, FaultCode.MEDIA_UNSUPPORTED}


def test_a_target_damaged_in_the_middle_is_unreadable(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    content = bytearray(clip.bench.path_of(TARGET).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    (tmp_path / "damaged.mp4").write_bytes(content)
    damaged = own_folder(clip, tmp_path).with_files(target=tmp_path / "damaged.mp4")
    code, detail = fault_of(lambda: engine.run(damaged.job(), damaged.bench))
    assert code is FaultCode.MEDIA_UNREADABLE
    assert "frame is damaged" in detail


def test_a_cut_off_target_is_unreadable(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    content = clip.bench.path_of(TARGET).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 3])
    code, _ = fault_of(lambda: engine.run(clip.job(), clip.with_files(target=tmp_path / "cut.mp4").bench))
    assert code is FaultCode.MEDIA_UNREADABLE


def test_a_model_that_is_missing_corrupt_or_not_acknowledged_is_said_by_name(clip: Clip, tmp_path: Path) -> None:
    write_standins(tmp_path)
    acknowledged = frozenset(manifest().licences)
    (tmp_path / "hyperswap_1b_256.onnx").unlink()
    (tmp_path / "hyperswap_1c_256.onnx").write_bytes((tmp_path / "gfpgan_1.4.onnx").read_bytes())
    (tmp_path / "ghost_1_256.onnx").write_bytes(b"no network")
    inswapper = WeightStore(tmp_path, unpinned(), acknowledged=acknowledged)
    expected = {
        "hyperswap_1b_256": FaultCode.MODEL_MISSING,
        "hyperswap_1c_256": FaultCode.MODEL_CORRUPT,
        "ghost_1_256": FaultCode.MODEL_CORRUPT,
    }
    for name, code in expected.items():
        job = clip.job(PLAIN.model_copy(update={"face_swapper_model": name}))
        found, detail = fault_of(lambda job=job: without_content_check(inswapper).equip(job, clip.bench))  # type: ignore[misc]  # bound now
        assert found is code
        assert name in detail
    strict = without_content_check(WeightStore(tmp_path, unpinned()))
    code, detail = fault_of(lambda: strict.equip(clip.job(), clip.bench))
    assert code is FaultCode.LICENCE_NOT_ACKNOWLEDGED
    assert "ResearchRAIL" in detail or "InsightFace" in detail


def test_a_published_file_with_another_digest_is_corrupt(clip: Clip, tmp_path: Path) -> None:
    write_standins(tmp_path)
    real = WeightStore(tmp_path, manifest(), acknowledged=frozenset(manifest().licences))
    code, detail = fault_of(lambda: without_content_check(real).equip(clip.job(), clip.bench))
    assert code is FaultCode.MODEL_CORRUPT
    assert "sha256" in detail


def test_nobody_fails_for_a_detector_that_was_not_chosen(clip: Clip, tmp_path: Path) -> None:
    write_standins(tmp_path)
    for name in ("yoloface_8n", "yunet_2023_mar"):
        (tmp_path / f"{name}.onnx").unlink()
    store = WeightStore(tmp_path, unpinned(), acknowledged=frozenset(manifest().licences))
    engine = without_content_check(store)
    default = clip.job(PLAIN.model_copy(update={"face_detector_model": "yolo_face"}))
    assert [note.partition(" is")[0] for note in engine.equip(default, clip.bench).notes] == [
        "face_detector_model yolo_face"
    ]
    chosen = clip.job(PLAIN.model_copy(update={"face_detector_model": "yunet"}))
    code, detail = fault_of(lambda: engine.equip(chosen, clip.bench))
    assert code is FaultCode.MODEL_MISSING
    assert "yunet" in detail


def test_a_content_model_that_is_not_there_is_a_fault_not_a_silence(clip: Clip, tmp_path: Path) -> None:
    write_standins(tmp_path)
    (tmp_path / "nsfw_1.onnx").unlink()
    store = WeightStore(tmp_path, unpinned(), acknowledged=frozenset(manifest().licences))
    code, detail = fault_of(lambda: NeuralSwap(store, FaceSwapSettings()).equip(clip.job(), clip.bench))
    assert code is FaultCode.MODEL_MISSING
    assert "nsfw_1" in detail


def test_a_worker_without_models_says_so(clip: Clip) -> None:
    code, _ = fault_of(lambda: FaceSwap().run(clip.job(), clip.bench))
    assert code is FaultCode.ENGINE_UNAVAILABLE


def test_networks_stay_loaded_between_jobs(weights: WeightStore, clip: Clip) -> None:
    engine = without_content_check(weights)
    first, second = (engine.equip(clip.job(), clip.bench) for _ in range(2))
    assert first.swapper is not None
    assert second.swapper is not None
    assert first.swapper._network is second.swapper._network
    assert len(footage(1)) == 1


@pytest.mark.parametrize(
    ("selection", "field"),
    [
        (FaceSelection(mode="reference", reference_key=LEFT_PERSON.key), "face_selection.mode"),
        (FaceSelection(mode="reference"), "face_selection.reference_key"),
    ],
)
def test_the_draft_engine_refuses_what_only_recognition_can_do(
    clip: Clip, selection: FaceSelection, field: str
) -> None:
    plain = FaceFusionOptions()
    FaceSwap().check(clip.job(plain, engine=Engine.DRAFT, face_selection=FaceSelection(order="large-small")))
    job = clip.job(plain, engine=Engine.DRAFT, face_selection=selection, references=(reference(LEFT_PERSON),))
    code, detail = fault_of(lambda: FaceSwap().check(job))
    assert code is FaultCode.OPTION_UNSUPPORTED
    assert field in detail


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("landscape.png", FaultCode.NO_FACE_IN_REFERENCE),
        ("group.png", FaultCode.SEVERAL_FACES_IN_REFERENCE),
    ],
)
def test_a_reference_that_shows_nobody_or_several_is_named(
    engine: NeuralSwap, two: Clip, tmp_path: Path, name: str, expected: FaultCode
) -> None:
    cv2.imwrite(str(tmp_path / "landscape.png"), np.full((200, 200, 3), 90, np.uint8))
    clip = own_folder(two, tmp_path).with_files(**{"landscape.png": tmp_path / "landscape.png"})
    entries = (
        FaceMapping(source_index=0, reference_key=LEFT_PERSON.key),
        FaceMapping(source_index=0, reference_key=artifact(name).key),
    )
    job = clip.job(face_map=entries, references=(reference(LEFT_PERSON), reference(artifact(name))))
    code, detail = fault_of(lambda: engine.run(job, clip.bench))
    assert code is expected
    assert f"Reference 2 of 2: uploads/source/{name}" in detail
