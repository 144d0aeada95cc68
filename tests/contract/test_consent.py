import pytest
from pydantic import BaseModel, ValidationError

from gpu_tasks.contract.consent import (
    Consent,
    ConsentBasis,
    ConsentPolicy,
    OptionalConsent,
    RecordedConsent,
    consent_to_record,
)
from gpu_tasks.contract.faults import FaultCode, FaultError

GIVEN = Consent(basis=ConsentBasis.OWN_LIKENESS, statement="It is me.", declared_by="A. Person")


class Request(BaseModel):
    consent: OptionalConsent = None


@pytest.mark.parametrize("absent", [None, {}])
def test_a_request_may_leave_consent_out_or_send_the_empty_object_of_older_clients(absent: object) -> None:
    assert Request.model_validate({"consent": absent}).consent is None
    assert Request().consent is None


@pytest.mark.parametrize(
    "change",
    [
        {"basis": "satire"},
        {"statement": "  "},
        {"statement": "x" * 2001},
        {"declared_by": ""},
        {"declared_by": "x" * 201},
        {"signature": "x"},
    ],
    ids=str,
)
def test_anything_else_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Request.model_validate({"consent": {**GIVEN.model_dump(mode="json"), **change}})


def test_the_id_of_a_consent_tells_nothing_and_is_never_the_same() -> None:
    first, second = RecordedConsent.of(GIVEN), RecordedConsent.of(GIVEN)
    assert first.id != second.id
    assert first.is_sound
    assert len(first.salt or "") == 32


def test_an_id_stands_for_one_declaration_only() -> None:
    held = RecordedConsent.of(GIVEN)
    for field in ("basis", "statement", "declared_by"):
        other = GIVEN.model_copy(update={field: ConsentBasis.LICENCE if field == "basis" else "other"})
        assert not held.model_copy(update={"declared": other}).is_sound
    assert held.erased().is_sound
    assert held.erased().is_erased
    assert not held.is_erased


def test_each_policy_does_what_it_says() -> None:
    recorded = consent_to_record(GIVEN, ConsentPolicy.RECORDED)
    assert recorded is not None
    assert recorded.declared == GIVEN
    assert consent_to_record(None, ConsentPolicy.RECORDED) is None
    assert consent_to_record(GIVEN, ConsentPolicy.OFF) is None
    assert consent_to_record(None, ConsentPolicy.OFF) is None
    assert consent_to_record(GIVEN, ConsentPolicy.REQUIRED) is not None
    with pytest.raises(FaultError) as caught:
        consent_to_record(None, ConsentPolicy.REQUIRED)
    assert caught.value.fault.code is FaultCode.CONSENT_REQUIRED
