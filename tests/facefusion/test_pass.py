"""One way through the frames: the documented pixels on a still, the same frames however they are cut, no trembling."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Segment
from gpu_tasks.contract.options import FaceFusionOptions, SyncMode
from gpu_tasks.draft.models import face_models
from gpu_tasks.facefusion.colour import FIELD
from gpu_tasks.facefusion.embedding import Embedder, unit
from gpu_tasks.facefusion.geometry import TEMPLATES, Template, five_of_mesh
from gpu_tasks.facefusion.looking import PictureReader, Points
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.facefusion.steadying import REACH, steady_mask, with_neighbours
from gpu_tasks.facefusion.swappers import SWAPPERS
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.cancellation import Cancellation, JobCancelledError
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import (
    FPS,
    HEIGHT,
    PLAIN,
    SAMPLES,
    SOURCE,
    TARGET,
    Clip,
    changed,
    footage,
    pixels,
    portrait,
    write_clip,
)
from tests.facefusion.standins import ENHANCED, swapped_by_hand
from tests.facefusion.test_masks import box_by_hand

LIT = PLAIN.model_copy(update={"face_swapper_colour_match": True})
ALL = PLAIN.model_copy(
    update={
        "processors": ("face_swapper", "face_enhancer"),
        "face_enhancer_blend": 80,
        "face_swapper_colour_match": True,
        "face_mask_types": ("box", "occlusion", "area", "region", "hull"),
    }
)


def affine_by_hand(points: Floats, template: Template, size: int) -> NDArray[np.float64]:
    onto = TEMPLATES[template].astype(np.float64) * size
    found, _ = cv2.estimateAffinePartial2D(
        points.astype(np.float64), onto, method=cv2.RANSAC, ransacReprojThreshold=100
    )
    return np.asarray(found, np.float64)


def pasted_by_hand(
    frame: NDArray[np.float64], crop: NDArray[np.float64], mask: NDArray[np.float64], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    inverse, shape = cv2.invertAffineTransform(affine), frame.shape[1::-1]
    taken = np.clip(cv2.warpAffine(mask, inverse, shape), 0, 1)[..., None]
    above = cv2.warpAffine(np.ascontiguousarray(crop), inverse, shape, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken * above + (1 - taken) * frame, np.float64)


def cut_by_hand(frame: NDArray[np.float64], affine: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    crop = cv2.warpAffine(
        frame.astype(np.uint8), affine, (size, size), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_AREA
    )
    return np.asarray(crop, np.float64)


def identity_by_hand(weights: WeightStore) -> Floats:
    devices, models = Devices(threads=1), face_models(1)
    embedder = Embedder(OnnxNetwork(weights.path("arcface_w600k_r50"), "arcface_w600k_r50", devices))
    found = PictureReader(models.detector, models.mesh, Points(None), embedder).portrait(portrait())
    assert found is not None
    return unit(found.embedding)


def test_a_still_is_what_the_documented_steps_make_of_it(
    engine: NeuralSwap, weights: WeightStore, tmp_path: Path
) -> None:
    still = write_clip(tmp_path, footage(1) * 3)
    options = PLAIN.model_copy(update={"processors": ("face_swapper", "face_enhancer"), "face_enhancer_blend": 80})
    job = still.job(options)
    frame, (mesh,) = still.original(job)[1].astype(np.float64), still.meshes(job)[1]
    points, facts = five_of_mesh(mesh), SWAPPERS["hyperswap_1a_256"]

    affine = affine_by_hand(points, Template.ARCFACE_128, 256)
    crop = cut_by_hand(frame, affine, 256)
    target = ((crop[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float32)
    made = swapped_by_hand(facts, identity_by_hand(weights), target).transpose(1, 2, 0).astype(np.float64)
    swapped = np.clip(made * 0.5 + 0.5, 0, 1)[:, :, ::-1] * 255
    once = pasted_by_hand(frame, swapped, box_by_hand(256, 0.3, (0, 0, 0, 0)), affine)

    large = affine_by_hand(points, Template.FFHQ_512, 512)
    seen = cut_by_hand(once, large, 512)[:, :, ::-1] / 127.5 - 1
    detailed = (np.clip(seen * ENHANCED[0] + ENHANCED[1], -1, 1) + 1)[:, :, ::-1] * 127.5
    twice = pasted_by_hand(once, detailed, 0.8 * box_by_hand(512, 0.3, (0, 0, 0, 0)), large)

    for by_hand, processors in ((once, options.processors[:1]), (twice, options.processors)):
        asked = still.job(options.model_copy(update={"processors": processors}))
        after = pixels(engine, still, asked)[1]
        differs = np.abs(by_hand - frame).max(axis=2) > 2
        assert differs.mean() > 0.1
        assert np.abs(after - by_hand)[differs].mean() < 0.8
        # The documented steps cut where these round: half a level more, as long as nothing else differs.
        assert np.abs(after - np.floor(by_hand)).mean() < 0.8


@pytest.mark.parametrize("options", [PLAIN, LIT, ALL], ids=["plain", "lit", "all"])
def test_segments_are_what_the_whole_is(options: FaceFusionOptions, engine: NeuralSwap, two: Clip) -> None:
    whole = pixels(engine, two, two.job(options))
    cuts = (0, 3, 4, 9, two.frame_count)
    parts = [
        frame
        for start, stop in pairwise(cuts)
        for frame in pixels(engine, two, two.job(options, segment=Segment(start_frame=start, stop_frame=stop)))
    ]
    assert len(parts) == len(whole)
    assert all(map(np.array_equal, whole, parts))


def test_frames_come_out_as_many_as_asked_for_also_when_the_target_starts_again(engine: NeuralSwap, clip: Clip) -> None:
    looped = pixels(engine, clip, clip.job(frame_count=clip.frame_count * 2 + 3))
    assert len(looped) == clip.frame_count * 2 + 3
    assert np.array_equal(looped[2], looped[2 + clip.frame_count])
    timeline = clip.job(frame_count=20).timeline.model_copy(update={"sync_mode": SyncMode.BOUNCE})
    assert len(pixels(engine, clip, clip.job(timeline=timeline))) == 20


def test_several_rows_at_once_change_no_pixel(weights: WeightStore, two: Clip, engine: NeuralSwap) -> None:
    several = NeuralSwap(weights, FaceSwapSettings(content_models=(), free_batch=True))
    job = two.job(LIT)
    equipment = several.equip(job, two.bench)
    assert equipment.swapper is not None
    assert equipment.swapper.most_crops == 4
    assert all(map(np.array_equal, pixels(several, two, job), pixels(engine, two, job)))


def test_a_job_without_tracks_is_tracked_here(engine: NeuralSwap, clip: Clip) -> None:
    tracked, own = clip.job(), clip.job(tracks=None)
    assert all(map(np.array_equal, pixels(engine, clip, tracked), pixels(engine, clip, own)))
    # A video of an earlier stage that came without tracks is its own timeline.
    holds = Segment(start_frame=5, stop_frame=5 + clip.frame_count)
    synced = clip.job(tracks=None, frame_count=40, laid_out=holds, segment=Segment(start_frame=7, stop_frame=10))
    assert all(map(np.array_equal, pixels(engine, clip, synced), pixels(engine, clip, own)[2:5]))


def test_a_face_that_leaves_the_frame_leaves_the_rest_as_it_is(engine: NeuralSwap, tmp_path: Path) -> None:
    frames = footage(16)
    gone = [frame if place < 6 else np.full_like(frame, 90) for place, frame in enumerate(frames)]
    clip = write_clip(tmp_path, gone)
    job = clip.job(ALL)
    after = changed(engine, clip, job)
    seen = [frame.has_face for frame in after]
    assert all(seen[:6])
    assert not any(seen[-4:])
    assert all(
        np.array_equal(frame.pixels, before)
        for frame, before in zip(after, clip.original(job), strict=True)
        if not frame.has_face
    )


def test_a_stop_is_heard_and_leaves_nothing_running(engine: NeuralSwap, clip: Clip) -> None:
    cancellation, reports = Cancellation(), []

    def report(done: int, _total: int, _message: str) -> None:
        reports.append(done)
        if done == 3:
            cancellation.request()

    bench = replace(clip.bench, checkpoint=cancellation.checkpoint, report=report)
    before = threading.active_count()
    job = clip.job(ALL)
    with pytest.raises(JobCancelledError), engine.frames(job, bench, engine.equip(job, bench)) as (frames, _notes):
        list(frames)
    assert max(reports) == 3
    # What others had running may have ended meanwhile.
    assert threading.active_count() <= before


def noisy_still(count: int) -> list[Frame]:
    """One frame with grain that changes: a face that does not move, as a camera sees it."""
    still, grain = footage(1)[0].astype(np.float32), np.random.default_rng(6)
    return [np.clip(still + grain.normal(0, 6, still.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def jitter(crops: list[NDArray[np.floating]]) -> float:
    """How much something changes from frame to frame: root mean square."""
    values = np.stack(crops).astype(np.float64)
    return float(np.sqrt(np.mean(np.diff(values, axis=0) ** 2)))


def test_on_a_still_face_points_tremble_at_most_half_as_much_as_frame_by_frame(tmp_path: Path) -> None:
    frames = noisy_still(24)
    clip = write_clip(tmp_path, frames)
    models = face_models(1)
    settled = [five_of_mesh(mesh) for (mesh,) in clip.meshes(clip.job())]
    reader = PictureReader(models.detector, models.mesh, Points(None), None)
    seen = [reader.portrait(frame) for frame in clip.original(clip.job())]
    alone = [face.points_5 for face in seen if face is not None]
    assert len(alone) == len(settled)
    assert jitter(alone) > 0.02
    assert jitter(list(settled)) < 0.5 * jitter(list(alone))


def test_on_a_still_face_masks_and_light_tremble_at_most_half_as_much_as_frame_by_frame() -> None:
    random = np.random.default_rng(9)
    base = np.clip(cv2.GaussianBlur(random.random((64, 64)).astype(np.float32), (0, 0), 6) * 4 - 1.5, 0, 1)
    masks = [np.clip(base + random.normal(0, 0.05, base.shape), 0, 1).astype(np.float32) for _ in range(20)]
    steady = [steady_mask(masks[place], masks[place - REACH : place + REACH + 1]) for place in range(REACH, 17)]
    assert jitter(list(steady)) < 0.5 * jitter(list(masks))


def test_a_mask_follows_what_moves_at_once() -> None:
    before, after = np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)
    assert np.array_equal(steady_mask(after, [before] * 3 + [after] * 4), after)


def test_the_light_of_a_still_face_is_steady(engine: NeuralSwap, tmp_path: Path) -> None:
    flickering = [
        np.clip(frame * (1.06 if place % 2 else 1.0), 0, 255).astype(np.uint8)
        for place, frame in enumerate(footage(1) * 16)
    ]
    clip = write_clip(tmp_path, flickering)
    job = clip.job(LIT)
    (mesh,) = clip.meshes(job)[0]
    middle = slice(int(mesh[:, 1].mean()) - 25, int(mesh[:, 1].mean()) + 25)
    across = slice(int(mesh[:, 0].mean()) - 25, int(mesh[:, 0].mean()) + 25)
    gains = [
        after[middle, across].mean() / before[middle, across].mean()
        for after, before in zip(pixels(engine, clip, job), clip.original(job), strict=True)
    ]
    assert np.std(gains[REACH:-REACH]) < 0.01
    assert FIELD >= 16


def test_a_lit_face_has_the_colour_of_the_one_it_replaces(engine: NeuralSwap, clip: Clip) -> None:
    before, plain, lit = (
        frames[0].astype(float)
        for frames in (clip.original(clip.job()), pixels(engine, clip, clip.job()), pixels(engine, clip, clip.job(LIT)))
    )
    (mesh,) = clip.meshes(clip.job())[0]
    low, high = mesh[:, :2].min(0).astype(int) + 25, mesh[:, :2].max(0).astype(int) - 25
    face = (slice(low[1], high[1]), slice(low[0], high[0]))
    off_plain, off_lit = (np.abs(frame[face].mean((0, 1)) - before[face].mean((0, 1))).max() for frame in (plain, lit))
    assert off_plain > 8
    assert off_lit < 0.25 * off_plain


def test_neighbours_are_those_within_reach_and_every_wanted_frame_comes_once() -> None:
    class At:
        def __init__(self, place: int) -> None:
            self.place = place

    for count, reach in ((1, 3), (2, 3), (5, 3), (12, 3), (7, 0)):
        wanted = Segment(start_frame=1 if count > 2 else 0, stop_frame=count)
        given = list(with_neighbours((At(place) for place in range(count)), reach, wanted))
        assert [frame.place for frame, _ in given] == list(range(wanted.start_frame, count))
        for frame, around in given:
            expected = range(max(0, frame.place - reach), min(count, frame.place + reach + 1))
            assert [other.place for other in around] == list(expected)


def test_a_profile_and_a_face_cut_by_the_edge_pass_without_a_fault(engine: NeuralSwap, tmp_path: Path) -> None:
    cut_off = [np.ascontiguousarray(frame[:HEIGHT, 270:]) for frame in footage(6)]
    wide = [np.hstack([frame[:HEIGHT], half]) for frame, half in zip(footage(6), cut_off, strict=True)]
    clip = write_clip(tmp_path, wide, FPS)
    assert len(pixels(engine, clip, clip.job(ALL))) == 6


def test_a_target_without_any_face_is_no_face_detected(engine: NeuralSwap, clip: Clip, tmp_path: Path) -> None:
    empty = write_clip_without_tracks(tmp_path)
    job: FaceFusionJob = clip.job(tracks=None, frame_count=6)
    timeline = job.timeline.model_copy(update={"target_frame_count": 6})
    with pytest.raises(FaultError) as caught:
        engine.run(job.model_copy(update={"timeline": timeline}), replace(clip.bench, folder=tmp_path, inputs=empty))
    assert caught.value.fault.code is FaultCode.NO_FACE_DETECTED


def write_clip_without_tracks(folder: Path) -> dict[str, Path]:
    with VideoWriter(folder / "empty.mp4", width=128, height=96, fps=FPS) as writer:
        for place in range(6):
            writer.write(np.full((96, 128, 3), 40 + place, np.uint8))
    return {TARGET.key: folder / "empty.mp4", SOURCE.key: SAMPLES / "source.jpg"}
