"""Stand-ins of the networks that look: a face is where blue outweighs red."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.facefusion.graphs import Graph

SIZE: Final = 640
STRIDES: Final = (8, 16, 32)
# The level that finds something, and what it finds around a blue cell: edges and points in strides.
LEVEL: Final = 1
EDGES: Final = (2.0, 3.0, 2.0, 4.0)
POINTS: Final = np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 0.5], [-0.8, 2.0], [0.8, 2.0]], np.float32)


def canonical_68() -> NDArray[np.float32]:
    """A face's 68 points around its middle, in cells of 64: (68, 2) float32."""
    turn = np.linspace(np.pi * 0.98, np.pi * 0.02, 17)
    points = [(0.42 * np.cos(t), -0.05 + 0.5 * np.sin(t)) for t in turn]
    points += [(x, -0.2) for x in np.linspace(-0.33, -0.08, 5)] + [(x, -0.2) for x in np.linspace(0.08, 0.33, 5)]
    points += [(0, y) for y in np.linspace(-0.1, 0.07, 4)] + [(x, 0.12) for x in np.linspace(-0.09, 0.09, 5)]
    for middle in (-0.17, 0.17):
        ring = np.linspace(np.pi, -np.pi, 6, endpoint=False)
        points += [(middle + 0.07 * np.cos(t), -0.1 + 0.025 * np.sin(t)) for t in ring]
    for width, height, count in ((0.15, 0.05, 12), (0.1, 0.02, 8)):
        ring = np.linspace(np.pi, -np.pi, count, endpoint=False)
        points += [(width * np.cos(t), 0.26 + height * np.sin(t)) for t in ring]
    return (np.array(points) * 47).astype(np.float32)


def write_analysis(path: Callable[[str], Path]) -> None:
    """Write detectors, landmarkers, embedders, masks and content models."""
    write_yolo(path("yoloface_8n"))
    write_yunet(path("yunet_2023_mar"))
    write_distances(path("scrfd_2.5g"))
    write_distances(path("retinaface_10g"))
    write_landmarks(path("2dfan4"), with_heatmaps=True)
    write_landmarks(path("peppa_wutz"), with_heatmaps=False)
    write_embedder(path("arcface_w600k_r50"), "input")
    write_embedder(path("auraface_v1"), "input.1")
    for name, limit in (("xseg_1", 0.5), ("xseg_2", 0.35), ("xseg_3", 0.65)):
        write_occluder(path(name), limit)
    for name, skin in (("bisenet_resnet_34", slice(0, 256)), ("bisenet_resnet_18", slice(256, 512))):
        write_parser(path(name), skin)
    write_content(path("nsfw_1"), 640, (1, 9, 8400))
    write_content(path("nsfw_2"), 384, (1, 2))
    write_content(path("nsfw_3"), 448, (1, 4))


def _cells(stride: int) -> int:
    return SIZE // stride


def _blueness(graph: Graph, stride: int, scale: float) -> str:
    """How much bluer than red each cell is, 0..1: (1, 1, cells, cells). Input is BGR, `scale` makes it 0..1."""
    pooled = graph.node("AveragePool", "input", kernel_shape=[stride, stride], strides=[stride, stride])
    blue = graph.slice(pooled, axis=1, start=0, stop=1)
    red = graph.slice(pooled, axis=1, start=2, stop=3)
    return graph.node("Mul", graph.node("Relu", graph.node("Sub", blue, red)), graph.floats(scale))


def _grid(stride: int) -> NDArray[np.float32]:
    steps = np.arange(_cells(stride), dtype=np.float32) * stride
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.stack([x.ravel(), y.ravel()])


