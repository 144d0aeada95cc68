"""What is taken from pictures of a source: its skin, never its hair; several pictures become one."""

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.draft.averaging import averaged
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.align import crop_affine, invert, transform
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, INNER_MOUTH, region_of
from tests.engine.footage import correlation

FRINGE = np.array([24, 34, 46])  # BGR of dark hair
CHEEKS = (50, 280, 205, 425)


@pytest.fixture(scope="module")
def identity(models: FaceModels, source: Frame) -> DraftSource:
    return DraftSource.from_image(source, models.detector, models.mesh)


@pytest.fixture(scope="module")
def bare(models: FaceModels, frames: list[Frame]) -> DraftSource:
    """The driver, whose forehead no hair covers."""
    return DraftSource.from_image(frames[0], models.detector, models.mesh)


def with_fringe(picture: Frame, mesh: Floats) -> Frame:
    """Paint hair over the upper half of the forehead."""
    up = mesh[FOREHEAD, :2] - mesh[CHIN, :2]
    height, across = float(np.linalg.norm(up)), np.array([-up[1], up[0]]) * 0.45
    top, bottom = mesh[FOREHEAD, :2] + up * 0.15, mesh[FOREHEAD, :2] - up * 0.1
    area = np.zeros(picture.shape[:2], np.uint8)
    corners = np.rint([top - across, top + across, bottom + across, bottom - across]).astype(np.int32)
    cv2.fillConvexPoly(area, corners, (255,))
    strands = np.random.default_rng(5).normal(0, 6, picture.shape)
    alpha = cv2.GaussianBlur(area, (0, 0), height / 100)[..., None] / 255
    return np.asarray(np.clip(picture * (1 - alpha) + (FRINGE + strands) * alpha, 0, 255), np.uint8)


def luma_at(picture: Frame, place: Floats, reach: int = 4) -> float:
    x, y = np.rint(place).astype(int)
    return float((picture[y - reach : y + reach + 1, x - reach : x + reach + 1] @ [0.114, 0.587, 0.299]).mean())


def test_hair_over_the_forehead_is_not_skin_and_cheeks_are(identity: DraftSource) -> None:
    forehead = np.rint(identity.points[FOREHEAD]).astype(int)
    assert identity.skin[forehead[1], forehead[0]] < 0.05
    for x, y in np.rint(identity.points[list(CHEEKS)]).astype(int).tolist():
        assert identity.skin[y, x] > 0.95


def test_hair_of_the_source_is_not_laid_over_the_target(
    models: FaceModels, bare: DraftSource, frames: list[Frame], meshes: list[Floats]
) -> None:
    first, mesh = frames[0], meshes[0]
    fringed = DraftSource.from_image(with_fringe(first, mesh), models.detector, models.mesh)
    place = mesh[FOREHEAD, :2] * 0.8 + mesh[CHIN, :2] * 0.2

    taken = DraftSwap([fringed]).apply(frames[20], meshes[20])
    clean = DraftSwap([bare]).apply(frames[20], meshes[20])

    assert luma_at(with_fringe(first, mesh), mesh[FOREHEAD, :2]) < 0.5 * luma_at(first, place)
    assert np.abs(taken.astype(int) - clean).max(axis=2).mean() < 1
    forehead = meshes[20][FOREHEAD, :2] * 0.9 + meshes[20][CHIN, :2] * 0.1
    assert luma_at(taken, forehead) > 0.85 * luma_at(frames[20], forehead)


