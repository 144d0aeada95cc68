"""The bundled networks and mesh topology of the draft engine, verified against the manifest, loaded once."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import BytesIO

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.faces.arrays import Floats, Network
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.faces.mesh import FaceMesh
from gpu_tasks.faces.tracker import FaceTracker

_PROVIDERS = ["CPUExecutionProvider"]


@dataclass(frozen=True, slots=True)
class FaceModels:
    """Detector and mesh, ready to run. Both may be shared by threads; a tracker may not."""

    detector: FaceDetector
    mesh: FaceMesh

    def new_tracker(self, *, max_faces: int = 8) -> FaceTracker:
        """Return a tracker for one clip."""
        return FaceTracker(self.detector, self.mesh, max_faces=max_faces)


@dataclass(frozen=True, slots=True)
class Topology:
    """The canonical face.

    Attributes:
        vertices: (468, 3) float32, centimetres, y up.
        triangles: (898, 3) int64, indices of mesh_468.
    """

    vertices: Floats
    triangles: NDArray[np.int64]


@cache
def face_models(threads: int = 1) -> FaceModels:
    """Load the two networks; a second call with the same number of threads returns the same ones.

    Args:
        threads: Threads per network call. The networks are small: more than two gain nothing.

    Raises:
        FaultError: REVISION_MISMATCH when a bundled file is not the one of the manifest.
    """
    return FaceModels(
        FaceDetector(_session("face_detection_short_range", threads)), FaceMesh(_session("face_mesh_468", threads))
    )


@cache
def topology() -> Topology:
    """Load the canonical face.

    Raises:
        FaultError: REVISION_MISMATCH when the bundled file is not the one of the manifest.
    """
    with np.load(BytesIO(_verified("canonical_face_mesh"))) as arrays:
        return Topology(arrays["vertices"].astype(np.float32), arrays["triangles"].astype(np.int64))


def _session(model: str, threads: int) -> Network:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # idle threads of a call that takes 2 ms would otherwise burn the core that decodes and encodes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session: Network = onnxruntime.InferenceSession(_verified(model), options, providers=_PROVIDERS)
    return session


def _verified(model: str) -> bytes:
    entry = manifest().models[model]
    content = files("gpu_tasks.draft").joinpath("models", entry.file).read_bytes()
    if sha256(content).hexdigest() != entry.sha256:
        raise FaultError(FaultCode.REVISION_MISMATCH, f"The bundled model {model} is not the one of the manifest.")
    return content
