"""A contact sheet of a result for operators: target and result frame by frame, and the sources. In the CPU pool.

It is small enough to be kept as text in Prefect's database: no address that could expire or be open to others.
"""

import base64
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.media.contact_sheet import rows_of
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.settings import R2Settings

_COLUMNS: Final = 6
_HEIGHT_PX: Final = 96
_MOST_SOURCES: Final = 6
# As base64 in a database row: a thousand runs are 60 MB.
MOST_BYTES: Final = 45_000
_QUALITIES: Final = (80, 60, 40, 25, 10)


class Pictured(BaseModel):
    """What is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Artifact
    result: Artifact
    sources: tuple[Artifact, ...]
    timeline: Timeline


def picture(pictured: Pictured, r2: R2Settings) -> str:
    """Return a contact sheet as a `data:` URL of a JPEG; each column is one moment of the result.

    Raises:
        MediaError: As the readers'.
        StorageError: The bucket is away or has lost something.
    """
    store, timeline = store_of(r2), pictured.timeline
    shown = [timeline.frame_count * (2 * column + 1) // (2 * _COLUMNS) for column in range(_COLUMNS)]
    with scratch() as folder:

        def fetched(artifact: Artifact) -> Path:
            path = folder / artifact.sha256
            store.fetch(artifact, path)
            return path

        rows = [
            ("target", _frames(fetched(pictured.target), [timeline.target_frame(index) for index in shown])),
            ("result", _frames(fetched(pictured.result), shown)),
        ]
        distinct = {source.sha256: source for source in pictured.sources}
        if distinct:
            faces = [read_image(fetched(source)) for source in list(distinct.values())[:_MOST_SOURCES]]
            rows.append(("sources", faces))
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(rows_of(rows, _HEIGHT_PX))).decode()}"


def _frames(path: Path, indices: list[int]) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [next(reader.frames(index, index + 1)).pixels for index in indices]


def _jpeg(sheet: NDArray[np.uint8]) -> bytes:
    """Encode a sheet (HWC uint8 BGR) as well as it fits."""
    for quality in _QUALITIES:
        _, encoded = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if encoded.nbytes <= MOST_BYTES:
            break
    return encoded.tobytes()
