"""What a person sets before `lipswap up` reaches the processes that it is for."""

from pathlib import Path

import pytest

from deployments.local.wishes import wishes_in


def test_limits_policies_and_thresholds_are_passed_on_and_nothing_else() -> None:
    passed_on = {
        "LIPSWAP_CONSENT_POLICY": "required",
        "LIPSWAP_MAX_SECONDS": "30",
        "LIPSWAP_HDR": "refuse",
        "LIPSWAP_QUALITY_ENABLED": "false",
        "LIPSWAP_C2PA_TSA_URL": "http://127.0.0.1:1/",
    }
    others = {"LIPSWAP_API_HOST": "0.0.0.0", "LIPSWAP_DATA": "x", "HOME": "/", "FF_API_SECRET": "s", "LIPSWAP_HDR ": ""}  # noqa: S104  # not used
    assert wishes_in(passed_on | others) == passed_on


def test_files_are_named_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wishes_in({"LIPSWAP_C2PA_KEY": "mine/key.pem"}) == {"LIPSWAP_C2PA_KEY": str(tmp_path / "mine/key.pem")}
