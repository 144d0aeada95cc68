"""How good a result is: the figures of an inspection, the thresholds, and the verdict with its reasons in words.

`docs/quality.md` says how each figure is measured and what it cannot see.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.sentences import Language


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(StrEnum):
    """What the figures mean together: the worst of what each one means."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    POOR = "poor"


class Reason(StrEnum):
    """Why a verdict is not `good`, or what it does not rest on."""

    LENGTH_WRONG = "length_wrong"
    SOUND_MISSING = "sound_missing"
    SOUND_SHIFTED = "sound_shifted"
    SOUND_DRIFTS = "sound_drifts"
    FACE_MISSING = "face_missing"
    FACE_LOST = "face_lost"
    MOUTH_UNRELATED = "mouth_unrelated"
    MOUTH_BY_CHANCE = "mouth_by_chance"
    MOUTH_LATE_OR_EARLY = "mouth_late_or_early"
    MOUTH_OPEN_IN_PAUSES = "mouth_open_in_pauses"
    IDENTITY_OF_TARGET = "identity_of_target"
    FACE_FLICKERS = "face_flickers"
    OUTSIDE_CHANGED = "outside_changed"
    TARGET_NOT_COMPARABLE = "target_not_comparable"
    SOURCE_WITHOUT_FACE = "source_without_face"
    TOO_LITTLE_SPEECH = "too_little_speech"


VERDICT_WORDS: Final[Mapping[Language, Mapping[Verdict, str]]] = {
    Language.ENGLISH: {Verdict.GOOD: "Good", Verdict.DOUBTFUL: "Doubtful", Verdict.POOR: "Poor"},
    Language.JAPANESE: {Verdict.GOOD: "良好", Verdict.DOUBTFUL: "要確認", Verdict.POOR: "不良"},
}

REASON_SENTENCES: Final[Mapping[Language, Mapping[Reason, str]]] = {
    Language.ENGLISH: {
        Reason.LENGTH_WRONG: "Picture, sound or the expected length differ by more than a frame or so.",
        Reason.SOUND_MISSING: "There is no sound, so nothing can be said about the lips.",
        Reason.SOUND_SHIFTED: "The result's sound does not lie where the driving audio puts it.",
        Reason.SOUND_DRIFTS: "The mouth falls behind or runs ahead of the voice as the video goes on.",
        Reason.FACE_MISSING: "No face is seen in a large part of the result.",
        Reason.FACE_LOST: "The target shows a face where the result shows none any more.",
        Reason.MOUTH_UNRELATED: "The mouth opens and closes differently from the loudness of the voice.",
        Reason.MOUTH_BY_CHANCE: "A shuffled voice would fit the mouth about as well.",
        Reason.MOUTH_LATE_OR_EARLY: "The mouth fits the voice best when one of them is shifted.",
        Reason.MOUTH_OPEN_IN_PAUSES: "The mouth stays open while nobody speaks.",
        Reason.IDENTITY_OF_TARGET: "The face still looks more like the target's than like the source's.",
        Reason.FACE_FLICKERS: "The face flickers more than in the target.",
        Reason.OUTSIDE_CHANGED: "Pixels far from the face differ from the target's.",
        Reason.TARGET_NOT_COMPARABLE: "The target has another shape or frame rate than the result: not compared.",
        Reason.SOURCE_WITHOUT_FACE: "No face was found in a source, so identity was not compared.",
        Reason.TOO_LITTLE_SPEECH: "There is too little speech to judge the lips by.",
    },
    Language.JAPANESE: {
        Reason.LENGTH_WRONG: "映像・音声・予定の長さが1フレーム程度を超えて食い違っています。",
        Reason.SOUND_MISSING: "音声がないため、口の動きは判定できません。",
        Reason.SOUND_SHIFTED: "結果の音声の位置が入力音声と一致していません。",
        Reason.SOUND_DRIFTS: "再生が進むにつれて口と音声のずれが広がります。",
        Reason.FACE_MISSING: "結果の大部分で顔が見つかりません。",
        Reason.FACE_LOST: "元の動画では顔が見えるのに、結果では見えなくなったフレームがあります。",
        Reason.MOUTH_UNRELATED: "口の開閉が声の大きさと合っていません。",
        Reason.MOUTH_BY_CHANCE: "順序を入れ替えた音声でも同じ程度に一致してしまいます。",
        Reason.MOUTH_LATE_OR_EARLY: "口と音声の時間がずれています。",
        Reason.MOUTH_OPEN_IN_PAUSES: "無音の間も口が開いたままです。",
        Reason.IDENTITY_OF_TARGET: "顔が差し替え元より元の動画の人物に近いままです。",
        Reason.FACE_FLICKERS: "顔が元の動画よりちらついています。",
        Reason.OUTSIDE_CHANGED: "顔から離れた部分の画素が元の動画と違っています。",
        Reason.TARGET_NOT_COMPARABLE: "元の動画と結果の縦横比かフレームレートが違うため、比較していません。",
        Reason.SOURCE_WITHOUT_FACE: "差し替え元の画像に顔が見つからず、人物は比較していません。",
        Reason.TOO_LITTLE_SPEECH: "発話が少なすぎるため、口の動きは判定できません。",
    },
}


