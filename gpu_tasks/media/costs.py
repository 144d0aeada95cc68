"""What work on a file may cost: estimated before it begins, and bounded whatever happens.

The stage that waits for the gate gives up after half an hour and cannot interrupt it. So the gate ends by itself
before, and what would not be done by then is not begun.
"""

import shutil
import time
from math import ceil
from pathlib import Path

from gpu_tasks.confinement.confined import Confines
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import AudioFacts, VideoFacts
from gpu_tasks.media.normalise import VideoRecipe

# Of everything that is done to one file, by the clock and by the processor.
LONGEST_SECONDS = 1400.0
# A file that is likely to take more than LONGEST_SECONDS with this margin is refused at once.
_MARGIN = 1.4
# CPU seconds per megapixel on the slowest machine we know (measured: H.264 and HEVC of 8 and 10 bits, 1080p and 4K):
# decoding 0.007 to 0.013, tone mapping 0.008 to 0.014 (both of the source's), the rest 0.035 to 0.041 of the result's.
_READ, _TONE_MAP, _WRITE = 0.013, 0.014, 0.04
_PER_SOUND_SECOND = 0.0125
# What is allowed is four times what is likely, for codecs and footage that cost more than those measured.
_ALLOWED_PER_LIKELY, _AT_LEAST_CPU_SECONDS = 4.0, 30.0
# On a busy machine a process gets a part of one core.
_DEADLINE_PER_CPU_SECOND = 3.0
# crf 10 needs up to half a byte per pixel for noise; FLAC at most what PCM takes.
_BYTES_PER_PIXEL, _BYTES_PER_SOUND_SECOND, _LEAST_FILE_BYTES = 0.5, 5_000_000, 64 << 20
# Four times the largest upload. Where it is not enough the file is refused, and the disk still has room for others.
_MOST_FILE_BYTES = 8 << 30
# The picture lies beside the copy until the sound is laid under it.
_FILES_AT_ONCE = 2


class Allowance:
    """The time that one file has at the gate; it runs from the start."""

    def __init__(self) -> None:
        self._until = time.monotonic() + LONGEST_SECONDS

    def to_check(self, facts: VideoFacts) -> Confines:
        """Return what decoding a video may take; it cannot write.

        Raises:
            MediaError: MEDIA_TOO_COSTLY when it would take too long.
        """
        return self._confines(_READ * _megapixels(facts) + _sound_cost(facts))

    def to_normalise(self, facts: VideoFacts, recipe: VideoRecipe) -> Confines:
        """Return what making a video anew may take.

        Raises:
            MediaError: MEDIA_TOO_COSTLY when it would take too long.
        """
        frames = facts.frame_count / recipe.keep_every
        made = recipe.width * recipe.height * frames
        per_megapixel = _READ + (_TONE_MAP if recipe.tone_map else 0.0)
        likely = per_megapixel * _megapixels(facts) + _WRITE * made / 1e6 + _sound_cost(facts)
        file_bytes = _BYTES_PER_PIXEL * made + _BYTES_PER_SOUND_SECOND * facts.seconds
        return self._confines(likely, _file_limit(file_bytes, recipe.destination.parent))

    def to_hear(self, facts: AudioFacts) -> Confines:
        """Return what decoding a sound may take."""
        return self._confines(_PER_SOUND_SECOND * facts.seconds)

    def to_resample(self, facts: AudioFacts, folder: Path) -> Confines:
        """Return what making a sound anew in a folder may take."""
        file_limit = _file_limit(_BYTES_PER_SOUND_SECOND * facts.seconds, folder)
        return self._confines(_PER_SOUND_SECOND * facts.seconds, file_limit)

    def _confines(self, likely_cpu_seconds: float, file_bytes: int = 0) -> Confines:
        left = self._until - time.monotonic()
        if likely_cpu_seconds * _MARGIN > left:
            raise MediaError(
                FaultCode.MEDIA_TOO_COSTLY,
                f"That would take {likely_cpu_seconds / 60:.0f} minutes of a processor. Send it shorter, or as H.264 "
                "of a constant frame rate, upright, SDR and not larger than 1920x1080.",
            )
        allowed = min(ceil(_AT_LEAST_CPU_SECONDS + _ALLOWED_PER_LIKELY * likely_cpu_seconds), ceil(left))
        return Confines(
            cpu_seconds=allowed,
            deadline_seconds=min(allowed * _DEADLINE_PER_CPU_SECOND, left),
            file_bytes=file_bytes,
        )


def _megapixels(facts: VideoFacts) -> float:
    return facts.width * facts.height * facts.frame_count / 1e6


def _sound_cost(facts: VideoFacts) -> float:
    return _PER_SOUND_SECOND * facts.seconds if facts.track is not None else 0.0


def _file_limit(wanted: float, folder: Path) -> int:
    free = shutil.disk_usage(folder).free // _FILES_AT_ONCE
    return min(ceil(_LEAST_FILE_BYTES + wanted), _MOST_FILE_BYTES, free)
