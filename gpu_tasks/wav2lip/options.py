"""What each option of a lip-sync does in the neural engine. Every one acts or is refused by its name; none is ignored.

lip_syncer_model  the network
audio_shift       the sound that a frame's mouth follows
denoise           the voice that the network hears, without steady noise; the result's own sound stays
face_mode         0: the crop of the training, narrow; 1: square, opens the mouth less
face_mask         only the lower face comes from the network, else all of its crop
face_occluder     what covers the face (a hand, a microphone) stays in front of it
enhancer          a network for detail over the new mouth, `blending` percent of it
fade              the picture comes from black and goes to black
pingpong          there and back instead of from the start again: laid out by the flow, as sync_mode=bounce
speaker           whose mouth moves
frame_enhancer    refused
output_prefix     the flow's business
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gpu_tasks.contract.jobs import Quality, Wav2LipJob
from gpu_tasks.contract.manifest import ModelRole, manifest
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.faces.selection import Rule, speaker_at
from gpu_tasks.runtime.unsupported import refuse
from gpu_tasks.wav2lip.loading import LIP_SYNCERS

_AUTO: Final = "auto"
_NONE: Final = "none"
# The original service's short names, and the models by their own.
ENHANCERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gfpgan": "gfpgan_1.4",
        "codeformer": "codeformer",
        "restoreformer": "restoreformer_plus_plus",
        "gpen": "gpen_bfr_512",
        **{
            name: name
            for name in (
                *("gfpgan_1.2", "gfpgan_1.3", "gfpgan_1.4", "restoreformer_plus_plus"),
                *("gpen_bfr_256", "gpen_bfr_512", "gpen_bfr_1024", "gpen_bfr_2048"),
            )
        },
    }
)
_SQUARE: Final = 1


def check(job: Wav2LipJob) -> None:
    """Refuse what the neural engine does not do.

    Raises:
        FaultError: OPTION_UNSUPPORTED naming the option.
    """
    options = job.options
    if options.frame_enhancer:
        raise refuse("frame_enhancer", "no network for whole frames is built in; enhancer works on the face.")
    if options.face_mode > _SQUARE:
        raise refuse("face_mode", "0 is the narrow crop of the training, 1 the square one.")
    if options.lip_syncer_model not in LIP_SYNCERS:
        raise refuse("lip_syncer_model", f"use one of {', '.join(sorted(LIP_SYNCERS))}.")
    if options.enhancer not in {_AUTO, _NONE, *ENHANCERS}:
        raise refuse("enhancer", f"use {_AUTO}, {_NONE} or one of {', '.join(sorted(ENHANCERS))}.")
    starts_again = job.laid_out is None and job.timeline.frame_count > job.timeline.clip.frame_count
    if options.pingpong and starts_again and job.timeline.sync_mode is SyncMode.LOOP:
        raise refuse("pingpong", "the timeline starts again; lay it out with sync_mode=bounce.")


def speaker_of(job: Wav2LipJob) -> Rule:
    """Return who speaks."""
    return speaker_at(job.options.speaker)


def is_portrait(job: Wav2LipJob) -> bool:
    """Tell whether the crop is as narrow as in the training."""
    return job.options.face_mode != _SQUARE


def wants_best_enhancer(job: Wav2LipJob) -> bool:
    """Tell whether the choice of enhancer is left to us; one that is not installed is then done without."""
    return job.options.enhancer == _AUTO


def enhancer_of(job: Wav2LipJob) -> str | None:
    """Return the model that enhances the face. Left to us it is the permissive one, unless a face swap follows."""
    match job.options.enhancer:
        case "auto":
            return manifest().default_for(ModelRole.FACE_ENHANCER) if job.quality is Quality.DELIVERY else None
        case "none":
            return None
        case name:
            return ENHANCERS[name]
