"""The page's words in the reader's language."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.sentences import SENTENCES, Language
from ui_panel.wording.english import ENGLISH
from ui_panel.wording.japanese import JAPANESE

TEXTS: Final[Mapping[Language, Mapping[str, str]]] = MappingProxyType(
    {Language.ENGLISH: ENGLISH, Language.JAPANESE: JAPANESE}
)

_KEYS: Final = re.compile(r",? ?\b(?:uploads|outputs|work)/[^\s,;]*[^\s,;.]")

# What a person at the page can do about it, where the fault's own sentence speaks to a program.
_ADVICE: Final[Mapping[Language, Mapping[FaultCode, str]]] = MappingProxyType(
    {
        Language.ENGLISH: {
            FaultCode.MISSING_AUDIO_KEY: "Add a voice, a face picture, or both.",
            FaultCode.CONSENT_REQUIRED: "Choose above why you may use these faces and voices, and give your name.",
            FaultCode.ORCHESTRATOR_UNAVAILABLE: "The service does not answer. Nothing is lost; try again in a moment.",
            FaultCode.STORAGE_UNAVAILABLE: "The storage does not answer. Nothing is lost; try again in a moment.",
            FaultCode.RUNPOD_NOT_CONFIGURED: "No GPU is set up here. Ask whoever runs this service.",
            FaultCode.FACEFUSION_NOT_CONFIGURED: "Face swap is not set up here. Remove the face, or ask whoever runs it.",
            FaultCode.ENGINE_UNAVAILABLE: "This quality is not available here. Choose another one.",
            FaultCode.MODEL_MISSING: "This quality needs models that are not installed here. Choose another one.",
            FaultCode.LICENCE_NOT_ACKNOWLEDGED: "A model's licence was not accepted here. Choose another quality.",
            FaultCode.OBJECT_MISSING: "A file is no longer there. Remove it and add it again.",
            FaultCode.TASK_UNKNOWN: "There is no such task. It may have been deleted.",
            FaultCode.BUDGET_EXCEEDED: "The budget for GPU time is used up. Ask whoever runs this service, or come back tomorrow.",
            FaultCode.UNAUTHORIZED: "The page may not use the service. Tell whoever runs it: FF_API_SECRET is wrong.",
        },
        Language.JAPANESE: {
            FaultCode.MISSING_AUDIO_KEY: "声か顔の画像、またはその両方を追加してください。",
            FaultCode.CONSENT_REQUIRED: "顔と声を使ってよい理由を選び、お名前を入力してください。",
            FaultCode.ORCHESTRATOR_UNAVAILABLE: "サービスが応答しません。入力内容は残っています。少し待ってお試しください。",
            FaultCode.STORAGE_UNAVAILABLE: "保存先が応答しません。入力内容は残っています。少し待ってお試しください。",
            FaultCode.RUNPOD_NOT_CONFIGURED: "GPU が設定されていません。サービスの管理者にご連絡ください。",
            FaultCode.FACEFUSION_NOT_CONFIGURED: "顔の差し替えは設定されていません。顔を外すか、管理者にご連絡ください。",
            FaultCode.ENGINE_UNAVAILABLE: "この品質はここでは使えません。別の品質を選んでください。",
            FaultCode.MODEL_MISSING: "この品質に必要なモデルがありません。別の品質を選んでください。",
            FaultCode.LICENCE_NOT_ACKNOWLEDGED: "モデルのライセンスが承認されていません。別の品質を選んでください。",
            FaultCode.OBJECT_MISSING: "ファイルが見つかりません。取り除いて、もう一度追加してください。",
            FaultCode.TASK_UNKNOWN: "この作業は見つかりません。削除された可能性があります。",
            FaultCode.BUDGET_EXCEEDED: "GPU の予算を使い切りました。管理者にご連絡いただくか、明日またお試しください。",
            FaultCode.UNAUTHORIZED: "このページからサービスを使えません。管理者にご連絡ください（FF_API_SECRET）。",
        },
    }
)


def words(language: Language) -> Mapping[str, str]:
    """Return all texts of a language by name."""
    return TEXTS[language]


def advice(fault: Fault, language: Language) -> str:
    """Return what a person is told of a fault, and what to do about it; keys of objects tell them nothing."""
    if fault.code in _ADVICE[language]:
        return _ADVICE[language][fault.code]
    if language is Language.ENGLISH:
        return _KEYS.sub("", fault.detail)
    # The particulars are in English: they stand with the details.
    return SENTENCES[language][fault.code]


def of_groups(language: Language, *groups: str) -> dict[str, str]:
    """Return the texts whose names begin with one of these groups."""
    return {name: said for name, said in TEXTS[language].items() if name.partition(".")[0] in groups}


def language_of(asked: str, accepted: str) -> Language:
    """Return the language of a page: as its address says, else as the browser prefers, else English."""
    for told in (asked, *accepted.split(",")):
        name = told.split(";")[0].strip().lower()[:2]
        if name in set(Language):
            return Language(name)
    return Language.ENGLISH
