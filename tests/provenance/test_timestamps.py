import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gpu_tasks.contract.credentials import CredentialState
from gpu_tasks.provenance.certificates import load_signatory, load_trust
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_file
from gpu_tasks.provenance.verify import verify_here
from tests.provenance.timestamping import Authority, timestamp_authority
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the test's timestamp authority is OpenSSL")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with timestamp_authority(tmp_path_factory.mktemp("authority")) as running:
        yield running


def test_a_believed_timestamp_lets_a_signature_outlive_its_certificate(
    tmp_path: Path, clip: Path, credential: Credential, authority: Authority
) -> None:
    settings = SigningSettings(development=tmp_path / "c2pa", tsa_url=authority.url)
    begun = datetime.now(UTC)
    # Not before it has signed, on a busy machine.
    ends_soon = load_signatory(settings, now=begun - timedelta(days=5 * 365) + timedelta(seconds=8))
    signed = tmp_path / "signed.mp4"
    report = sign_file(clip, signed, credential, ends_soon)
    assert report.timestamped
    assert report.bytes_added < 20_000
    without = load_trust(settings)
    with_clock = load_trust(settings.model_copy(update={"tsa_anchors": authority.root}))
    # A time by a clock that nobody believes is not told.
    assert verify_here(signed, without).signed_at is None
    wait_until(lambda: verify_here(signed, without).state is CredentialState.UNTRUSTED, what="the signer's end")
    verdict = verify_here(signed, with_clock)
    assert verdict.state is CredentialState.TRUSTED
    assert verdict.signed_at is not None
    assert abs(verdict.signed_at - begun) < timedelta(seconds=60)


def test_whoever_vouches_for_times_does_not_vouch_for_signers(
    tmp_path: Path, clip: Path, credential: Credential, authority: Authority
) -> None:
    settings = SigningSettings(
        chain=authority.person, key=authority.person, trust_anchors=authority.root, tsa_url=authority.url
    )
    signed = tmp_path / "signed.mp4"
    sign_file(clip, signed, credential, load_signatory(settings))
    assert verify_here(signed, load_trust(settings)).state is CredentialState.TRUSTED
    ours = SigningSettings(development=tmp_path / "c2pa", tsa_anchors=authority.root)
    assert verify_here(signed, load_trust(ours)).state is CredentialState.UNTRUSTED
