"""From a request and its footage to jobs: pure, apart from looking the uploads up."""

from fractions import Fraction

from blocks.policy import PipelinePolicy
from flows.errors import PipelineError
from flows.footage import Assembly, Footage, Limits, Upload, Uploads, Whole
from flows.remote import JobDone
from flows.request import PipelineRequest
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Quality, Segment, Stage, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.media.cutting import Cutting
from gpu_tasks.media.gate import GATE_REVISION
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.storage import ArtifactStore

# What sees faces on the CPU before a GPU is asked are the draft engine's models, whatever engine computes.
_FACE_MODELS = ("face_detection_short_range", "face_mesh_468")
# Raise it when the tracking pass makes other tracks of the same video.
_TRACKING_REVISION = 1


def limits_of(policy: PipelinePolicy) -> Limits:
    """Return what a deployment's policy says about inputs."""
    return Limits(
        max_video_bytes=policy.max_video_bytes,
        max_audio_bytes=policy.max_audio_bytes,
        max_image_bytes=policy.max_image_bytes,
        media=MediaLimits(**policy.model_dump(include=set(MediaLimits.model_fields))),
        gate=GatePolicy(**policy.model_dump(include=set(GatePolicy.model_fields))),
    )


def cutting_of(policy: PipelinePolicy) -> Cutting:
    """Return what a deployment's policy says about segments."""
    return Cutting(segment_seconds=policy.segment_seconds, max_segments=policy.max_segments)


def look_up(store: ArtifactStore, request: PipelineRequest, policy: PipelinePolicy) -> Uploads:
    """Find the request's inputs in the bucket, without fetching them.

    Raises:
        PipelineError: OBJECT_MISSING, OBJECT_EMPTY or OBJECT_TOO_LARGE.
        StorageError: The bucket is away.
    """
    limits = limits_of(policy)
    return Uploads(
        target=upload_of(store, request.target_key, limits.max_video_bytes),
        audio=upload_of(store, request.audio_key, limits.max_sound_bytes) if request.audio_key else None,
        sources=tuple(upload_of(store, key, limits.max_image_bytes) for key in request.source_keys),
        references=tuple(upload_of(store, key, limits.max_image_bytes) for key in request.reference_keys),
        sync_mode=request.laid_out_as,
        trim=request.trim,
        limits=limits,
        cutting=cutting_of(policy),
        revisions=tracking_revisions(),
    )


def tracking_revisions() -> dict[str, str]:
    """Return the revisions of all that may find other faces in the same target."""
    return {
        "gate": str(GATE_REVISION),
        "tracking": str(_TRACKING_REVISION),
        **{name: manifest().models[name].revision for name in _FACE_MODELS},
    }


def lip_sync_job(
    request: PipelineRequest, footage: Footage, engine: Engine, segment: Segment | None = None
) -> Wav2LipJob:
    """Return the lip-sync of a segment, or of the whole footage; near-lossless when a face swap follows.

    Raises:
        PipelineError: MISSING_AUDIO_KEY when the footage has no driving audio.
        FaultError: ENGINE_UNAVAILABLE.
    """
    if footage.audio is None:
        raise PipelineError(FaultCode.MISSING_AUDIO_KEY, stage=Stage.WAV2LIP)
    return Wav2LipJob(
        engine=engine,
        model_revisions=manifest().revisions(engine, Stage.WAV2LIP),
        target=footage.target,
        driving_audio=footage.audio,
        timeline=footage.timeline,
        segment=segment,
        tracks=footage.tracks,
        quality=Quality.INTERMEDIATE if request.wants_face_swap else Quality.DELIVERY,
        options=request.wav2lip,
    )


def face_swap_job(
    request: PipelineRequest,
    footage: Footage,
    engine: Engine,
    synced: JobDone | None,
    segment: Segment | None = None,
) -> FaceFusionJob:
    """Return the face swap of the lip-synced video, or of the footage when there is none; of one segment or the whole.

    Raises:
        FaultError: ENGINE_UNAVAILABLE.
    """
    return FaceFusionJob(
        engine=engine,
        model_revisions=manifest().revisions(engine, Stage.FACEFUSION),
        target=synced.receipt.artifact if synced else footage.target,
        timeline=footage.timeline,
        segment=segment,
        tracks=footage.tracks,
        # The lip-synced video of a segment holds that segment and nothing around it.
        laid_out=(segment or Segment(start_frame=0, stop_frame=footage.timeline.frame_count)) if synced else None,
        sources=footage.sources,
        options=request.facefusion,
        face_selection=request.face_selection,
        face_map=request.face_map,
        references=footage.references,
    )


def assembly_of(footage: Footage, *made: JobDone) -> Assembly:
    """Return what becomes one file: the videos of a stage in order, with the driving audio, else the target's sound."""
    timeline = footage.timeline
    # The driving audio begins with the result; the target's own sound belongs to its frames, trimmed or not.
    own_start = timeline.clip.start_frame / timeline.fps
    return Assembly(
        parts=tuple(done.receipt.artifact for done in made),
        sound=footage.sound,
        sound_start=Fraction(0) if footage.audio or footage.sound is None else own_start,
        timeline=timeline,
    )


def assembly_like(whole: Whole, footage: Footage, *made: JobDone) -> Assembly:
    """Return what becomes one file beside `whole`: its sound is that file's, encoded once and copied here."""
    assembly = assembly_of(footage, *made)
    if whole.media.audio is None:
        return assembly
    return assembly.model_copy(update={"sound": whole.artifact, "sound_start": Fraction(0)})


def upload_of(store: ArtifactStore, key: str, max_bytes: int) -> Upload:
    """Find one input in the bucket, without fetching it; raises as `look_up`."""
    head = store.head(key)
    if head is None:
        raise PipelineError(FaultCode.OBJECT_MISSING, f"Key: {key}.", stage=Stage.INGEST)
    if head.size_bytes == 0:
        raise PipelineError(FaultCode.OBJECT_EMPTY, f"Key: {key}.", stage=Stage.INGEST)
    if head.size_bytes > max_bytes:
        raise PipelineError(FaultCode.OBJECT_TOO_LARGE, f"{key} has more than {max_bytes} bytes.", stage=Stage.INGEST)
    return Upload(key=key, etag=head.etag, size_bytes=head.size_bytes)