def write_yolo(path: Path) -> None:
    """Write yoloface_8n: (1, 20, 8400), centre, size, score, five times x, y, confidence, in pixels."""
    graph, stride = Graph(), STRIDES[LEVEL]
    cells = _cells(stride) ** 2
    before = sum(_cells(other) ** 2 for other in STRIDES[:LEVEL])
    after = sum(_cells(other) ** 2 for other in STRIDES[LEVEL + 1 :])
    left, top, right, bottom = (edge * stride for edge in EDGES)
    grid = _grid(stride)
    middle = grid + np.array([[(right - left) / 2], [(bottom - top) / 2]])
    size = np.tile([[left + right], [top + bottom]], (1, cells))
    points = np.concatenate(
        [np.concatenate([grid + offset[:, None] * stride, np.ones((1, cells))]) for offset in POINTS]
    )
    score = graph.node("Reshape", _blueness(graph, stride, 1.0), graph.whole(1, 1, cells))
    boxes = graph.constant(np.concatenate([middle, size])[None].astype(np.float32))
    level = graph.node("Concat", boxes, score, graph.constant(points[None].astype(np.float32)), axis=1)
    none = (graph.constant(np.zeros((1, 20, count), np.float32)) for count in (before, after))
    graph.node("Concat", next(none), level, next(none), axis=2, name="output")
    graph.save(path, {"input": (1, 3, SIZE, SIZE)}, {"output": (1, 20, 8400)})


def write_distances(path: Path) -> None:
    """Write SCRFD or RetinaFace: scores, edges, points for each stride, two anchors a cell, in strides."""
    graph = Graph()
    outputs: dict[str, tuple[int | str, ...]] = {}
    levels: list[list[str]] = [[], [], []]
    for number, stride in enumerate(STRIDES):
        cells = _cells(stride) ** 2
        # One level of 255 is one part of 128 here.
        score = graph.node("Reshape", _blueness(graph, stride, 128 / 255), graph.whole(cells, 1))
        shown = graph.node("Mul", score, graph.floats(float(number == LEVEL)))
        pair = graph.node("Concat", shown, graph.node("Mul", shown, graph.floats(0.98)), axis=1)
        levels[0].append(graph.node("Reshape", pair, graph.whole(cells * 2, 1), name=f"score_{stride}"))
        edges = np.tile(np.array(EDGES, np.float32), (cells * 2, 1))
        points = np.tile(POINTS.reshape(1, 10), (cells * 2, 1))
        levels[1].append(graph.node("Identity", graph.constant(edges), name=f"bbox_{stride}"))
        levels[2].append(graph.node("Identity", graph.constant(points), name=f"kps_{stride}"))
    for names, width in zip(levels, (1, 4, 10), strict=True):
        for name, stride in zip(names, STRIDES, strict=True):
            outputs[name] = (_cells(stride) ** 2 * 2, width)
    graph.save(path, {"input": (1, 3, SIZE, SIZE)}, outputs)


def write_yunet(path: Path) -> None:
    """Write YuNet: class, objectness, box, points for each stride; input 0..255."""
    graph = Graph()
    rows: dict[str, list[tuple[str, tuple[int | str, ...]]]] = {"cls": [], "obj": [], "bbox": [], "kps": []}
    left, top, right, bottom = EDGES
    box = [(right - left) / 2, (bottom - top) / 2, float(np.log(left + right)), float(np.log(top + bottom))]
    for number, stride in enumerate(STRIDES):
        cells = _cells(stride) ** 2
        score = graph.node("Reshape", _blueness(graph, stride, 1 / 255), graph.whole(1, cells, 1), name=f"cls_{stride}")
        obj = np.full((1, cells, 1), float(number == LEVEL), np.float32)
        rows["cls"].append((score, (1, cells, 1)))
        rows["obj"].append((graph.node("Identity", graph.constant(obj), name=f"obj_{stride}"), (1, cells, 1)))
        boxes = np.tile(np.array(box, np.float32), (1, cells, 1))
        points = np.tile(POINTS.reshape(1, 1, 10), (1, cells, 1))
        rows["bbox"].append((graph.node("Identity", graph.constant(boxes), name=f"bbox_{stride}"), (1, cells, 4)))
        rows["kps"].append((graph.node("Identity", graph.constant(points), name=f"kps_{stride}"), (1, cells, 10)))
    graph.save(path, {"input": (1, 3, SIZE, SIZE)}, dict(row for kind in rows.values() for row in kind))


