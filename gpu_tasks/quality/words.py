"""The words of the visual report besides verdicts, reasons and concerns, in English and Japanese."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gpu_tasks.contract.sentences import Language


class Label(StrEnum):
    """Everything that the report names."""

    TITLE = "title"
    FIGURE = "figure"
    VALUE = "value"
    GOAL = "goal"
    VERDICT = "verdict"
    LENGTH = "length"
    SOUND_OFFSET = "sound_offset"
    COVERAGE = "coverage"
    LOST = "lost"
    CORRELATION = "correlation"
    LAG = "lag"
    CONTROL = "control"
    CHANCE = "chance"
    DRIFT = "drift"
    OWN = "own"
    PAUSES = "pauses"
    IDENTITY = "identity"
    FLICKER = "flicker"
    OUTSIDE = "outside"
    NOT_MEASURED = "not_measured"
    VOICE = "voice"
    MOUTH = "mouth"
    OWN_MOUTH = "own_mouth"
    PAUSE = "pause"
    LAG_PLOT = "lag_plot"
    TIME_PLOT = "time_plot"
    FLICKER_PLOT = "flicker_plot"
    OUTSIDE_PLOT = "outside_plot"
    SHUFFLED = "shuffled"
    LATER = "later"
    SECONDS = "seconds"
    TARGET = "target"
    RESULT = "result"
    MOUTHS = "mouths"
    SHEET = "sheet"
    WORST = "worst"
    LIMITS = "limits"
    LIMITS_TEXT = "limits_text"


WORDS: Final[Mapping[Language, Mapping[Label, str]]] = {
    Language.ENGLISH: {
        Label.TITLE: "Inspection",
        Label.FIGURE: "Figure",
        Label.VALUE: "Measured",
        Label.GOAL: "Good",
        Label.VERDICT: "Verdict",
        Label.LENGTH: "Length: video / sound / expected",
        Label.SOUND_OFFSET: "Sound against driving audio",
        Label.COVERAGE: "Frames with a face",
        Label.LOST: "Faces lost against the target",
        Label.CORRELATION: "Mouth follows voice (correlation)",
        Label.LAG: "Mouth later than voice",
        Label.CONTROL: "The same with shuffled voices: mean (highest)",
        Label.CHANCE: "Shuffled voices that fit as well",
        Label.DRIFT: "Lag gained over the clip",
        Label.OWN: "Target's own mouth with this voice",
        Label.PAUSES: "Opening in pauses, of maximum",
        Label.IDENTITY: "Way from target's to source's looks",
        Label.FLICKER: "Flicker in the face against target",
        Label.OUTSIDE: "Outside the face (PSNR): all / worst frame",
        Label.NOT_MEASURED: "not measured",
        Label.VOICE: "voice (loudness)",
        Label.MOUTH: "mouth (opening)",
        Label.OWN_MOUTH: "target's own mouth",
        Label.PAUSE: "pause",
        Label.LAG_PLOT: "Correlation by lag",
        Label.TIME_PLOT: "Voice and mouth over time",
        Label.FLICKER_PLOT: "Flicker in the face, result against target",
        Label.OUTSIDE_PLOT: "Outside the face, PSNR in dB",
        Label.SHUFFLED: "shuffled voices: mean, 5 to 95 %",
        Label.LATER: "mouth later than voice, ms",
        Label.SECONDS: "seconds",
        Label.TARGET: "target",
        Label.RESULT: "result",
        Label.MOUTHS: "result, mouth",
        Label.SHEET: "Contact sheet",
        Label.WORST: "Frames to look at",
        Label.LIMITS: "What these figures cannot see",
        Label.LIMITS_TEXT: (
            "Openings are heights of what is dark between the lips: a beard, a hand or a profile hides it. Loudness is "
            "no phoneme: lips that open in time may still form other sounds. Identity is compared by edges in aligned "
            "faces and does not recognise a person. Look at the frames."
        ),
    },
    Language.JAPANESE: {
        Label.TITLE: "品質検査",
        Label.FIGURE: "項目",
        Label.VALUE: "測定値",
        Label.GOAL: "良好の目安",
        Label.VERDICT: "判定",
        Label.LENGTH: "長さ:映像 / 音声 / 予定",
        Label.SOUND_OFFSET: "入力音声に対する音声のずれ",
        Label.COVERAGE: "顔が見えるフレーム",
        Label.LOST: "元の動画にあって失われた顔",
        Label.CORRELATION: "口と声の一致(相関)",
        Label.LAG: "声に対する口の遅れ",
        Label.CONTROL: "入れ替えた声との一致:平均(最大)",
        Label.CHANCE: "同じ程度に一致した入れ替え音声",
        Label.DRIFT: "前半から後半へのずれの変化",
        Label.OWN: "元の動画の口とこの声の相関",
        Label.PAUSES: "無音時の開口(最大比)",
        Label.IDENTITY: "元の人物から差し替え元への近づき",
        Label.FLICKER: "顔のちらつき(元の動画比)",
        Label.OUTSIDE: "顔の外(PSNR):全体 / 最悪フレーム",
        Label.NOT_MEASURED: "測定なし",
        Label.VOICE: "声(大きさ)",
        Label.MOUTH: "口(開き)",
        Label.OWN_MOUTH: "元の動画の口",
        Label.PAUSE: "無音",
        Label.LAG_PLOT: "ずれごとの相関",
        Label.TIME_PLOT: "声と口の時間変化",
        Label.FLICKER_PLOT: "顔のちらつき(元の動画比)",
        Label.OUTSIDE_PLOT: "顔の外の PSNR(dB)",
        Label.SHUFFLED: "入れ替えた声:平均、5〜95 %",
        Label.LATER: "口の遅れ(ミリ秒)",
        Label.SECONDS: "秒",
        Label.TARGET: "元の動画",
        Label.RESULT: "結果",
        Label.MOUTHS: "結果の口元",
        Label.SHEET: "一覧",
        Label.WORST: "確認すべきフレーム",
        Label.LIMITS: "この数値では分からないこと",
        Label.LIMITS_TEXT: (
            "口の開きは唇の間の暗い部分の高さです。ひげ、手、横顔では隠れます。声の大きさは音素ではなく、"
            "開閉の時間が合っていても別の音の形かもしれません。人物の比較は位置合わせした顔の輪郭線によるもので、"
            "個人の識別ではありません。必ずフレームを目で確認してください。"
        ),
    },
}
