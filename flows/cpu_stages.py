"""The stages that need pixels but no GPU: plain functions that run in a process of the CPU pool.

Everything here is synchronous and imports no Prefect: a pool process starts in a moment and holds only media code.
Each function works in a scratch folder of its own, which is gone when it returns or raises.
"""

import cv2
import numpy as np

from flows.footage import Assembly, Footage, Uploads, Whole
from flows.intake import Door
from flows.taking import footage_of, lay_out, pictures_of
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.contract.jobs import Stage, digest_of
from gpu_tasks.draft.models import face_models
from gpu_tasks.media.gate import admit_picture
from gpu_tasks.media.join import join
from gpu_tasks.media.limits import MediaLimits
from gpu_tasks.settings import R2Settings

_WARM_UP_SIDE_PX = 64


def ingest(uploads: Uploads, r2: R2Settings) -> Footage:
    """Let the inputs through the gate, keep them where nobody overwrites them, and find the faces.

    What costs least comes first: a video without a face is found out last, but before any GPU is asked.

    Raises:
        MediaError: The gate refuses an input, the trim lies outside the target, a source or a reference shows no
            face, or a reference several.
        FaultError: NO_FACE_DETECTED when the part of the target that is used shows none.
        StorageError: An input is missing, empty, too large, or the bucket is away.
    """
    store = store_of(r2)
    with scratch() as folder:
        door = Door(store, uploads.limits, folder)
        layout = lay_out(door, uploads)
        pictures = pictures_of(door, uploads)
        faces, tracks = door.tracks(layout.target, layout.timeline, uploads.revisions)
        return footage_of(uploads, layout, pictures, faces, tracks)


def assemble(assembly: Assembly, r2: R2Settings) -> Whole:
    """Put the parts in a row without encoding again and lay the sound under them.

    Raises:
        MediaError: AUDIO_MERGE_FAILED when sound was asked for and there would be none; RESULT_MISSING when the parts
            do not add up; otherwise as `join`.
        StorageError: A part is gone, or the bucket is away.
    """
    store = store_of(r2)
    with scratch() as folder:
        parts = []
        for place, part in enumerate(assembly.parts):
            path = folder / f"part-{place}.mp4"
            store.fetch(part, path)
            parts.append(path)
        sound = None
        if assembly.sound is not None:
            sound = folder / "sound"
            store.fetch(assembly.sound, sound)
        whole = folder / "whole.mp4"
        timeline = assembly.timeline
        media = join(
            parts,
            destination=whole,
            fps=timeline.fps,
            audio_from=sound,
            duration_seconds=timeline.duration_seconds,
            audio_start_seconds=assembly.sound_start,
        )
        key = f"{WORK}{Stage.ASSEMBLE}/{digest_of(assembly.model_dump(mode='json'))}.mp4"
        # Another run may have put the same parts together; encoders of sound differ by version, so the last one wins.
        return Whole(artifact=store.put_file(whole, key, "video/mp4"), media=media)


def warm_up() -> None:
    """Load what every ingest needs, so that the first run of a process does not wait for it."""
    face_models()
    with scratch() as folder:
        picture = folder / "upload"
        _, content = cv2.imencode(".png", np.zeros((_WARM_UP_SIDE_PX, _WARM_UP_SIDE_PX, 3), np.uint8))
        picture.write_bytes(content.tobytes())
        admit_picture(picture, MediaLimits(), work_dir=folder)
