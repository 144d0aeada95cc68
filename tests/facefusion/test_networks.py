"""Every network of the table, against what its stand-in makes by numpy alone."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.facefusion.boosting import interleaved, together
from gpu_tasks.facefusion.embedding import Converter, Embedder, Identity, distance, unit
from gpu_tasks.facefusion.enhancers import ENHANCERS, FRAME_ENHANCERS, FaceEnhancer, FrameEnhancer
from gpu_tasks.facefusion.geometry import TEMPLATES, Template
from gpu_tasks.facefusion.swappers import SWAPPERS, Source, Swapper, SwapperFacts
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.devices import Devices, tensorrt_options
from gpu_tasks.runtime.onnx_file import NotOnnxError, matrix_of, with_free_batch
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.weights import WeightStore
from tests.facefusion.graphs import Graph, Shape
from tests.facefusion.standins import DETAIL, ENHANCED, FIDELITY_SHARE, conversion, emap, swapped_by_hand

RANDOM = np.random.default_rng(5)


def net(weights: WeightStore, devices: Devices, name: str) -> OnnxNetwork:
    return OnnxNetwork(weights.path(name), name, devices)


def sizes(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(map(int, shape))


def swapper(weights: WeightStore, devices: Devices, name: str, size: int = 0) -> Swapper:
    facts = SWAPPERS[name]
    converter = Converter(net(weights, devices, facts.converter)) if facts.converter else None
    matrix = matrix_of(weights.path(name), (512, 512)) if facts.source is Source.EMAP else None
    return Swapper(net(weights, devices, name), facts, converter=converter, emap=matrix, size=size)


def somebody(points_5: Floats | None = None) -> Identity:
    picture = np.asarray(cv2.GaussianBlur(RANDOM.integers(0, 256, (300, 260, 3), np.uint8), (0, 0), 4), np.uint8)
    placed = TEMPLATES[Template.FFHQ_512] * 256 if points_5 is None else points_5
    return Identity(RANDOM.normal(0, 2, 512).astype(np.float32), picture, placed.astype(np.float32))


def source_by_hand(facts: SwapperFacts, identity: Identity) -> NDArray[np.float32]:
    raw = identity.embedding
    match facts.source:
        case Source.UNIT:
            return raw / np.linalg.norm(raw)
        case Source.EMAP:
            return raw @ emap() / np.linalg.norm(raw)
        case Source.CONVERTED:
            return raw @ conversion(facts.converter or "")
        case Source.CONVERTED_UNIT:
            made = raw @ conversion(facts.converter or "")
            return made / np.linalg.norm(made)
        case Source.PICTURE:
            template, side = facts.picture or (Template.FFHQ_512, 0)
            whole, _ = cv2.estimateAffinePartial2D(
                identity.points_5, TEMPLATES[template] * side, method=cv2.RANSAC, ransacReprojThreshold=100
            )
            crop = cv2.warpAffine(
                identity.portrait, whole, (side, side), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_AREA
            )
            return (crop[:, :, ::-1].transpose(2, 0, 1) / 255).astype(np.float32)


def crop_by_hand(facts: SwapperFacts, source: NDArray[np.float32], crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The documented steps: RGB, normalised, through the network, restored where it is said, cut to 0..1, BGR."""
    target = ((crop[:, :, ::-1] / 255 - facts.mean) / facts.std).transpose(2, 0, 1).astype(np.float32)
    made = swapped_by_hand(facts, source, target).transpose(1, 2, 0).astype(np.float64)
    if facts.is_restored:
        made = made * facts.std + facts.mean
    return np.clip(made, 0, 1)[:, :, ::-1] * 255


