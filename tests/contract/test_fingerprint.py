from typing import Any

import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import (
    CONTRACT_VERSION,
    Engine,
    FaceFusionJob,
    Quality,
    Reference,
    Segment,
    Timeline,
    Wav2LipJob,
    digest_of,
    fingerprint,
    keys_of,
)
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection, SyncMode, Wav2LipOptions


def artifact(digit: str, name: str = "x") -> Artifact:
    return Artifact(key=f"uploads/{name}", sha256=digit * 64, size_bytes=10, media_type="video/mp4")


TIMELINE = Timeline(fps="30000/1001", frame_count=90, target_frame_count=60)
LIP_SYNC = Wav2LipJob(
    engine=Engine.DRAFT,
    model_revisions={"draft-wav2lip": "1", "face_mesh_468": "abc"},
    target=artifact("a"),
    driving_audio=artifact("b"),
    timeline=TIMELINE,
)
FACE_SWAP = FaceFusionJob(
    engine=Engine.DRAFT,
    model_revisions={"draft-facefusion": "1"},
    target=artifact("a"),
    sources=(artifact("c"), artifact("d")),
    timeline=TIMELINE,
)


def test_fingerprints_are_those_that_objects_in_existing_buckets_lie_under() -> None:
    # Changing these orphans every stored result: raise CONTRACT_VERSION knowingly, then update them.
    assert fingerprint(LIP_SYNC) == "80362af6c8318c859d7db7f8f4a55bcf03a274c42da36862b068cdf7aa634fc0"
    assert fingerprint(FACE_SWAP) == "e0f35803fafe33590b3ec1e10d63c7f69c1a01fa59a3641fa7274a3f6eb69b56"