def test_hair_of_the_target_stays_where_it_is(bare: DraftSource, frames: list[Frame], meshes: list[Floats]) -> None:
    mesh = meshes[0]
    fringed = with_fringe(frames[0], mesh)
    under_hair = np.abs(fringed.astype(int) - frames[0]).max(axis=2) > 40
    hair = cv2.erode(under_hair.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0

    change = np.abs(DraftSwap([bare]).apply(fringed, mesh).astype(int) - fringed).max(axis=2)

    assert hair.sum() > 500
    assert change[hair].mean() < 1
    assert np.percentile(change[hair], 99) < 12


def test_the_teeth_of_the_source_are_closed_over(source: Frame, identity: DraftSource, models: FaceModels) -> None:
    mesh, _ = models.mesh.landmarks(source, models.detector.detect(source)[0].region)
    affine = crop_affine(region_of(mesh), identity.textures[0].shape[0])
    inside = np.zeros(identity.textures[0].shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(identity.points[list(INNER_MOUTH)]).astype(np.int32)], (1,))
    teeth = transform(np.argwhere(inside)[:, ::-1].astype(np.float32), invert(affine))
    x, y = np.rint(teeth).astype(int).T

    saturation = [cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)[..., 1] for picture in (source, identity.textures[0])]

    # Teeth are grey, lips are not.
    assert np.percentile(saturation[0][y, x], 20) < 60
    assert np.percentile(saturation[1][inside > 0], 20) > 60


def test_of_several_sources_the_largest_frontal_closed_mouth_gives_the_fine_detail(
    models: FaceModels, identity: DraftSource, source: Frame, frames: list[Frame], meshes: list[Floats]
) -> None:
    small = np.asarray(cv2.resize(source, (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    worse = DraftSource.from_image(small, models.detector, models.mesh)
    alone, among = (DraftSwap(sources).apply(frames[0], meshes[0]) for sources in ([identity], [worse, identity]))

    assert worse.merit < identity.merit
    assert np.abs(alone.astype(int) - among).max() < 24
    assert np.abs(alone.astype(int) - among).mean() < 0.3
    screaming = DraftSource.from_image(frames[60], models.detector, models.mesh)
    assert screaming.merit < DraftSource.from_image(frames[0], models.detector, models.mesh).merit


def test_the_average_of_two_people_lies_between_them(identity: DraftSource, bare: DraftSource) -> None:
    both = averaged([identity, bare])
    nose, cheek = ((identity.points[index]).astype(int) for index in (4, 205))
    around = np.s_[nose[1] - 60 : cheek[1], cheek[0] : 2 * nose[0] - cheek[0]]

    def features(source: DraftSource) -> Floats:
        grey = cv2.cvtColor(source.textures[0], cv2.COLOR_BGR2GRAY).astype(np.float32)
        return np.asarray((cv2.GaussianBlur(grey, (0, 0), 6) - cv2.GaussianBlur(grey, (0, 0), 24))[around], np.float32)

    alone = averaged([identity])
    assert alone is identity
    assert correlation(features(both).ravel(), features(identity).ravel()) > 0.7
    assert np.abs(features(both) - features(identity)).mean() > 0.5
    assert (both.points == identity.points).all()


def test_skin_that_hair_hides_in_the_best_picture_is_taken_from_another(
    models: FaceModels, bare: DraftSource, frames: list[Frame], meshes: list[Floats]
) -> None:
    larger = np.asarray(cv2.resize(with_fringe(frames[0], meshes[0]), None, fx=2, fy=2), np.uint8)
    fringed = DraftSource.from_image(larger, models.detector, models.mesh)
    place = fringed.points[FOREHEAD] * 0.95 + fringed.points[CHIN] * 0.05
    x, y = np.rint(place).astype(int)

    both = averaged([bare, fringed])

    assert fringed.merit > bare.merit
    assert fringed.skin[y, x] < 0.2
    assert both.skin[y, x] > fringed.skin[y, x] + 0.3


def test_a_source_without_a_face_is_a_fault(models: FaceModels) -> None:
    with pytest.raises(FaultError) as caught:
        DraftSource.from_image(np.full((300, 300, 3), 140, np.uint8), models.detector, models.mesh)

    assert caught.value.fault.code is FaultCode.NO_FACE_IN_SOURCE
