import hashlib
from importlib.resources import files
from typing import get_args

import pytest
from pydantic import ValidationError

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.manifest import ModelRole, manifest, resolve_engine
from gpu_tasks.contract.options import EngineChoice, FaceFusionOptions, MaskRegion, Wav2LipOptions, changed_options

BUNDLED = {name: entry for name, entry in manifest().models.items() if entry.bundled}


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_the_one_that_the_manifest_names(name: str) -> None:
    content = files("gpu_tasks.draft").joinpath("models", BUNDLED[name].file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == BUNDLED[name].sha256
    assert len(content) == BUNDLED[name].size_bytes


def test_every_model_is_bundled_or_has_addresses() -> None:
    for entry in manifest().models.values():
        assert not (entry.bundled and entry.urls)
        # What an operator puts there has no address.
        assert entry.bundled or entry.urls or entry.licence == "LicenseRef-Own"
        assert all(url.startswith("https://") for url in entry.urls)
        assert entry.bundled or entry.release


def test_every_model_has_a_role_and_a_file_of_its_own() -> None:
    entries = manifest().models.values()
    assert all(entry.role for entry in entries)
    assert len({entry.file for entry in entries}) == len(entries)


def test_every_licence_is_explained_and_means_the_same_for_all_its_models() -> None:
    meanings = {(entry.licence, entry.commercial_use) for entry in manifest().models.values()}
    assert {licence for licence, _ in meanings} == set(manifest().licences)
    assert all(terms.summary and terms.summary_ja for terms in manifest().licences.values())
    # GFPGAN's mixed terms have a name of their own, so nobody's commercial use hangs on which model was meant.
    assert len(meanings) == len(manifest().licences)


def test_every_need_is_a_model() -> None:
    for name in manifest().models:
        assert set(manifest().with_needs(name)) <= set(manifest().models)


@pytest.mark.parametrize("role", ModelRole)
def test_the_default_of_a_role_is_permissive_and_missing_only_where_no_model_is(role: ModelRole) -> None:
    models = manifest()
    permissive = {name for name, entry in models.models.items() if entry.role is role and models.is_permissive(name)}
    if permissive:
        assert models.default_for(role) in permissive
    else:
        with pytest.raises(FaultError) as caught:
            models.default_for(role)
        assert caught.value.fault.code is FaultCode.ENGINE_UNAVAILABLE


def test_a_swapper_that_is_free_itself_is_not_free_with_the_embedder_that_it_needs() -> None:
    models = manifest()
    assert models.to_acknowledge("ghost_1_256") is None
    assert models.with_needs("ghost_1_256") == ("crossface_ghost", "arcface_w600k_r50", "ghost_1_256")
    assert not models.is_permissive("ghost_1_256")


def test_copyleft_is_acknowledged_though_commercial_use_is_allowed() -> None:
    assert manifest().models["yoloface_8n"].commercial_use
    assert manifest().to_acknowledge("yoloface_8n") == "AGPL-3.0-only"


def test_a_revision_names_the_file_where_its_digest_is_known_and_the_place_where_not() -> None:
    models = manifest().models
    assert models["wav2lip_gan"].revision == "ca9ab7b7b812"
    assert models["edtalk_256"].revision == "unpinned-models-3.3.0"


def test_a_model_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(FaultError, match="no-such-model") as caught:
        manifest().entry("no-such-model")
    assert caught.value.fault.code is FaultCode.REQUEST_INVALID


def test_every_engine_names_models_that_exist() -> None:
    for stages in manifest().engines.values():
        for stage in stages.values():
            assert set(stage.models) <= set(manifest().models)


def test_revisions_name_the_code_and_each_model() -> None:
    revisions = manifest().revisions(Engine.DRAFT, Stage.WAV2LIP)
    assert set(revisions) == {"draft-wav2lip", *manifest().engines[Engine.DRAFT][Stage.WAV2LIP].models}
    assert revisions["face_mesh_468"] == manifest().models["face_mesh_468"].revision


def test_an_engine_without_a_stage_is_not_available() -> None:
    with pytest.raises(FaultError) as caught:
        manifest().revisions(Engine.DRAFT, Stage.ASSEMBLE)
    assert caught.value.fault.code is FaultCode.ENGINE_UNAVAILABLE


@pytest.mark.parametrize("choice", [EngineChoice.AUTO, EngineChoice.DRAFT])
def test_the_draft_engine_runs_only_where_it_is_allowed(choice: EngineChoice) -> None:
    assert resolve_engine(choice, draft_allowed=True, neural_ready=False) is Engine.DRAFT
    with pytest.raises(FaultError, match="LIPSWAP_ALLOW_DRAFT") as caught:
        resolve_engine(choice, draft_allowed=False, neural_ready=False)
    assert caught.value.fault.code is FaultCode.ENGINE_UNAVAILABLE


@pytest.mark.parametrize("draft_allowed", [True, False])
def test_left_to_us_it_is_neural_where_there_are_models(draft_allowed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    stages = (Stage.WAV2LIP,)
    engine = resolve_engine(EngineChoice.AUTO, draft_allowed=draft_allowed, neural_ready=True, stages=stages)
    assert engine is Engine.NEURAL


@pytest.mark.parametrize("neural_ready", [True, False])
def test_what_is_asked_for_is_what_computes(neural_ready: bool) -> None:  # noqa: FBT001 - a parameter of the test
    for choice, engine in ((EngineChoice.NEURAL, Engine.NEURAL), (EngineChoice.DRAFT, Engine.DRAFT)):
        resolved = resolve_engine(choice, draft_allowed=True, neural_ready=neural_ready, stages=(Stage.WAV2LIP,))
        assert resolved is engine


def test_neural_never_becomes_draft() -> None:
    with pytest.raises(FaultError, match="neural engine for assemble") as caught:
        resolve_engine(EngineChoice.NEURAL, draft_allowed=True, neural_ready=True, stages=(Stage.ASSEMBLE,))
    assert caught.value.fault.code is FaultCode.ENGINE_UNAVAILABLE


def test_lip_sync_defaults_are_the_original_services() -> None:
    assert Wav2LipOptions().model_dump() == {
        "enhancer": "auto",
        "blending": 30,
        "denoise": False,
        "face_mode": 0,
        "pingpong": False,
        "fade": False,
        "frame_enhancer": False,
        "face_mask": True,
        "face_occluder": False,
        "output_prefix": "outputs/wav2lip",
        # Ours.
        "lip_syncer_model": manifest().default_for(ModelRole.LIP_SYNCER),
        "audio_shift": -1,
        "speaker": None,
    }


def test_face_swap_defaults_are_the_original_services() -> None:
    assert FaceFusionOptions().model_dump(mode="json") == {
        "processors": ["face_swapper", "face_enhancer"],
        "face_swapper_model": "hyperswap_1a_256",
        "face_enhancer_model": "gfpgan_1.4",
        "face_enhancer_blend": 30,
        "face_detector_model": "yolo_face",
        "face_mask_types": ["box"],
        "output_video_encoder": "libx264",
        "output_video_preset": "veryfast",
        "execution_providers": ["cuda"],
        "execution_thread_count": 4,
        "execution_queue_count": 1,
        # Ours: as the original service behaves, but for the colour.
        "face_swapper_weight": 0.5,
        "face_swapper_pixel_boost": 0,
        "face_swapper_colour_match": True,
        "face_enhancer_weight": 0.5,
        "frame_enhancer_model": manifest().default_for(ModelRole.FRAME_ENHANCER),
        "frame_enhancer_blend": 80,
        "face_landmarker_model": manifest().default_for(ModelRole.FACE_LANDMARKER),
        "face_occluder_model": "xseg_1",
        "face_parser_model": manifest().default_for(ModelRole.FACE_PARSER),
        "face_mask_blur": 0.3,
        "face_mask_padding": [0, 0, 0, 0],
        "face_mask_areas": ["upper-face", "lower-face", "mouth"],
        "face_mask_regions": list(get_args(MaskRegion)),
    }


@pytest.mark.parametrize(
    "wrong", [{"blending": "30"}, {"blending": True}, {"blending": 101}, {"denoise": 1}, {"face_mode": 3}, {"new": 1}]
)
def test_a_wrong_option_is_named_and_not_guessed(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Wav2LipOptions.model_validate(wrong)
    assert caught.value.errors()[0]["loc"] == tuple(wrong)


def test_lists_of_names_come_in_as_json_sends_them() -> None:
    options = FaceFusionOptions.model_validate_json(
        '{"processors": ["face_swapper"], "face_mask_types": ["box", "region"]}'
    )
    assert options.processors == ("face_swapper",)
    assert changed_options(options) == ("processors", "face_mask_types")
    assert changed_options(FaceFusionOptions()) == ()