@pytest.mark.parametrize("name", sorted(SWAPPERS))
def test_a_swapper_sees_and_gives_what_its_facts_say(name: str, weights: WeightStore, devices: Devices) -> None:
    facts, identity = SWAPPERS[name], somebody()
    loaded = swapper(weights, devices, name)
    loaded.prove()
    crops = RANDOM.integers(0, 256, (3, facts.size, facts.size, 3), np.uint8)
    source = loaded.source_of(identity, None, 0.5)
    assert np.abs(source - source_by_hand(facts, identity)).mean() < 2e-3
    made = loaded.swap(np.stack([source] * 3), crops)
    for crop, after in zip(crops, made, strict=True):
        by_hand = crop_by_hand(facts, source_by_hand(facts, identity), crop)
        assert np.abs(after - by_hand).mean() < 0.8
        # The colours in another order would show.
        assert np.abs(after - by_hand[:, :, ::-1]).mean() > 10


def test_the_table_holds_every_swapper_and_enhancer_of_the_manifest() -> None:
    known = {
        role: {name for name, entry in manifest().models.items() if entry.role == role}
        for role in ("face_swapper", "face_enhancer", "frame_enhancer")
    }
    assert set(SWAPPERS) == known["face_swapper"]
    assert set(ENHANCERS) == known["face_enhancer"]
    assert set(FRAME_ENHANCERS) == known["frame_enhancer"]


def test_the_converter_of_a_swapper_is_one_of_its_needs() -> None:
    for name, facts in SWAPPERS.items():
        needs = set(manifest().entry(name).needs)
        assert facts.converter is None or facts.converter in needs
        assert (facts.source is not Source.PICTURE) == ("arcface_w600k_r50" in needs)


@pytest.mark.parametrize(("name", "size"), [("inswapper_128", 512), ("hyperswap_1a_256", 512)])
def test_boosted_pixels_are_swapped_part_by_part(name: str, size: int, weights: WeightStore, devices: Devices) -> None:
    facts = SWAPPERS[name]
    loaded, plain = swapper(weights, devices, name, size), swapper(weights, devices, name)
    crops = RANDOM.integers(0, 256, (2, size, size, 3), np.uint8)
    source = loaded.source_of(somebody(), None, 0.5)
    boosted = loaded.swap(np.stack([source, source]), crops)
    times = size // facts.size
    for crop, after in zip(crops, boosted, strict=True):
        parts = interleaved(crop, times)
        assert np.array_equal(after, together(plain.swap(np.stack([source] * times**2), parts)))


def test_the_weight_mixes_the_target_in_or_takes_it_off(weights: WeightStore, devices: Devices) -> None:
    loaded = swapper(weights, devices, "hyperswap_1a_256")
    identity, target = somebody(), RANDOM.normal(0, 3, 512).astype(np.float32)
    own, other = unit(identity.embedding), unit(target)
    for weight, share in ((0.0, 0.35), (0.25, 0.175), (0.5, 0.0), (1.0, -0.35)):
        assert np.allclose(loaded.source_of(identity, target, weight), own * (1 - share) + other * share, atol=1e-6)


def test_the_matrix_of_an_identity_is_found_by_its_shape_and_is_the_last_of_it(tmp_path: Path) -> None:
    half, whole = RANDOM.random((2, 512, 512)).astype(np.float32)
    weights = [
        onnx.numpy_helper.from_array(half, "first"),
        onnx.numpy_helper.from_array(np.ones((512, 256), np.float32), "another"),
        onnx.numpy_helper.from_array(whole.astype(np.float16), "emap"),
        onnx.numpy_helper.from_array(np.ones(7, np.int64), "last"),
    ]
    floats = onnx.helper.make_tensor("typed", onnx.TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, 4.0])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", value[:1], value[1:], [*weights, floats])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    found = matrix_of(tmp_path / "model.onnx", (512, 512))
    assert found is not None
    assert np.array_equal(found, whole.astype(np.float16).astype(np.float32))
    typed = matrix_of(tmp_path / "model.onnx", (2, 2))
    assert typed is not None
    assert typed.tolist() == [[1, 2], [3, 4]]
    assert matrix_of(tmp_path / "model.onnx", (3, 3)) is None


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x3a\xff\xff\xff\x7f"])
def test_what_is_no_model_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(NotOnnxError):
        matrix_of(tmp_path / "model.onnx", (2, 2))


