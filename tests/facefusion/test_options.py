"""Each option of a face swap changes the pixels that it names, and no others; or it is refused by its name."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection
from gpu_tasks.facefusion.geometry import Template, affine_to, five_of_mesh
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import OVAL
from tests.facefusion.clips import PLAIN, Clip, artifact, pixels, reference

Area = NDArray[np.bool_]
SWAP_AND_ENHANCE = {"processors": ("face_swapper", "face_enhancer"), "face_enhancer_blend": 60}


class Asked(NamedTuple):
    """What is asked for in place of PLAIN and `before`, and where in each frame that may and must show."""

    options: Mapping[str, Any]
    where: Callable[[Frame, tuple[Floats, ...]], Area]
    before: Mapping[str, Any] = {}


def crops(frame: Frame, faces: tuple[Floats, ...], *templates: Template) -> Area:
    area = np.zeros(frame.shape[:2], np.uint8)
    for mesh in faces:
        for template in templates:
            affine = cv2.invertAffineTransform(affine_to(template, five_of_mesh(mesh), 100))
            corners = np.array([[0, 0, 1], [100, 0, 1], [100, 100, 1], [0, 100, 1]]) @ affine.T
            cv2.fillConvexPoly(area, np.rint(corners).astype(np.int32), (1,))
    return np.asarray(cv2.dilate(area, np.ones((5, 5), np.uint8)) > 0, np.bool_)


def swapped(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    return crops(frame, faces, Template.ARCFACE_128)


def any_template(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    return crops(frame, faces, *Template)


def enhanced(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    return crops(frame, faces, Template.ARCFACE_128, Template.FFHQ_512)


def around(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    """Where a crop may lie whose points come from elsewhere: the stand-in's face is a large one."""
    area = np.zeros(frame.shape[:2], np.uint8)
    for mesh in faces:
        oval = mesh[list(OVAL), :2]
        reach = int(3.0 * float(np.ptp(oval, axis=0).max()))
        cv2.circle(area, (int(oval[:, 0].mean()), int(oval[:, 1].mean())), reach, (1,), -1)
    return np.asarray(area > 0, np.bool_)


def everywhere(frame: Frame, _faces: tuple[Floats, ...]) -> Area:
    return np.ones(frame.shape[:2], np.bool_)


def nowhere(frame: Frame, _faces: tuple[Floats, ...]) -> Area:
    return np.zeros(frame.shape[:2], np.bool_)


TABLE: Mapping[str, Asked] = {
    "processors": Asked(SWAP_AND_ENHANCE, enhanced),
    "face_swapper_model": Asked({"face_swapper_model": "ghost_2_256"}, any_template),
    "face_swapper_weight": Asked({"face_swapper_weight": 0.0}, swapped),
    "face_swapper_pixel_boost": Asked({"face_swapper_pixel_boost": 512}, swapped),
    "face_swapper_colour_match": Asked({"face_swapper_colour_match": True}, swapped),
    "face_enhancer_model": Asked({"face_enhancer_model": "gpen_bfr_256"}, enhanced, SWAP_AND_ENHANCE),
    "face_enhancer_blend": Asked({"face_enhancer_blend": 95}, enhanced, SWAP_AND_ENHANCE),
    "face_enhancer_weight": Asked(
        {"face_enhancer_weight": 1.0}, enhanced, {**SWAP_AND_ENHANCE, "face_enhancer_model": "codeformer"}
    ),
    "frame_enhancer_model": Asked(
        {"frame_enhancer_model": "real_esrgan_x4"}, everywhere, {"processors": ("face_swapper", "frame_enhancer")}
    ),
    "frame_enhancer_blend": Asked(
        {"frame_enhancer_blend": 10}, everywhere, {"processors": ("face_swapper", "frame_enhancer")}
    ),
    "face_detector_model": Asked({"face_detector_model": "yolo_face"}, swapped),
    "face_landmarker_model": Asked({"face_landmarker_model": "2dfan4"}, around),
    "face_mask_types": Asked({"face_mask_types": ("box", "hull")}, swapped),
    "face_mask_blur": Asked({"face_mask_blur": 0.8}, swapped),
    "face_mask_padding": Asked({"face_mask_padding": (30, 0, 0, 0)}, swapped),
    "face_mask_areas": Asked({"face_mask_areas": ("mouth",)}, swapped, {"face_mask_types": ("area",)}),
    "face_mask_regions": Asked({"face_mask_regions": ("skin",)}, swapped, {"face_mask_types": ("box", "region")}),
    "face_parser_model": Asked(
        {"face_parser_model": "bisenet_resnet_18"},
        swapped,
        {"face_mask_types": ("box", "region"), "face_mask_regions": ("skin",)},
    ),
    "face_occluder_model": Asked({"face_occluder_model": "xseg_2"}, swapped, {"face_mask_types": ("box", "occlusion")}),
    "execution_providers": Asked({"execution_providers": ("cpu",)}, nowhere),
    "execution_thread_count": Asked({"execution_thread_count": 2}, nowhere),
    "execution_queue_count": Asked({"execution_queue_count": 2}, nowhere),
    # How the result is encoded: the frames before it are the same.
    "output_video_encoder": Asked({"output_video_encoder": "h264_nvenc"}, nowhere),
    "output_video_preset": Asked({"output_video_preset": "ultrafast"}, nowhere),
}


def options(**changes: Any) -> FaceFusionOptions:  # noqa: ANN401 - fields of the options
    return FaceFusionOptions(**{**PLAIN.model_dump(), **changes})


