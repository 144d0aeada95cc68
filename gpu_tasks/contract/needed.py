"""Which models a request names, as far as its options alone tell: what must be installed where it is computed."""

from collections.abc import Collection, Iterator

from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.manifest import ModelRole, manifest
from gpu_tasks.contract.options import FaceFusionOptions, Wav2LipOptions


def models_named(
    stages: Collection[Stage], wav2lip: Wav2LipOptions, facefusion: FaceFusionOptions, *, recognises: bool
) -> tuple[str, ...]:
    """Return the models that the neural engine needs for a request.

    A worker may want more (its content models); a name that no manifest knows is left for it to refuse, by its option.

    Args:
        stages: What GPU workers have to do.
        wav2lip: Options of the lip-sync.
        facefusion: Options of the face swap.
        recognises: Whether a face is chosen by a reference.
    """
    named = [wav2lip.lip_syncer_model] if Stage.WAV2LIP in stages else []
    if Stage.FACEFUSION in stages:
        named += _of_swap(facefusion, recognises=recognises)
    return tuple(dict.fromkeys(name for name in named if name in manifest().models))


def _of_swap(options: FaceFusionOptions, *, recognises: bool) -> Iterator[str]:
    swapper, done, masks = options.face_swapper_model, options.processors, options.face_mask_types
    if "face_swapper" in done:
        yield swapper
    # Where the swapper has an embedder of its own, that one recognises as well.
    if recognises and not ("face_swapper" in done and _has_embedder(swapper)):
        yield manifest().default_for(ModelRole.FACE_EMBEDDER)
    if "face_enhancer" in done:
        yield options.face_enhancer_model
    if "frame_enhancer" in done:
        yield options.frame_enhancer_model
    if "occlusion" in masks:
        yield options.face_occluder_model
    if "region" in masks:
        yield options.face_parser_model


def _has_embedder(swapper: str) -> bool:
    known = manifest().models
    return swapper in known and any(known[need].role is ModelRole.FACE_EMBEDDER for need in known[swapper].needs)
