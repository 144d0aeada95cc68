from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import EndpointClient
from tests.workers.jobs import Uploads, as_input, markers_of, receipt_of, reply_of


@pytest.fixture(scope="package")
def landscape(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A picture without a face."""
    path = tmp_path_factory.mktemp("pictures") / "landscape.png"
    cv2.imwrite(str(path), np.linspace(0, 255, 256 * 256 * 3).reshape(256, 256, 3).astype(np.uint8))
    return store.put_file(path, "uploads/source/landscape.png", "image/png")


async def test_the_source_face_is_put_on_the_target(
    face_swap: EndpointClient, store: ArtifactStore, uploads: Uploads, tmp_path: Path
) -> None:
    options = FaceFusionOptions(output_video_preset="ultrafast", face_enhancer_blend=80)
    job = uploads.face_swap(30, options=options)

    receipt = receipt_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED"))

    assert receipt.faces.ratio > 0.9
    assert receipt.notes == ("face_enhancer_blend has no effect in the draft engine",)
    assert not receipt.has_audio
    assert markers_of(store, job) == ["started-1.json"]
    store.fetch(receipt.artifact, tmp_path / "result.mp4")
    store.fetch(uploads.target, tmp_path / "target.mp4")
    assert probe(tmp_path / "result.mp4").video == receipt.video
    with VideoReader(tmp_path / "result.mp4") as made, VideoReader(tmp_path / "target.mp4") as original:
        after, before = next(iter(made)).pixels, next(iter(original)).pixels
    change = np.abs(cv2.blur(after.astype(np.float32) - before, (15, 15))).max(axis=2)
    # The face is changed, the corners are not.
    assert change.max() > 12
    assert max(change[:40, :40].max(), change[:40, -40:].max()) < 4


async def test_a_source_without_a_face_is_named(
    face_swap: EndpointClient, uploads: Uploads, landscape: Artifact
) -> None:
    job = uploads.face_swap(5, sources=(uploads.source, landscape))
    fault = reply_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    assert (fault.code, fault.stage) == (FaultCode.NO_FACE_IN_SOURCE, "facefusion")
    assert "Source 2 of 2: landscape.png" in fault.detail


async def test_a_target_position_where_nobody_stands_is_no_face(face_swap: EndpointClient, uploads: Uploads) -> None:
    job = uploads.face_swap(5, face_selection=FaceSelection(mode="one", position=9))
    fault = reply_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    assert fault.code is FaultCode.NO_FACE_DETECTED


REFERENCE = "uploads/source/somebody.png"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("face_map.0.source_index", {"face_map": (FaceMapping(source_index=1, position=0),)}),
        ("face_selection.mode", {"face_selection": FaceSelection(mode="reference", reference_key=REFERENCE)}),
        ("processors", {"options": FaceFusionOptions(processors=("face_enhancer",))}),
        ("output_video_encoder", {"options": FaceFusionOptions(output_video_encoder="libx999")}),
    ],
)
async def test_what_is_not_built_is_refused_by_name(
    face_swap: EndpointClient, uploads: Uploads, field: str, changes: dict[str, object]
) -> None:
    job: FaceFusionJob = uploads.face_swap(5, **changes)
    fault = reply_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    assert fault.code is FaultCode.OPTION_UNSUPPORTED
    assert field in fault.detail
