"""What each option of a face swap does in the neural engine. Every one acts or is refused by its name; none is ignored.

processors                   what is done: face_swapper, face_enhancer, frame_enhancer, in this order
face_swapper_model           the network that swaps
face_swapper_weight          the target's own identity mixed in (below 0.5) or taken off (above)
face_swapper_pixel_boost     side of the swapped crop; more detail, by the square of it more work
face_swapper_colour_match    the swapped face takes light and colour of the one below it
face_enhancer_model, _blend  the network for detail on faces, and how much of it
face_enhancer_weight         between beauty and fidelity, where the enhancer knows it
frame_enhancer_model, _blend the network for detail on whole frames, and how much of it
face_detector_model          finds the faces of source and reference pictures, and of targets that came without tracks
face_landmarker_model        places the points by which faces are aligned
face_mask_types              what of the swapped crop is taken: what all of these leave
face_mask_blur, _padding     of the box
face_mask_areas              of the area
face_mask_regions, face_parser_model      of the region
face_occluder_model          of the occlusion
output_video_encoder, _preset             how the result is encoded
execution_providers          where networks may run
execution_thread_count, execution_queue_count   the worker's own settings decide; noted in the receipt
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from gpu_tasks.contract.casting import reference_keys, uncastable
from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.contract.options import FaceFusionOptions, changed_options
from gpu_tasks.facefusion.detectors import DETECTORS
from gpu_tasks.facefusion.enhancers import ENHANCERS, FRAME_ENHANCERS
from gpu_tasks.facefusion.landmarks import LANDMARKERS
from gpu_tasks.facefusion.swappers import SWAPPERS, Source, boost_sizes
from gpu_tasks.media.writer import NVENC, X264
from gpu_tasks.runtime.devices import PROVIDERS
from gpu_tasks.runtime.unsupported import refuse

MESH: Final = "face_mesh_468"
BUNDLED_DETECTOR: Final = "face_detection_short_range"
DEFAULT_DETECTOR: Final = "yolo_face"
OCCLUDERS: Final = ("xseg_1", "xseg_2", "xseg_3")
PARSERS: Final = ("bisenet_resnet_34", "bisenet_resnet_18")
NEUTRAL_WEIGHT: Final = 0.5
_ENCODERS: Final = (X264, NVENC)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "face_swapper_model": tuple(SWAPPERS),
    "face_enhancer_model": tuple(ENHANCERS),
    "frame_enhancer_model": tuple(FRAME_ENHANCERS),
    "face_detector_model": (*DETECTORS, BUNDLED_DETECTOR),
    "face_landmarker_model": (MESH, *LANDMARKERS),
    "face_occluder_model": OCCLUDERS,
    "face_parser_model": PARSERS,
    "output_video_encoder": _ENCODERS,
}
_WITHOUT_EFFECT: Final = ("execution_thread_count", "execution_queue_count")


def check(job: FaceFusionJob) -> None:
    """Refuse what the neural engine does not do.

    Raises:
        FaultError: OPTION_UNSUPPORTED naming the option.
    """
    for name, why in chain(_wrong_options(job.options), _wrong_casting(job)):
        raise refuse(name, why)


def notes_of(options: FaceFusionOptions) -> tuple[str, ...]:
    """Say which options that a caller set change nothing here."""
    return tuple(
        f"{name} has no effect: this worker's own settings decide"
        for name in changed_options(options)
        if name in _WITHOUT_EFFECT
    )


def swaps(options: FaceFusionOptions) -> bool:
    """Tell whether faces are swapped."""
    return "face_swapper" in options.processors


def wants_identity(job: FaceFusionJob) -> bool:
    """Tell whether somebody must be recognised: a source by the swapper, or a face by a reference."""
    return needs_embedding(job.options) or bool(reference_keys(job.face_selection, job.face_map))


def needs_embedding(options: FaceFusionOptions) -> bool:
    """Tell whether the swapper takes an embedding."""
    return swaps(options) and SWAPPERS[options.face_swapper_model].source is not Source.PICTURE


def mixes_target(options: FaceFusionOptions) -> bool:
    """Tell whether the target's own identity has a say in what is put on it."""
    return needs_embedding(options) and options.face_swapper_weight != NEUTRAL_WEIGHT


def _wrong_options(options: FaceFusionOptions) -> Iterator[tuple[str, str]]:
    if not options.processors:
        yield "processors", "name at least one."
    for name, choices in _CHOICES.items():
        if getattr(options, name) not in choices:
            yield name, f"use one of {', '.join(choices)}."
    if not options.face_mask_types:
        yield "face_mask_types", "name at least one."
    for provider in options.execution_providers:
        if provider not in PROVIDERS:
            yield "execution_providers", f"use {', '.join(PROVIDERS)}."
    if not swaps(options):
        return
    swapper = SWAPPERS[options.face_swapper_model]
    if options.face_swapper_pixel_boost not in {0, *boost_sizes(swapper)}:
        yield "face_swapper_pixel_boost", f"use 0 or one of {', '.join(map(str, boost_sizes(swapper)))}."
    if swapper.source is Source.PICTURE and options.face_swapper_weight != NEUTRAL_WEIGHT:
        yield "face_swapper_weight", f"{options.face_swapper_model} takes a picture, which cannot be weighed."


def _wrong_casting(job: FaceFusionJob) -> Iterator[tuple[str, str]]:
    yield from uncastable(job.face_selection, job.face_map, len(job.sources))
    given = {reference.named for reference in job.references}
    for key in reference_keys(job.face_selection, job.face_map):
        if key not in given:
            yield "references", f"the picture {key} is not among the job's references."
