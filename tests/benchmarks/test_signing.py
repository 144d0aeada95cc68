"""What signing costs beside the encode that comes before it, in processor time of one run on one clip."""

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpu_tasks.contract.credentials import RunClaims
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_file

pytestmark = pytest.mark.bench

WIDTH, HEIGHT, FRAMES, FPS = 1280, 720, 300, Fraction(30)
SHARE = 0.01
SIGNINGS = 5

CREDENTIAL = Credential(
    claims=RunClaims.model_validate(
        {
            "task_id": "benchmark",
            "stages": [{"stage": "wav2lip", "engine": "draft"}, {"stage": "facefusion", "engine": "draft"}],
            "inputs": [{"role": role, "sha256": "0" * 64} for role in ("target", "driving_audio", "source")],
            "consent_id": "f" * 64,
        }
    )
)

_PEAK_OF_ONE = """
import sys
from pathlib import Path
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_here
from tests.benchmarks.test_signing import CREDENTIAL
source, destination, folder = map(Path, sys.argv[1:])
def peak():
    # Not getrusage: its peak outlives an exec, and is that of the parent.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
signatory = load_signatory(SigningSettings(development=folder))
before = peak()
sign_here(source, destination, CREDENTIAL, signatory)
print(peak() - before)
"""


def film(path: Path) -> Path:
    """Grainy footage that moves: about as hard to encode as what a camera sees."""
    grain = np.random.default_rng(3).normal(0, 6, (HEIGHT, WIDTH + FRAMES * 4, 3))
    ramp = np.linspace(40, 200, grain.shape[1])[None, :, None]
    whole = np.clip(grain + ramp, 0, 255).astype(np.uint8)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for number in range(FRAMES):
            writer.write(np.ascontiguousarray(whole[:, number * 4 : number * 4 + WIDTH]))
    return path


def test_signing_takes_less_than_a_hundredth_of_the_encode_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, encoded = film(tmp_path / "clip.mp4"), tmp_path / "encoded.mp4"
    signatory = load_signatory(SigningSettings(development=tmp_path / "c2pa"))
    begun = time.process_time()
    with VideoReader(clip) as reader, VideoWriter(encoded, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for frame in reader:
            writer.write(frame.pixels)
    transcode_seconds = time.process_time() - begun
    begun = time.process_time()
    for number in range(SIGNINGS):
        report = sign_file(encoded, tmp_path / f"{number}.mp4", CREDENTIAL, signatory)
    sign_seconds = (time.process_time() - begun) / SIGNINGS
    with capsys.disabled():
        print(  # noqa: T201 - a benchmark's figures are its output
            f"\n{encoded.stat().st_size / 1e6:.1f} MB, 10 s of 720p: transcode {transcode_seconds:.2f} CPU s, sign "
            f"{sign_seconds:.3f} CPU s = {sign_seconds / transcode_seconds:.2%}, +{report.bytes_added} bytes"
        )
    assert sign_seconds < SHARE * transcode_seconds


@pytest.mark.parametrize("megabytes", [64, 256])
def test_signing_holds_a_file_once_in_memory(
    megabytes: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with VideoWriter(tmp_path / "small.mp4", width=64, height=64, fps=FPS) as writer:
        writer.write(np.zeros((64, 64, 3), dtype=np.uint8))
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.write((tmp_path / "small.mp4").read_bytes())
        # A media data box that no track refers to is sound MP4.
        file.write((megabytes * 1024 * 1024 + 8).to_bytes(4, "big") + b"mdat")
        for _ in range(megabytes):
            file.write(os.urandom(1024 * 1024))
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK_OF_ONE, str(large), str(tmp_path / "signed.mp4"), str(tmp_path / "c2pa")],
        capture_output=True,
        check=True,
        timeout=300,
    )
    grown = int(done.stdout) / 1024
    with capsys.disabled():
        print(f"\n{megabytes} MB: +{grown:.0f} MB at the peak, {time.monotonic() - begun:.1f} s")  # noqa: T201 - the same
    assert grown < 1.5 * megabytes + 32