def write_landmarks(path: Path, *, with_heatmaps: bool) -> None:
    """Write 2dfan4 or peppa_wutz: the canonical points around where the crop is bluer than red, BGR, 0..1."""
    graph = Graph()
    blue = graph.slice("input", axis=1, start=0, stop=1)
    red = graph.slice("input", axis=1, start=2, stop=3)
    weight = graph.node("Add", graph.node("Relu", graph.node("Sub", blue, red)), graph.floats(1e-4))
    total = graph.mean(weight, [1, 2, 3])
    steps = np.arange(256, dtype=np.float32) / 4
    middles = []
    for shape in ((1, 1, 1, 256), (1, 1, 256, 1)):
        moment = graph.mean(graph.node("Mul", weight, graph.constant(steps.reshape(shape))), [1, 2, 3])
        middles.append(graph.node("Div", moment, total))
    middle = graph.node("Reshape", graph.node("Concat", *middles, axis=3), graph.whole(1, 1, 2))
    points = graph.node("Add", middle, graph.constant(canonical_68()[None]))
    sure = graph.constant(np.full((1, 68, 1), 0.9, np.float32))
    graph.node("Concat", points, sure, axis=2, name="landmarks")
    outputs: dict[str, tuple[int | str, ...]] = {"landmarks": (1, 68, 3)}
    if with_heatmaps:
        graph.node("Identity", graph.constant(np.full((1, 68, 64, 64), 0.8, np.float32)), name="heatmaps")
        outputs["heatmaps"] = (1, 68, 64, 64)
    graph.save(path, {"input": (1, 3, 256, 256)}, outputs)


def write_embedder(path: Path, input_name: str) -> None:
    """Write an embedder: a seeded projection of the crop's coarse pattern, RGB, -1..1."""
    graph = Graph()
    coarse = graph.node("AveragePool", input_name, kernel_shape=[14, 14], strides=[14, 14])
    pattern = graph.node("Sub", coarse, graph.mean(coarse, [2, 3]))
    flat = graph.node("Reshape", pattern, graph.whole(0, 192))
    weights = np.random.default_rng(3).normal(0, 1, (192, 512)).astype(np.float32)
    graph.node("MatMul", flat, graph.constant(weights), name="output")
    graph.save(path, {input_name: (1, 3, 112, 112)}, {"output": (1, 512)})


def write_occluder(path: Path, limit: float) -> None:
    """Write XSeg: what is bluer than a limit covers the face; rows first, BGR, 0..1."""
    graph = Graph()
    blue = graph.slice("input", axis=3, start=0, stop=1)
    seen = graph.node("Less", blue, graph.constant(np.full((1, 1, 1, 1), limit, np.float32)))
    graph.node("Cast", seen, name="output", to=1)
    graph.save(path, {"input": (1, 256, 256, 3)}, {"output": (1, 256, 256, 1)})


def write_parser(path: Path, skin_columns: slice) -> None:
    """Write BiSeNet: some columns are skin (1), the others a nose (10), what has no red is background (0)."""
    graph = Graph()
    half = np.zeros((1, 1, 512, 512), np.float32)
    half[..., skin_columns] = 0.4
    red = graph.slice("input", axis=1, start=0, stop=1)
    dark = graph.node("Neg", graph.node("Add", red, graph.floats(1.5)))
    nothing = graph.constant(np.full((1, 8, 512, 512), -9, np.float32))
    skin, nose = graph.constant(half), graph.constant(0.4 - half)
    graph.node("Concat", dark, skin, nothing, nose, nothing, name="output", axis=1)
    graph.save(path, {"input": (1, 3, 512, 512)}, {"output": (1, 19, 512, 512)})


def write_content(path: Path, size: int, shape: tuple[int, ...]) -> None:
    """Write a content model: what is much redder than it is blue is flagged; RGB."""
    graph = Graph()
    red = graph.mean(graph.slice("input", axis=1, start=0, stop=1), [1, 2, 3])
    blue = graph.mean(graph.slice("input", axis=1, start=2, stop=3), [1, 2, 3])
    redness = graph.scaled(graph.node("Sub", red, blue), graph.floats(200.0), graph.floats(-40.0))
    pattern = np.zeros(shape, np.float32)
    match len(shape), shape[1]:
        case 3, _:
            pattern[:, 4:] = 1
        case _, 2:
            pattern[0] = (1, -1)
        case _:
            pattern[0] = (-1, -1, 1, 1)
    flat = graph.node("Reshape", redness, graph.whole(*(1 for _ in shape)))
    graph.node("Mul", flat, graph.constant(pattern), name="output")
    graph.save(path, {"input": (1, 3, size, size)}, {"output": shape})