class Thresholds(_Model):
    """Where `good` ends and where `poor` begins, figure by figure; between the two lies `doubtful`.

    The `good` side of each is the project's goal for its own sample (docs/quality.md says where the others come from).
    """

    length_good_frames: float = Field(default=1.0, gt=0)
    length_poor_frames: float = Field(default=3.0, gt=0)
    drift_good_ms: float = Field(default=45.0, gt=0)
    drift_poor_ms: float = Field(default=125.0, gt=0)
    coverage_good: float = Field(default=0.9, ge=0, le=1)
    coverage_poor: float = Field(default=0.5, ge=0, le=1)
    lost_good: float = Field(default=0.01, ge=0, le=1)
    lost_poor: float = Field(default=0.1, ge=0, le=1)
    correlation_good: float = Field(default=0.7, ge=-1, le=1)
    correlation_poor: float = Field(default=0.4, ge=-1, le=1)
    control_good: float = Field(default=0.2, ge=-1, le=1)
    control_poor: float = Field(default=0.4, ge=-1, le=1)
    chance_good: float = Field(default=0.02, gt=0, le=1)
    chance_poor: float = Field(default=0.1, gt=0, le=1)
    lag_good_frames: float = Field(default=1.0, ge=0)
    lag_poor_frames: float = Field(default=3.0, ge=0)
    pauses_good: float = Field(default=0.15, ge=0)
    pauses_poor: float = Field(default=0.35, ge=0)
    identity_good: float = Field(default=0.5, ge=0, le=1)
    identity_poor: float = Field(default=0.3, ge=0, le=1)
    flicker_good: float = Field(default=1.3, gt=0)
    flicker_poor: float = Field(default=2.0, gt=0)
    outside_good_db: float = Field(default=38.0, gt=0)
    outside_poor_db: float = Field(default=32.0, gt=0)


class QualityPolicy(Thresholds):
    """Thresholds, and how much of each result a run looks at."""

    enabled: bool = Field(default=True, description="Whether runs measure their result.")
    most_frames: int = Field(
        default=1500, ge=60, description="Longer results are measured in pieces spread over them, this many frames."
    )
    most_seconds: float = Field(default=300.0, gt=0, description="How long measuring may take before it is given up.")


class Lengths(_Model):
    """How long everything is.

    Attributes:
        expected_seconds: The plan's, or the driving audio's; None where neither is known.
        sound_offset_ms: How much later than the driving audio the result's own sound is; None without both.
    """

    fps: float
    frames: int
    video_seconds: float
    sound_seconds: float | None
    expected_seconds: float | None = None
    sound_offset_ms: float | None = None


class Faces(_Model):
    """In how many of the frames that were looked at the detector sees a face.

    Attributes:
        frames_looked_at: All, or those of the pieces.
        frames_with_face: In the result.
        frames_lost: Frames where the target shows a face and the result none; None without a target.
    """

    frames_looked_at: int = Field(gt=0)
    frames_with_face: int = Field(ge=0)
    frames_lost: int | None = None

    @property
    def coverage(self) -> float:
        return self.frames_with_face / self.frames_looked_at


