"""How long the bucket keeps what."""

import pytest
from pydantic import ValidationError

from api_shim.large_uploads import UPLOAD_SECONDS
from deployments.retention import RetentionSettings, rules_of
from flows.caching import CACHE_TIME


def test_results_audit_and_keys_are_kept() -> None:
    expiring = [rule["Filter"]["Prefix"] for rule in rules_of(RetentionSettings()) if "Expiration" in rule]
    assert expiring == ["uploads/", "work/", "results/"]


def test_what_prefect_uses_again_is_there_for_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSWAP_RETENTION_WORK_DAYS", str(CACHE_TIME.days))
    with pytest.raises(ValidationError, match="work_days"):
        RetentionSettings()


def test_an_upload_in_parts_is_aborted_only_when_nobody_can_go_on_with_it() -> None:
    (days,) = (
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        for rule in rules_of(RetentionSettings())
        if "AbortIncompleteMultipartUpload" in rule
    )
    assert days * 24 * 3600 > UPLOAD_SECONDS