def test_the_table_holds_every_option() -> None:
    assert set(TABLE) == set(FaceFusionOptions.model_fields)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_an_option_changes_what_it_names_and_nothing_else(name: str, engine: NeuralSwap, two: Clip) -> None:
    asked = TABLE[name]
    count = 4
    # Of the two people in this picture every detector takes the one it finds: the stand-ins go by a blue spot.
    group = (artifact("group.png"),)
    before_job = two.job(options(**asked.before), frame_count=count, sources=group)
    job = two.job(options(**{**asked.before, **asked.options}), frame_count=count, sources=group)
    FaceSwap().check(job)
    before, after = pixels(engine, two, before_job), pixels(engine, two, job)
    for one, other, faces in zip(before, after, two.meshes(job), strict=True):
        differs = np.any(one != other, axis=2)
        assert not (differs & ~asked.where(one, faces)).any()
        if asked.where is not nowhere:
            assert differs.mean() > 0.002


def test_a_swap_changes_the_crops_of_faces_alone(engine: NeuralSwap, two: Clip) -> None:
    job = two.job(frame_count=3)
    for before, after, faces in zip(two.original(job), pixels(engine, two, job), two.meshes(job), strict=True):
        differs = np.any(before != after, axis=2)
        assert differs.mean() > 0.05
        assert not (differs & ~swapped(before, faces)).any()


def test_an_enhancer_alone_changes_the_crops_of_faces_alone(engine: NeuralSwap, two: Clip) -> None:
    job = two.job(options(processors=("face_enhancer",), face_enhancer_blend=100), frame_count=3)
    for before, after, faces in zip(two.original(job), pixels(engine, two, job), two.meshes(job), strict=True):
        differs = np.any(before != after, axis=2)
        assert differs.mean() > 0.05
        assert not (differs & ~crops(before, faces, Template.FFHQ_512)).any()
    nothing = two.job(options(processors=("face_enhancer",), face_enhancer_blend=0), frame_count=3)
    assert all(map(np.array_equal, two.original(nothing), pixels(engine, two, nothing)))


def test_what_covers_a_face_stays_in_front_of_it(engine: NeuralSwap, two: Clip) -> None:
    masked = two.job(options(face_mask_types=("box", "occlusion")), frame_count=1)
    plain = two.job(frame_count=1)
    (before,) = two.original(masked)
    (swapped_plain,), (after,) = pixels(engine, two, plain), pixels(engine, two, masked)
    # The stand-in takes what is bluer than half for a hand.
    covered = cv2.erode((before[:, :, 0] > 150).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    was_changed = np.any(swapped_plain != before, axis=2)
    assert (covered & was_changed).any()
    assert np.abs(after.astype(int) - before)[covered & was_changed].mean() < 0.5


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"options": options(processors=())}, "processors"),
        ({"options": options(face_swapper_model="deepswap")}, "face_swapper_model"),
        ({"options": options(face_enhancer_model="wonder")}, "face_enhancer_model"),
        ({"options": options(frame_enhancer_model="real_hatgan_x4")}, "frame_enhancer_model"),
        ({"options": options(face_detector_model="many")}, "face_detector_model"),
        ({"options": options(face_landmarker_model="fan_68_5")}, "face_landmarker_model"),
        ({"options": options(face_occluder_model="many")}, "face_occluder_model"),
        ({"options": options(face_parser_model="bisenet")}, "face_parser_model"),
        ({"options": options(face_mask_types=())}, "face_mask_types"),
        ({"options": options(face_swapper_pixel_boost=300)}, "face_swapper_pixel_boost"),
        (
            {"options": options(face_swapper_model="uniface_256", face_swapper_weight=0.2)},
            "face_swapper_weight",
        ),
        ({"options": options(execution_providers=("rocm",))}, "execution_providers"),
        ({"options": options(output_video_encoder="libx999")}, "output_video_encoder"),
        ({"face_selection": FaceSelection(mode="reference")}, "face_selection.reference_key"),
        (
            {"face_selection": FaceSelection(mode="reference", reference_key="uploads/source/nobody.png")},
            "references",
        ),
        ({"face_map": (FaceMapping(source_index=3, position=0),)}, "face_map.0.source_index"),
        ({"face_map": (FaceMapping(source_index=0),)}, "face_map.0.position"),
        (
            {"face_map": (FaceMapping(source_index=0, position=0, reference_key="uploads/source/left.png"),)},
            "face_map.0.position",
        ),
        ({"face_selection": FaceSelection(reference_key="uploads/source/left.png")}, "face_selection.reference_key"),
        (
            {
                "face_map": (FaceMapping(source_index=0, position=0),),
                "face_selection": FaceSelection(mode="one", position=1),
            },
            "face_selection",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_done_is_refused_by_name(two: Clip, changes: dict[str, Any], name: str) -> None:
    with pytest.raises(FaultError, match=f" {name}:") as caught:
        FaceSwap().check(two.job(**changes))
    assert caught.value.fault.code is FaultCode.OPTION_UNSUPPORTED
    assert not caught.value.fault.is_retryable


def test_options_that_only_the_worker_decides_are_noted(engine: NeuralSwap, two: Clip) -> None:
    asked = options(execution_thread_count=9, execution_queue_count=3)
    notes = engine.equip(two.job(asked), two.bench).notes
    assert [note.partition(" ")[0] for note in notes] == ["execution_thread_count", "execution_queue_count"]


def test_references_are_inputs_of_the_job(two: Clip) -> None:
    job = two.job(references=(reference(artifact("left.png")),))
    assert artifact("left.png") in FaceSwap().inputs(job)


def test_the_page_tells_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "face-swap.md").read_text(encoding="utf-8")
    table = page.partition("## Every option")[2].partition("\n## ")[0]
    told = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert told == set(FaceFusionOptions.model_fields)
