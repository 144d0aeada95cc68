import re

import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.sentences import SENTENCES, Language, told_fault

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@pytest.mark.parametrize("language", Language)
def test_every_fault_has_a_sentence_in_every_language(language: Language) -> None:
    assert set(SENTENCES[language]) == set(FaultCode)
    assert len(set(SENTENCES[language].values())) == len(FaultCode), "no two faults read alike"


@pytest.mark.parametrize("code", FaultCode)
def test_a_japanese_sentence_is_japanese_and_names_what_the_english_one_names(code: FaultCode) -> None:
    english, japanese = SENTENCES[Language.ENGLISH][code], SENTENCES[Language.JAPANESE][code]

    assert JAPANESE.search(japanese)
    assert japanese.endswith("。")
    # Variables, fields, commands and addresses: what a reader types is the same in every language.
    names = set(re.findall(r"[A-Z0-9]{2,}_[A-Z0-9_]+|[a-z]+_keys?|`[^`]+`|/docs", english))
    assert {name for name in names if name not in japanese} == set()


def test_the_particulars_of_a_fault_stay_as_they_are() -> None:
    fault = FaultError(FaultCode.OBJECT_MISSING, "Key: uploads/a.").fault

    assert told_fault(fault, Language.ENGLISH) == fault.detail
    assert told_fault(fault, Language.JAPANESE) == (
        "このキーのオブジェクトがありません。先にアップロードしてください。 Key: uploads/a."
    )
