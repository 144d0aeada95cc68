"""The request's option objects, with the original service's names and defaults."""

from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import InputKey, OutputKey

Percent = Annotated[int, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
# What of a face a parser tells apart.
MaskRegion = Literal[
    "skin",
    "left-eyebrow",
    "right-eyebrow",
    "left-eye",
    "right-eye",
    "glasses",
    "nose",
    "mouth",
    "upper-lip",
    "lower-lip",
]
FaceOrder = Literal[
    "left-right",
    "right-left",
    "top-bottom",
    "bottom-top",
    "small-large",
    "large-small",
    "best-worst",
    "worst-best",
]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.\-]{0,63}$")]


class SyncMode(StrEnum):
    """What happens when the driving audio and the target video differ in length."""

    LOOP = "loop"
    BOUNCE = "bounce"
    CUT_OFF = "cut_off"
    SILENCE = "silence"
    REMAP = "remap"


class EngineChoice(StrEnum):
    """What a caller may ask for. `auto` is resolved before anything is fingerprinted."""

    AUTO = "auto"
    DRAFT = "draft"
    NEURAL = "neural"


class _Options(BaseModel):
    # Strict: `true` is not a number and "30" is not one either; a wrong type is named, not guessed.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Wav2LipOptions(_Options):
    enhancer: Annotated[str, Field(pattern=r"^[a-z0-9_.\-]{1,64}$")] = "auto"
    blending: Percent = 30
    denoise: bool = False
    face_mode: Annotated[int, Field(ge=0, le=2)] = 0
    pingpong: bool = False
    fade: bool = False
    frame_enhancer: bool = False
    face_mask: bool = True
    face_occluder: bool = False
    output_prefix: OutputKey = "outputs/wav2lip"
    # Not in the original service. The default model is free for commercial use; Wav2Lip's own are not.
    lip_syncer_model: ModelName = "edtalk_256"
    # In frames of the 25 a second that the networks were trained at: by how much later than shown the sound is heard.
    audio_shift: Annotated[int, Field(ge=-25, le=25)] = -1
    # Who speaks, counted from the left where several faces are seen; None is the one seen largest and longest.
    speaker: Annotated[int, Field(ge=0, le=63)] | None = None


class FaceFusionOptions(_Options):
    processors: Annotated[
        tuple[Literal["face_swapper", "face_enhancer", "frame_enhancer"], ...], Field(strict=False)
    ] = (
        "face_swapper",
        "face_enhancer",
    )
    face_swapper_model: ModelName = "hyperswap_1a_256"
    face_enhancer_model: ModelName = "gfpgan_1.4"
    face_enhancer_blend: Percent = 30
    face_detector_model: ModelName = "yolo_face"
    face_mask_types: Annotated[
        tuple[Literal["box", "occlusion", "area", "region", "hull"], ...], Field(strict=False)
    ] = ("box",)
    output_video_encoder: ModelName = "libx264"
    output_video_preset: ModelName = "veryfast"
    execution_providers: Annotated[tuple[ModelName, ...], Field(strict=False)] = ("cuda",)
    execution_thread_count: Annotated[int, Field(ge=1, le=64)] = 4
    execution_queue_count: Annotated[int, Field(ge=1, le=8)] = 1
    # Not in the original service. How far from the target's own identity: below 0.5 closer to it, above beyond the
    # source's.
    face_swapper_weight: Share = 0.5
    # Side of the crop that is swapped, pixels, a multiple of the model's own; 0 is the model's own.
    face_swapper_pixel_boost: Annotated[int, Field(ge=0, le=1024)] = 0
    face_swapper_colour_match: bool = True
    face_enhancer_weight: Share = 0.5
    frame_enhancer_model: ModelName = "real_esrgan_x2"
    frame_enhancer_blend: Percent = 80
    face_landmarker_model: ModelName = "face_mesh_468"
    face_occluder_model: ModelName = "xseg_1"
    face_parser_model: ModelName = "bisenet_resnet_34"
    face_mask_blur: Share = 0.3
    # Top, right, bottom, left of the crop, percent.
    face_mask_padding: Annotated[tuple[Percent, Percent, Percent, Percent], Field(strict=False)] = (0, 0, 0, 0)
    face_mask_areas: Annotated[
        tuple[Literal["upper-face", "lower-face", "mouth"], ...], Field(strict=False, min_length=1)
    ] = ("upper-face", "lower-face", "mouth")
    face_mask_regions: Annotated[tuple[MaskRegion, ...], Field(strict=False, min_length=1)] = get_args(MaskRegion)


class FaceSelection(_Options):
    """Which faces of the target are changed."""

    mode: Literal["many", "one", "reference"] = "many"
    reference_key: InputKey | None = None
    position: Annotated[int, Field(ge=0, le=63)] = 0
    # How `position` counts.
    order: FaceOrder = "left-right"
    # Largest distance of a face from the reference, 0 the same, 1 the opposite.
    reference_distance: Share = 0.3


class FaceMapping(_Options):
    """One source for one face of the target, found by a reference picture or by position from the left."""

    source_index: Annotated[int, Field(ge=0, le=63)]
    reference_key: InputKey | None = None
    position: Annotated[int, Field(ge=0, le=63)] | None = None


def changed_options(options: BaseModel) -> tuple[str, ...]:
    """Names of the options that a caller set to something else than the default, in the order of the model."""
    return tuple(name for name, field in type(options).model_fields.items() if getattr(options, name) != field.default)
