"""The extra samples: harder targets than the bundled one, made from it on the spot."""

from collections.abc import Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np

from deployments.samples import recipes
from deployments.samples.recipes import Originals, Recipe
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter


class Sample(StrEnum):
    """The extra samples, by what is hard about them."""

    PORTRAIT = "portrait"
    TWO_FACES = "two_faces"
    GAP = "gap"
    PROFILE = "profile"
    MINUTE = "minute"
    UHD = "uhd"
    LOW_LIGHT = "low_light"


class _Made(NamedTuple):
    """How a sample is made and what it is, in words; `turn` is the counter-clockwise turn its file is tagged with."""

    recipe: Recipe
    text: str
    turn: int = 0


_MADE: Final[dict[Sample, _Made]] = {
    Sample.PORTRAIT: _Made(recipes.portrait, "a portrait stored lying on its side, with a rotation flag", turn=90),
    Sample.TWO_FACES: _Made(recipes.two_faces, "the driver, and the source's portrait gently swaying beside him"),
    Sample.GAP: _Made(recipes.gap, "a second without a face in the middle"),
    Sample.PROFILE: _Made(recipes.profile, "a head turning to profile and back: calculated from its mesh, not filmed"),
    Sample.MINUTE: _Made(recipes.minute, "sixty seconds, there and back again"),
    Sample.UHD: _Made(recipes.uhd, "3840x2160, two seconds, enlarged"),
    Sample.LOW_LIGHT: _Made(recipes.low_light, "little light, much noise"),
}


def describe(sample: Sample) -> str:
    """Say in a few words what a sample is."""
    return _MADE[sample].text


def make_samples(destination: Path, originals: Path, samples: Sequence[Sample] = tuple(Sample)) -> tuple[Path, ...]:
    """Write extra samples to a folder.

    Args:
        destination: Folder for `{sample}.mp4`; made when it is not there.
        originals: Folder with the bundled samples.
        samples: Which ones.

    Returns:
        The files, in the order of `samples`.

    Raises:
        MediaError: As VideoReader and VideoWriter raise.
    """
    destination.mkdir(parents=True, exist_ok=True)
    return tuple(make_sample(sample, destination / f"{sample}.mp4", originals) for sample in samples)


def make_sample(sample: Sample, path: Path, originals: Path, *, first: int = 0, stop: int | None = None) -> Path:
    """Write frames `first` to `stop` of one sample (all of them without bounds) and return its path.

    Raises:
        MediaError: As VideoReader and VideoWriter raise.
    """
    made, bundled = _MADE[sample], Originals.of(originals)
    with VideoReader(bundled.target) as reader:
        fps = reader.info.fps
    frames = (_lying(frame, made.turn) for frame in islice(made.recipe(bundled), first, stop))
    start = next(frames)
    upright = path if not made.turn else path.with_suffix(".lying.mp4")
    with VideoWriter(upright, width=start.shape[1], height=start.shape[0], fps=fps) as writer:
        writer.write(start)
        for frame in frames:
            writer.write(frame)
    if made.turn:
        _tag(upright, path, made.turn)
        upright.unlink()
    return path


def _lying(frame: Frame, turn: int) -> Frame:
    """Turn a frame so that a player who follows the flag shows it upright."""
    return np.ascontiguousarray(np.rot90(frame, -turn // 90))


def _tag(path: Path, tagged: Path, turn: int) -> None:
    """Copy a video's packets into a file that is tagged with a turn."""
    with av.open(str(path)) as source, av.open(str(tagged), "w", format="mp4") as output:
        picture = source.streams.video[0]
        stream = output.add_stream_from_template(picture)
        stream.set_display_rotation(turn)
        for packet in source.demux(picture):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