@pytest.mark.parametrize("job", [LIP_SYNC, FACE_SWAP], ids=["wav2lip", "facefusion"])
def test_the_wire_keeps_the_fingerprint(job: Wav2LipJob | FaceFusionJob) -> None:
    assert fingerprint(type(job).model_validate_json(job.model_dump_json())) == fingerprint(job)
    assert fingerprint(type(job).model_validate(job.model_dump(mode="json"))) == fingerprint(job)
    assert keys_of(job).folder == f"work/{job.stage}/{fingerprint(job)}"


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 5},
        {"task_id": "another"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"target": artifact("a", name="elsewhere.mov").model_copy(update={"media_type": "video/quicktime"})},
        {"driving_audio": artifact("b", name="elsewhere.wav")},
        {"options": Wav2LipOptions(output_prefix="outputs/mine")},
        {"model_revisions": {"face_mesh_468": "abc", "draft-wav2lip": "1"}},
        {"timeline": Timeline(fps="60000/2002", frame_count=90, target_frame_count=60)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_who_asks_how_often_and_where_things_lie_does_not_change_it(change: dict[str, Any]) -> None:
    assert fingerprint(LIP_SYNC.model_copy(update=change)) == fingerprint(LIP_SYNC)


def test_where_sources_lie_does_not_change_it_but_their_order_does() -> None:
    first, second = FACE_SWAP.sources
    moved = (first.model_copy(update={"key": "uploads/moved.png"}), second)
    assert fingerprint(FACE_SWAP.model_copy(update={"sources": moved})) == fingerprint(FACE_SWAP)
    assert fingerprint(FACE_SWAP.model_copy(update={"sources": (second, first)})) != fingerprint(FACE_SWAP)


def by_reference(name: str, digit: str) -> FaceFusionJob:
    key = f"uploads/source/{name}.png"
    return FACE_SWAP.model_copy(
        update={
            "face_selection": FaceSelection(mode="reference", reference_key=key),
            "face_map": (FaceMapping(source_index=0, reference_key=key),),
            "references": (Reference(named=key, picture=artifact(digit, name)),),
        }
    )


def test_whom_a_reference_shows_changes_it_but_not_what_the_picture_is_called() -> None:
    assert fingerprint(by_reference("mine", "e")) == fingerprint(by_reference("yours", "e"))
    assert fingerprint(by_reference("mine", "e")) != fingerprint(by_reference("mine", "f"))
    assert fingerprint(by_reference("mine", "e")) != fingerprint(FACE_SWAP)


def test_which_entry_means_which_reference_changes_it() -> None:
    one, two = (Reference(named=f"uploads/{name}", picture=artifact(name)) for name in ("e", "f"))
    entries = [
        tuple(FaceMapping(source_index=place, reference_key=each.named) for place, each in enumerate(order))
        for order in ((one, two), (two, one))
    ]
    straight, crossed = (
        FACE_SWAP.model_copy(update={"face_map": entry, "references": (one, two)}) for entry in entries
    )
    assert fingerprint(straight) != fingerprint(crossed)


SHARED_CHANGES: list[dict[str, Any]] = [
    {"contract_version": CONTRACT_VERSION + 1},
    {"engine": Engine.NEURAL},
    {"model_revisions": {"draft": "2"}},
    {"target": artifact("e")},
    {"timeline": TIMELINE.model_copy(update={"frame_count": 91})},
    {"timeline": TIMELINE.model_copy(update={"sync_mode": SyncMode.BOUNCE})},
    {"timeline": TIMELINE.model_copy(update={"trim": Segment(start_frame=1, stop_frame=60)})},
    {"laid_out": Segment(start_frame=0, stop_frame=90)},
    {"segment": Segment(start_frame=0, stop_frame=90)},
    {"tracks": artifact("f")},
    {"quality": Quality.INTERMEDIATE},
]
LIP_SYNC_CHANGES = [
    *SHARED_CHANGES,
    {"driving_audio": artifact("e")},
    *({"options": Wav2LipOptions.model_validate({name: value})} for name, value in [
        ("enhancer", "gfpgan"), ("blending", 31), ("denoise", True), ("face_mode", 1), ("pingpong", True),
        ("fade", True), ("frame_enhancer", True), ("face_mask", False), ("face_occluder", True),
        ("lip_syncer_model", "wav2lip_gan"), ("audio_shift", 0), ("speaker", 0),
    ]),
]  # fmt: skip
FACE_SWAP_CHANGES = [
    *SHARED_CHANGES,
    {"sources": FACE_SWAP.sources[:1]},
    {"options": FaceFusionOptions(output_video_preset="fast")},
    {"face_selection": FaceSelection(mode="one")},
    {"face_map": (FaceMapping(source_index=0),)},
    {"references": (Reference(named="uploads/source/a.png", picture=artifact("e")),)},
]


@pytest.mark.parametrize(
    ("job", "changes"), [(LIP_SYNC, LIP_SYNC_CHANGES), (FACE_SWAP, FACE_SWAP_CHANGES)], ids=["wav2lip", "facefusion"]
)
def test_everything_that_decides_a_pixel_changes_it(
    job: Wav2LipJob | FaceFusionJob, changes: list[dict[str, Any]]
) -> None:
    prints = [fingerprint(job.model_copy(update=change)) for change in ({}, *changes)]
    assert len(set(prints)) == len(prints)


def test_every_field_of_a_job_was_thought_about() -> None:
    for job, changes in ((LIP_SYNC, LIP_SYNC_CHANGES), (FACE_SWAP, FACE_SWAP_CHANGES)):
        changed = {name for change in changes for name in change}
        # `stage` is another kind of job; the other two say who asks and how often.
        assert set(type(job).model_fields) - changed == {"stage", "attempt", "task_id", "traceparent"}


def test_a_stage_is_part_of_the_identity() -> None:
    assert fingerprint(LIP_SYNC) != fingerprint(FACE_SWAP)


def test_a_digest_does_not_depend_on_the_order_of_names() -> None:
    assert digest_of({"b": [1, 2], "a": "ü"}) == digest_of({"a": "ü", "b": [1, 2]})
    assert digest_of([1, 2]) != digest_of([2, 1])
    with pytest.raises(ValueError, match="JSON"):
        digest_of(float("nan"))