@pytest.mark.parametrize("name", ["hyperswap_1a_256", "gfpgan_1.4", "simswap_256"])
def test_a_network_for_one_row_takes_several_and_says_the_same(name: str, weights: WeightStore) -> None:
    path = weights.path(name)
    one, many = (OnnxNetwork(path, name, Devices(threads=1, free_batch=free)) for free in (False, True))
    assert (one.most_rows, many.most_rows) == (1, 4)
    feed = {key: RANDOM.random((5, *sizes(shape)[1:]), np.float32) for key, shape in one.shapes.items()}
    together_ = many.run(feed)[0]
    apart = [one.run({key: values[[row]] for key, values in feed.items()})[0][0] for row in range(5)]
    assert np.abs(together_ - np.stack(apart)).max() < 1e-5


def test_a_network_that_cannot_take_several_rows_is_left_as_it_is(tmp_path: Path, weights: WeightStore) -> None:
    # Its first size stands in the graph itself.
    shape = onnx.numpy_helper.from_array(np.array([1, 12], np.int64), "shape")
    node = onnx.helper.make_node("Reshape", ["input", "shape"], ["output"])
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        for name, sizes in (("input", [1, 3, 2, 2]), ("output", [1, 12]))
    ]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [shape])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "fixed.onnx")
    fixed = OnnxNetwork(tmp_path / "fixed.onnx", "fixed", Devices(threads=1, free_batch=True))
    assert fixed.most_rows == 1
    assert fixed.run({"input": np.ones((1, 3, 2, 2), np.float32)})[0].shape == (1, 12)
    # One for frames of any size stays as well.
    tiles = OnnxNetwork(weights.path("real_esrgan_x2"), "real_esrgan_x2", Devices(threads=1, free_batch=True))
    assert tiles.most_rows == 1
    assert tiles.run({"input": np.ones((1, 3, 20, 30), np.float32)})[0].shape == (1, 3, 40, 60)
    # And one that takes a second input of another kind.
    codeformer = OnnxNetwork(weights.path("codeformer"), "codeformer", Devices(threads=1, free_batch=True))
    assert codeformer.most_rows == 1
    onnx.checker.check_model(onnx.load_from_string(with_free_batch(tmp_path / "fixed.onnx", frozenset({"input"}))))


def test_bound_buffers_give_what_a_plain_run_gives(weights: WeightStore, devices: Devices) -> None:
    network = net(weights, devices, "hyperswap_1a_256")
    feed = {key: RANDOM.random(sizes(shape), np.float32) for key, shape in network.shapes.items()}
    bound = network._bound(feed)
    assert all(map(np.array_equal, bound, network.run(feed)))


def test_tensorrt_is_asked_for_only_where_its_engines_can_be_kept(tmp_path: Path) -> None:
    assert Devices(threads=1).providers()[-1] == "CPUExecutionProvider"
    assert Devices(threads=1, wanted=("cpu",), engine_cache=tmp_path).providers() == ["CPUExecutionProvider"]
    options = tensorrt_options(tmp_path, half_precision=True)
    assert options["trt_engine_cache_enable"]
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_fp16_enable"]


@pytest.mark.parametrize("name", sorted(set(ENHANCERS) - {"gpen_bfr_1024", "gpen_bfr_2048"}))
def test_an_enhancer_sees_and_gives_what_its_facts_say(name: str, weights: WeightStore, devices: Devices) -> None:
    facts = ENHANCERS[name]
    enhancer = FaceEnhancer(net(weights, devices, name), facts, weight=0.75)
    enhancer.prove()
    crop = RANDOM.integers(0, 256, (1, facts.size, facts.size, 3), np.uint8)
    seen = crop[0, :, :, ::-1] / 255 * 2 - 1
    made = seen * ENHANCED[0] + ENHANCED[1] + (FIDELITY_SHARE * 0.75 if facts.is_weighted else 0)
    by_hand = (np.clip(made, -1, 1) + 1) * 127.5
    assert np.abs(enhancer.enhance(crop)[0] - by_hand[:, :, ::-1]).mean() < 0.5


