"""What must be installed for a request, as its options tell."""

import pytest

from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.needed import models_named
from gpu_tasks.contract.options import FaceFusionOptions, Wav2LipOptions

BOTH = (Stage.WAV2LIP, Stage.FACEFUSION)
SWAP = FaceFusionOptions(processors=("face_swapper",))


def named(options: FaceFusionOptions, *, recognises: bool = False) -> tuple[str, ...]:
    return models_named((Stage.FACEFUSION,), Wav2LipOptions(), options, recognises=recognises)


def test_each_stage_names_its_own() -> None:
    assert models_named(BOTH, Wav2LipOptions(), FaceFusionOptions(), recognises=False) == (
        "edtalk_256",
        "hyperswap_1a_256",
        "gfpgan_1.4",
    )
    assert models_named((Stage.WAV2LIP,), Wav2LipOptions(), FaceFusionOptions(), recognises=True) == ("edtalk_256",)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("hyperswap_1a_256",)),
        ({"face_mask_types": ("box", "occlusion", "region")}, ("hyperswap_1a_256", "xseg_1", "bisenet_resnet_34")),
        ({"processors": ("face_enhancer", "frame_enhancer")}, ("gfpgan_1.4", "real_esrgan_x2")),
        # The worker refuses it, by its option.
        ({"face_swapper_model": "deepswap"}, ()),
    ],
)
def test_options_name_what_they_need(changes: dict[str, object], expected: tuple[str, ...]) -> None:
    assert named(SWAP.model_copy(update=changes)) == expected


def test_a_reference_needs_an_embedder_unless_the_swapper_has_one() -> None:
    assert named(SWAP, recognises=True) == ("hyperswap_1a_256",)
    takes_a_picture = SWAP.model_copy(update={"face_swapper_model": "uniface_256"})
    assert named(takes_a_picture, recognises=True) == ("uniface_256", "auraface_v1")
    assert named(SWAP.model_copy(update={"face_swapper_model": "deepswap"}), recognises=True) == ("auraface_v1",)
