"""Networks that stand in for the published ones: right names, shapes, layouts and colours, tiny weights from a seed.

What they say is no face, but it depends on every input, so that a wrong colour order, a wrong crop, a wrong embedding
or a wrong mask shows in the pixels. `python -m tests.facefusion.standins FOLDER` writes one of each.
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.facefusion.enhancers import ENHANCERS, FRAME_ENHANCERS
from gpu_tasks.facefusion.swappers import SWAPPERS, Source, SwapperFacts
from tests.facefusion.graphs import Graph
from tests.facefusion.standin_analysis import write_analysis

# What a swapper makes of red, green and blue, and from left to right.
COLOURS: Final = np.array([0.7, 0.85, 0.95], np.float32)
RAMP: Final = (0.85, 1.0)
SOURCE_SHARE: Final = 0.12
# What an enhancer makes of red, green and blue.
ENHANCED: Final = (np.array([1.1, 1.0, 0.9], np.float32), np.array([0.1, 0.0, -0.1], np.float32))
FIDELITY_SHARE: Final = 0.3
# What a frame enhancer that doubles adds to red, green and blue; one that quadruples adds twice that.
DETAIL: Final = np.array([0.08, 0.0, -0.04], np.float32)


def projection() -> NDArray[np.float32]:
    """(512, 3) float32: the colour that an identity adds."""
    return np.random.default_rng(1).normal(0, 1, (512, 3)).astype(np.float32)


def emap() -> NDArray[np.float32]:
    """(512, 512) float32: the matrix in the file of inswapper."""
    return np.random.default_rng(2).normal(0, 512**-0.5, (512, 512)).astype(np.float32)


def conversion(name: str) -> NDArray[np.float32]:
    """(512, 512) float32: what a converter multiplies with."""
    return np.random.default_rng(len(name)).normal(0, 512**-0.5, (512, 512)).astype(np.float32)


def swapped_by_hand(
    facts: SwapperFacts, source: NDArray[np.float32], target: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the stand-in makes of one (3, size, size) target: numpy alone."""
    ramp = np.linspace(*RAMP, facts.size, dtype=np.float32)
    colour = source.mean((1, 2)) if facts.picture else source @ projection()
    added = SOURCE_SHARE * np.tanh(colour)
    return np.asarray(target * COLOURS[:, None, None] * ramp + added[:, None, None], np.float32)


def write_swapper(path: Path, facts: SwapperFacts, *, has_mask: bool = False) -> None:
    """Write a swapper for one row, as they are published."""
    graph, size = Graph(), facts.size
    ramp = np.linspace(*RAMP, size, dtype=np.float32).reshape(1, 1, 1, size)
    if facts.picture:
        colour = graph.mean("source", [2, 3])
        source: tuple[int, ...] = (1, 3, facts.picture[1], facts.picture[1])
    else:
        colour = graph.node("MatMul", "source", graph.constant(projection()))
        colour = graph.node("Reshape", colour, graph.whole(0, 3, 1, 1))
        source = (1, 512)
    added = graph.node("Mul", graph.node("Tanh", colour), graph.floats(SOURCE_SHARE))
    scaled = graph.node("Mul", "target", graph.constant(COLOURS.reshape(1, 3, 1, 1) * ramp))
    graph.node("Add", scaled, added, name="output")
    outputs: dict[str, tuple[int | str, ...]] = {"output": (1, 3, size, size)}
    if has_mask:
        graph.node("Sigmoid", graph.slice("target", axis=1, start=0, stop=1), name="mask")
        outputs["mask"] = (1, 1, size, size)
    if facts.source is Source.EMAP:
        # A weight of another shape first, then the matrix, last as it is published.
        graph.constant(np.ones((512, 3), np.float32), "another")
        graph.constant(emap(), "emap")
    graph.save(path, {"source": source, "target": (1, 3, size, size)}, outputs)


def write_enhancer(path: Path, size: int, *, is_weighted: bool) -> None:
    """Write a face enhancer: RGB, -1..1."""
    graph = Graph()
    factor, offset = (graph.constant(values.reshape(1, 3, 1, 1)) for values in ENHANCED)
    made = graph.scaled("input", factor, offset)
    inputs: dict[str, tuple[int | str, ...]] = {"input": (1, 3, size, size)}
    if is_weighted:
        share = graph.node("Mul", graph.node("Cast", "weight", to=1), graph.floats(FIDELITY_SHARE))
        made = graph.node("Add", made, share)
        inputs["weight"] = (1,)
    graph.node("Identity", made, name="output")
    graph.save(path, inputs, {"output": (1, 3, size, size)}, doubles=frozenset({"weight"}))


def write_frame_enhancer(path: Path, times: int) -> None:
    """Write a frame enhancer: RGB, 0..1, tiles of any size; what it adds is in the colours."""
    graph = Graph()
    sizes = graph.floats(1, 1, times, times)
    large = graph.node("Resize", "input", "", sizes, mode="nearest")
    graph.node("Add", large, graph.constant((DETAIL * times / 2).reshape(1, 3, 1, 1)), name="output")
    graph.save(path, {"input": (1, 3, "height", "width")}, {"output": (1, 3, "high", "wide")})


def write_converter(path: Path) -> None:
    """Write an embedding's converter."""
    graph = Graph()
    graph.node("MatMul", "input", graph.constant(conversion(path.stem)), name="output")
    graph.save(path, {"input": ("n", 512)}, {"output": ("n", 512)})


def write_standins(folder: Path) -> None:
    """Write every stand-in under the name that the manifest gives it."""
    folder.mkdir(parents=True, exist_ok=True)

    def path(model_id: str) -> Path:
        return folder / manifest().models[model_id].file

    for name, swapper in SWAPPERS.items():
        write_swapper(path(name), swapper, has_mask=name.startswith("hyperswap"))
    for name in ("crossface_ghost", "crossface_simswap", "crossface_hififace"):
        write_converter(path(name))
    for name, enhancer in ENHANCERS.items():
        write_enhancer(path(name), enhancer.size, is_weighted=enhancer.is_weighted)
    for name, times in FRAME_ENHANCERS.items():
        write_frame_enhancer(path(name), times)
    write_analysis(path)


if __name__ == "__main__":
    write_standins(Path(sys.argv[1]))