@pytest.mark.parametrize("size", [1024, 2048])
def test_large_enhancers_take_large_crops(size: int, weights: WeightStore, devices: Devices) -> None:
    name = f"gpen_bfr_{size}"
    enhancer = FaceEnhancer(net(weights, devices, name), ENHANCERS[name])
    assert enhancer.enhance(np.zeros((1, size, size, 3), np.uint8)).shape == (1, size, size, 3)


@pytest.mark.parametrize("name", sorted(FRAME_ENHANCERS))
@pytest.mark.parametrize("shape", [(90, 130), (250, 500)])
def test_a_frame_keeps_its_size_and_has_no_seams(
    name: str, shape: tuple[int, int], weights: WeightStore, devices: Devices
) -> None:
    frame = RANDOM.integers(50, 150, (*shape, 3), np.uint8)
    made = FrameEnhancer(net(weights, devices, name), FRAME_ENHANCERS[name], 0.5).enhance(frame)
    # The stand-in repeats pixels and adds to the colours: halved, that is the frame and half of what was added.
    by_hand = np.clip(frame + 0.5 * 255 * DETAIL[::-1] * FRAME_ENHANCERS[name] / 2, 0, 255)
    assert np.abs(made - by_hand).max() <= 1.01


def test_an_embedding_says_who_it_is_in_any_colour_order_but_the_wrong_one(
    weights: WeightStore, devices: Devices
) -> None:
    embedder = Embedder(net(weights, devices, "arcface_w600k_r50"))
    one, other = somebody(), somebody()
    same = embedder.embedding(one.portrait, one.points_5)
    moved = np.asarray(cv2.copyMakeBorder(one.portrait, 40, 0, 25, 0, cv2.BORDER_REPLICATE), np.uint8)
    assert distance(same, embedder.embedding(moved, one.points_5 + np.array([25, 40], np.float32))) < 1e-4
    assert distance(same, embedder.embedding(other.portrait, other.points_5)) > 0.3
    swapped_colours = np.ascontiguousarray(one.portrait[:, :, ::-1])
    assert distance(same, embedder.embedding(swapped_colours, one.points_5)) > 0.1


@pytest.mark.parametrize(
    ("name", "as_if"),
    [("gfpgan_1.4", "hyperswap_1a_256"), ("uniface_256", "hyperswap_1a_256"), ("simswap_256", "inswapper_128")],
)
def test_another_network_in_a_swappers_place_is_corrupt(
    name: str, as_if: str, weights: WeightStore, devices: Devices
) -> None:
    with pytest.raises(FaultError, match=name) as caught:
        Swapper(net(weights, devices, name), SWAPPERS[as_if], converter=None, emap=None)
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT


def test_a_file_that_is_no_network_is_corrupt(tmp_path: Path, devices: Devices) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x09\x12")
    with pytest.raises(FaultError, match="cut off") as caught:
        OnnxNetwork(tmp_path / "cut.onnx", "cut", devices)
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT


def test_memory_that_is_not_there_at_one_row_is_a_fault(tmp_path: Path, devices: Devices) -> None:
    # What it makes of a crop on the way takes a petabyte: more than any address space, whatever the kernel promises.
    graph = Graph()
    row = graph.mean("target", [1, 2, 3])
    huge = graph.node("Expand", row, graph.whole(1, 1, 1 << 24, 1 << 24))
    tall = graph.node("Mul", huge, huge)
    small = graph.mean(tall, [1, 2, 3])
    graph.node("Add", graph.node("Add", "target", small), graph.node("ReduceMean", "source"), name="output")
    shapes: dict[str, Shape] = {"source": (1, 512), "target": (1, 3, 256, 256)}
    graph.save(tmp_path / "huge.onnx", shapes, {"output": (1, 3, 256, 256)})
    network = OnnxNetwork(tmp_path / "huge.onnx", "huge", devices)
    loaded = Swapper(network, SWAPPERS["hyperswap_1a_256"], converter=None, emap=None)
    with pytest.raises(FaultError) as caught:
        loaded.swap(np.zeros((1, 512), np.float32), np.zeros((1, 256, 256, 3), np.uint8))
    assert caught.value.fault.code is FaultCode.OUT_OF_MEMORY
    assert caught.value.fault.is_retryable
