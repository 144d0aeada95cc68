"""No file makes the gate open another file or an address."""

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_tasks.contract.gate import MediaKind
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import Examined, examine_audio, examine_video
from gpu_tasks.media.pictures import PictureOrder, look_at_picture
from tests.media.corpus.intruders import Canary, intruders
from tests.media.corpus.making import PLAIN
from tests.media.corpus.specimen import LIMITS, Specimen
from tests.media.gating import answer, verdict

# linux/inotify.h; the descriptor does not block.
_IN_ACCESS, _IN_OPEN, _IN_NONBLOCK = 0x1, 0x20, 0o4000
NAMES = [specimen.name for specimen in intruders(Canary(Path("/nonexistent"), "http://127.0.0.1:9/a.ts"))]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells who opens a file")


class Watch:
    """A server that nobody may call and a file, sound and inviting, that nobody may open."""

    def __init__(self, server: socket.socket, notices: int, canary: Canary) -> None:
        self._server, self._notices, self.canary = server, notices, canary

    def was_called(self) -> bool:
        try:
            self._server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def was_opened(self) -> bool:
        try:
            return bool(os.read(self._notices, 4096))
        except BlockingIOError:
            return False


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    file = tmp_path / "canary.mp4"
    PLAIN(file)
    libc = ctypes.CDLL(None)
    notices = libc.inotify_init1(_IN_NONBLOCK)
    assert libc.inotify_add_watch(notices, os.fsencode(file), _IN_OPEN | _IN_ACCESS) > 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003  # the socket's own signature
        port = server.getsockname()[1]
        yield Watch(server, notices, Canary(file, f"http://127.0.0.1:{port}/segment.ts"))
    os.close(notices)


def made(name: str, watch: Watch, tmp_path: Path) -> tuple[Specimen, Path]:
    specimen = next(specimen for specimen in intruders(watch.canary) if specimen.name == name)
    path = tmp_path / specimen.file_name
    specimen.make(path)
    assert not watch.was_opened()
    return specimen, path


def examine(kind: MediaKind, examined: Examined) -> object:
    """Do in this process what the gate does in a confined one."""
    if kind is MediaKind.PICTURE:
        return look_at_picture(PictureOrder(examined=examined, destination=examined.path.with_suffix(".made")))
    return examine_audio(examined) if kind is MediaKind.AUDIO else examine_video(examined)


@pytest.mark.parametrize("name", NAMES)
def test_an_intruder_is_refused_and_reaches_nothing(tmp_path: Path, watch: Watch, name: str) -> None:
    specimen, path = made(name, watch, tmp_path)
    assert verdict(answer(specimen, path)) == specimen.verdict
    assert (watch.was_called(), watch.was_opened()) == (False, False)


@pytest.mark.parametrize("name", NAMES)
def test_an_intruder_reaches_nothing_without_the_confinement_either(tmp_path: Path, watch: Watch, name: str) -> None:
    specimen, path = made(name, watch, tmp_path)
    with pytest.raises(MediaError):
        examine(specimen.kind, Examined(path=path, limits=LIMITS))
    assert (watch.was_called(), watch.was_opened()) == (False, False)


def test_the_canaries_sing(watch: Watch) -> None:
    assert watch.canary.file.read_bytes()
    assert watch.was_opened()
    port = int(watch.canary.address.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        assert watch.was_called()
