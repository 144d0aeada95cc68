import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gpu_tasks.contract.artifacts import (
    MAX_KEY_BYTES,
    MAX_SEGMENT_BYTES,
    PREFIXES,
    InputKey,
    OutputKey,
    WorkKeys,
    check_key,
)


@pytest.mark.parametrize(
    "key",
    [
        "uploads/audio/a.wav",
        "uploads/video/a b (1).mp4",
        "outputs/日本語/結果.mp4",
        "work/wav2lip/f/r.json",
        "results/x",
        "audit/2026-11-22/00000001.json",
    ],
)
def test_keys_that_follow_the_grammar_stay_as_they_are(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "segment"),
        ("uploads/", "segment"),
        ("/uploads/a", "segment"),
        ("uploads//a", "segment"),
        ("uploads/../keys/a", "segment"),
        ("uploads/./a", "segment"),
        ("secrets/a", "starts with"),
        ("uploadsx/a", "starts with"),
        ("uploads\\..\\a", "backslash"),
        ("uploads/a\x00b", "control"),
        ("uploads/a\nb", "control"),
        ("uploads/a\u2028b", "control"),
        ("uploads/a\x9bb", "control"),
        ("uploads/" + unicodedata.normalize("NFD", "é"), "NFC"),
        ("uploads/" + "a" * (MAX_SEGMENT_BYTES + 1), "segment"),
        ("uploads/" + "é" * (MAX_SEGMENT_BYTES // 2 + 1), "segment"),
        ("uploads/" + "a/" * MAX_KEY_BYTES + "a", "bytes"),
    ],
)
def test_every_broken_rule_is_named(key: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_key(key)


def test_the_limits_themselves_are_allowed() -> None:
    assert check_key("uploads/" + "a" * MAX_SEGMENT_BYTES)
    longest = "uploads/" + "ab/" * 168
    assert len(check_key(longest[: MAX_KEY_BYTES - 1].rstrip("/") + "a")) <= MAX_KEY_BYTES


# Characters that break rules are as likely as those that do not, or hardly any key would be refused.
_PIECES = st.one_of(
    st.sampled_from(["uploads", "outputs", "..", ".", "", "\\", "\x00", "e\u0301", "a" * 201]), st.text(max_size=12)
)


# Any time will do on a busy machine.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_PIECES, min_size=1, max_size=6).map("/".join))
def test_whatever_is_allowed_stays_inside_its_folder_and_names_one_object(key: str) -> None:
    try:
        allowed = check_key(key)
    except ValueError:
        return
    segments = allowed.split("/")
    assert allowed == key
    assert allowed.startswith(PREFIXES)
    assert len(segments) >= 2
    assert not {"", ".", ".."} & set(segments)
    assert len(allowed.encode()) <= MAX_KEY_BYTES
    assert max(len(segment.encode()) for segment in segments) <= MAX_SEGMENT_BYTES
    assert unicodedata.is_normalized("NFC", allowed)
    assert not any(unicodedata.category(character) == "Cc" for character in allowed)
    # Idempotent: what was checked once may be checked again anywhere.
    assert check_key(allowed) == allowed


def test_a_surrogate_is_refused_and_does_not_crash() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - Python's own sentence about surrogates will do
        check_key("uploads/\ud800")


@pytest.mark.parametrize("key", ["work/wav2lip/f/receipt.json", "results/r.json", "audit/2026-11-22/00000001.json"])
def test_clients_may_not_name_our_own_folders(key: str) -> None:
    for kind in (InputKey, OutputKey):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(key)


def test_a_result_may_be_an_input_but_an_upload_is_no_place_for_a_result() -> None:
    assert TypeAdapter(InputKey).validate_python("outputs/a.mp4")
    with pytest.raises(ValidationError):
        TypeAdapter(OutputKey).validate_python("uploads/a.mp4")


def test_no_two_executions_share_a_key() -> None:
    keys = WorkKeys(stage="wav2lip", fingerprint="f" * 64)
    made = [
        name(attempt, execution)
        for name in (keys.started, keys.output)
        for attempt in range(1, 12)
        for execution in range(1, 12)
    ]
    assert len(set(made)) == len(made)
    assert all(check_key(key).startswith(f"work/wav2lip/{'f' * 64}/") for key in made)