class LipSync(_Model):
    """How the mouth's opening goes with the voice's loudness.

    Attributes:
        correlation: Pearson's, at the best lag, -1..1; 0 for a mouth that does not move.
        best_lag_frames: Whole frames; positive: the mouth is later than the voice.
        best_lag_ms: The same, between frames (parabola through the peak and its neighbours).
        control_mean: Mean correlation of shuffled voices at that same lag.
        control_worst: The highest that any shuffled voice reaches at the lag that suits it best.
        chance: Share of shuffled voices that, each at its own best lag, fit as well or better; 0..1.
        shuffles: How many there were.
        drift_ms: Best lag of the second half less that of the first; None when a half says too little.
        own_correlation: The same as `correlation` for the target's own mouth with this voice, at the same lag.
        max_opening: 98th percentile, as a share of the distance from eyes to mouth.
        pause_opening: Mean opening in the pauses as a share of `max_opening`; None without pauses.
        pause_seconds: How much pause there is.
    """

    correlation: float
    best_lag_frames: int
    best_lag_ms: float
    control_mean: float
    control_worst: float
    chance: float
    shuffles: int
    drift_ms: float | None
    own_correlation: float | None
    max_opening: float
    pause_opening: float | None
    pause_seconds: float


class Identity(_Model):
    """What the face looks like. Distances are between unit vectors, 0..2.

    Attributes:
        measure: What made the vectors: `gradients` without weights, else an embedder's name.
        toward_source: How far the face has gone from the target's looks to the source's: 0 not at all, 1 all the way.
        to_source, to_target: Mean distance of the result's face.
        target_to_source: Mean distance of the two that were given.
        source: Which of the sources, from 0: the nearest.
    """

    measure: str
    toward_source: float
    to_source: float
    to_target: float
    target_to_source: float
    source: int


class Flicker(_Model):
    """What changes back and forth from frame to frame in the face outside the mouth.

    Attributes:
        result, target: Root mean square over the face in grey levels 0..255, median over the frames.
        ratio: Result to target, mean over the frames; None without a target.
    """

    result: float
    target: float | None
    ratio: float | None


class Outside(_Model):
    """Peak signal-to-noise ratio in dB of everything far from faces, against the target; 99 is no difference."""

    psnr_db: float
    worst_psnr_db: float
    worst_frame: int


class Concern(StrEnum):
    """For what a frame is the worst."""

    OUTSIDE = "outside"
    FLICKER = "flicker"
    OPEN_IN_PAUSE = "open_in_pause"
    MOUTH_AGAINST_VOICE = "mouth_against_voice"
    NO_FACE = "no_face"


CONCERN_WORDS: Final[Mapping[Language, Mapping[Concern, str]]] = {
    Language.ENGLISH: {
        Concern.OUTSIDE: "difference outside the face",
        Concern.FLICKER: "flicker",
        Concern.OPEN_IN_PAUSE: "open in a pause",
        Concern.MOUTH_AGAINST_VOICE: "mouth against voice",
        Concern.NO_FACE: "no face seen",
    },
    Language.JAPANESE: {
        Concern.OUTSIDE: "顔の外の差",
        Concern.FLICKER: "ちらつき",
        Concern.OPEN_IN_PAUSE: "無音で開口",
        Concern.MOUTH_AGAINST_VOICE: "口と声の不一致",
        Concern.NO_FACE: "顔なし",
    },
}


class WorstFrame(_Model):
    """A frame to look at. `value` is in the unit of its figure (dB, ratio, share)."""

    frame: int
    seconds: float
    concern: Concern
    value: float


class QualityReport(_Model):
    """What an inspection found. A figure that could not be measured is None; `reasons` say why where it matters."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    lengths: Lengths
    faces: Faces
    lip_sync: LipSync | None
    identity: Identity | None
    flicker: Flicker | None
    outside: Outside | None
    worst: tuple[WorstFrame, ...] = ()
