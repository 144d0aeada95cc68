"""Faces in pictures and frames: where their points are, and who is in a source."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Reference
from gpu_tasks.facefusion.embedding import Embedder, Identity
from gpu_tasks.facefusion.geometry import five_of_68, five_of_mesh, landmarks_68_of_mesh
from gpu_tasks.facefusion.landmarks import Landmarker
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import Detects
from gpu_tasks.faces.mesh import LEFT_EYE_CORNER, RIGHT_EYE_CORNER, FaceMesh, box_of
from gpu_tasks.faces.pictures import faces_in, size_of
from gpu_tasks.media.still import read_image
from gpu_tasks.runtime.pipeline import Bench

# The networks' own even chance.
_SCORE: Final = 0.5
_NOTHING: Final = np.empty(0, np.float32)


class FacePoints(NamedTuple):
    """A face's points in frame pixels: (5, 2) and (68, 2) float32."""

    points_5: Floats
    landmarks_68: Floats


class Points:
    """Places the points on faces: from the mesh, or by a network of its own.

    Args:
        landmarker: None: the mesh's are taken.
    """

    def __init__(self, landmarker: Landmarker | None) -> None:
        self._landmarker = landmarker

    def of(self, frame: Frame, mesh_468: Floats) -> FacePoints:
        """Return the points of a face.

        Args:
            frame: (height, width, 3) uint8 BGR.
            mesh_468: (468, 3) float32, frame pixels; its points are taken where the network is not sure.
        """
        if self._landmarker is not None:
            eyes = mesh_468[LEFT_EYE_CORNER, :2] - mesh_468[RIGHT_EYE_CORNER, :2]
            angle = float(np.arctan2(eyes[1], eyes[0]))
            landmarks, score = self._landmarker.landmarks(frame, box_of(mesh_468), angle)
            if score > _SCORE:
                return FacePoints(five_of_68(landmarks), landmarks)
        return FacePoints(five_of_mesh(mesh_468), landmarks_68_of_mesh(mesh_468))


class Portrait(NamedTuple):
    """The face of a picture.

    Attributes:
        picture: (height, width, 3) uint8 BGR.
        points_5: (5, 2) float32.
        embedding: (512,) float32, as the embedder gave it; empty without one.
        size_px: Of the face.
        others: How many other faces the picture has.
    """

    picture: Frame
    points_5: Floats
    embedding: Floats
    size_px: float
    others: int


class PictureReader:
    """Takes faces out of pictures.

    Args:
        detector: Finds them.
        mesh: Places the mesh on them.
        points: Places the points.
        embedder: Says who they are; None: nobody needs to know.
    """

    def __init__(self, detector: Detects, mesh: FaceMesh, points: Points, embedder: Embedder | None) -> None:
        self._detector = detector
        self._mesh = mesh
        self._points = points
        self._embedder = embedder

    def portrait(self, picture: Frame) -> Portrait | None:
        """Take the largest face of a picture, (height, width, 3) uint8 BGR; None where there is none."""
        meshes = faces_in(picture, self._detector, self._mesh)
        if not meshes:
            return None
        largest = meshes[0]
        points_5 = self._points.of(picture, largest).points_5
        embedding = self._embedder.embedding(picture, points_5) if self._embedder else _NOTHING
        return Portrait(picture, points_5, embedding, size_of(largest), len(meshes) - 1)

    def sources(self, artifacts: Sequence[Artifact], bench: Bench) -> tuple[Portrait, ...]:
        """Take the faces of a job's source pictures, of each the largest.

        Raises:
            FaultError: NO_FACE_IN_SOURCE naming the picture, or what reading it raises.
        """
        found = []
        for place, artifact in enumerate(artifacts, start=1):
            portrait = self._portrait_of(artifact, bench)
            if portrait is None:
                which = f"Source {place} of {len(artifacts)}: {named(artifact)}."
                raise FaultError(FaultCode.NO_FACE_IN_SOURCE, which)
            found.append(portrait)
        return tuple(found)

    def references(self, references: Sequence[Reference], bench: Bench) -> Mapping[str, Portrait]:
        """Take the one face of each reference picture, by the name that the request has for it.

        Raises:
            FaultError: NO_FACE_IN_REFERENCE or SEVERAL_FACES_IN_REFERENCE naming the picture, or what reading it
                raises.
        """
        found = {}
        for place, reference in enumerate(references, start=1):
            portrait = self._portrait_of(reference.picture, bench)
            which = f"Reference {place} of {len(references)}: {reference.named}."
            if portrait is None:
                raise FaultError(FaultCode.NO_FACE_IN_REFERENCE, which)
            if portrait.others:
                raise FaultError(FaultCode.SEVERAL_FACES_IN_REFERENCE, which)
            found[reference.named] = portrait
        return found

    def _portrait_of(self, artifact: Artifact, bench: Bench) -> Portrait | None:
        bench.checkpoint()
        return self.portrait(read_image(bench.path_of(artifact)))


def named(artifact: Artifact) -> str:
    """Return the name under which a caller knows a picture."""
    return artifact.key.rsplit("/", 1)[-1]


def identity_of(portraits: Sequence[Portrait]) -> Identity:
    """Return who several pictures of one person show: the mean of the embeddings, the largest picture."""
    best = max(portraits, key=lambda portrait: portrait.size_px)
    embedding = np.mean([portrait.embedding for portrait in portraits], axis=0).astype(np.float32)
    return Identity(embedding, best.picture, best.points_5)


def notes_on(portraits: Sequence[Portrait], artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    """Say of which pictures one face of several was taken."""
    return tuple(
        f"{named(artifact)} shows {portrait.others + 1} faces; the largest was taken"
        for portrait, artifact in zip(portraits, artifacts, strict=True)
        if portrait.others
    )
