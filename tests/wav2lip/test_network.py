"""The network is the published one, number for number, however it is stored."""

import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.wav2lip.checkpoint import load_network
from gpu_tasks.wav2lip.export import export
from gpu_tasks.wav2lip.network import Wav2Lip
from tests.wav2lip import by_hand
from tests.wav2lip.standins import seeded_network

MEL = np.random.default_rng(1).uniform(-4, 4, (2, 1, 80, 16)).astype(np.float32)
FACE = np.random.default_rng(2).uniform(0, 1, (2, 6, 96, 96)).astype(np.float32)


def spoken(network: Wav2Lip) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(MEL), torch.from_numpy(FACE)).numpy(), np.float32)


@pytest.fixture(scope="module")
def by_torch() -> NDArray[np.float32]:
    return spoken(seeded_network())


@pytest.fixture(scope="module")
def computed() -> NDArray[np.float64]:
    state = {key: value.numpy().astype(np.float64) for key, value in seeded_network().state_dict().items()}
    frames = [by_hand.said(state, *pair) for pair in zip(MEL.astype(np.float64), FACE.astype(np.float64), strict=True)]
    return np.stack(frames)


def test_it_has_the_names_and_shapes_of_the_published_checkpoints() -> None:
    state = Wav2Lip().state_dict()
    numbers = sum(value.numel() for key, value in state.items() if not key.endswith("num_batches_tracked"))
    assert numbers == 36_320_787
    assert len(state) == 50 * 7 + 2
    assert state["face_encoder_blocks.0.0.conv_block.0.weight"].shape == (16, 6, 7, 7)
    assert state["face_encoder_blocks.6.1.conv_block.1.running_var"].shape == (512,)
    assert state["audio_encoder.12.conv_block.0.weight"].shape == (512, 512, 1, 1)
    assert state["face_decoder_blocks.3.0.conv_block.0.weight"].shape == (768, 384, 3, 3)
    assert state["output_block.0.conv_block.0.weight"].shape == (32, 80, 3, 3)
    assert state["output_block.1.weight"].shape == (3, 32, 1, 1)


def test_it_computes_what_its_table_says(by_torch: NDArray[np.float32], computed: NDArray[np.float64]) -> None:
    assert np.abs(by_torch - computed).max() < 1e-5
    with torch.inference_mode():
        exact = seeded_network().double()(torch.from_numpy(MEL).double(), torch.from_numpy(FACE).double()).numpy()
    assert np.abs(exact - computed).max() < 1e-12
    # A network that says the same whatever it is given would pass as well.
    assert computed.std() > 0.1
    assert np.abs(computed[0] - computed[1]).mean() > 0.02


def test_a_loaded_checkpoint_computes_the_same_without_normalisation(
    checkpoint: Path, computed: NDArray[np.float64]
) -> None:
    network = load_network(checkpoint, "seeded")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert np.abs(spoken(network) - computed).max() < 1e-5


def test_both_of_its_inputs_count(by_torch: NDArray[np.float32]) -> None:
    network = seeded_network()
    with torch.inference_mode():
        mute = network(torch.full((2, 1, 80, 16), -4.0), torch.from_numpy(FACE)).numpy()
        swapped = network(torch.from_numpy(MEL), torch.from_numpy(FACE[:, ::-1].copy())).numpy()
    assert np.abs(mute - by_torch).mean() > 0.01
    assert np.abs(swapped - by_torch).mean() > 0.01


def test_safetensors_hold_the_same_network_in_less_room(
    checkpoint: Path, computed: NDArray[np.float64], tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 146e6
    assert np.abs(spoken(load_network(tmp_path / "small.safetensors", "small")) - computed).max() < 1e-5


def test_its_onnx_file_computes_the_same_for_any_number_of_frames(
    checkpoint: Path, computed: NDArray[np.float64], tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (both,) = session.run(["output"], {"source": MEL, "target": FACE})
    (one,) = session.run(["output"], {"source": MEL[1:], "target": FACE[1:]})
    assert np.abs(both - computed).max() < 1e-5
    assert np.abs(one - computed[1:]).max() < 1e-5


def test_it_is_exported_as_what_the_name_says_or_not_at_all(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither"):
        export(checkpoint, tmp_path / "network.pth")
    assert list(tmp_path.iterdir()) == []


class _Code:
    """What a pickle must never be allowed to run."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_a_truncated_checkpoint_is_named(checkpoint: Path, tmp_path: Path, size: int) -> None:
    (tmp_path / "cut.pth").write_bytes(checkpoint.read_bytes()[:size])
    assert "cut off" in _refusal(tmp_path / "cut.pth")


def test_a_truncated_safetensors_file_is_named(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-1000])
    assert "cut off" in _refusal(tmp_path / "cut.safetensors")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": _Code()}, tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(_Code(), protocol=2))
    for name in ("evil.pth", "bare.pth"):
        _refusal(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"state_dict": {"module.strange": torch.zeros(1)}}, "lacks"),
        ({"state_dict": 7}, "no state"),
        ([1, 2], "no state"),
        ({"output_block.1.bias": torch.zeros(4)}, "lacks"),
    ],
    ids=["names", "number", "list", "few"],
)
def test_another_networks_checkpoint_is_named(tmp_path: Path, content: object, says: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert says in _refusal(tmp_path / "other.pth")


def test_a_layer_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    state = seeded_network().state_dict()
    state["output_block.1.bias"] = torch.zeros(4)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    assert "output_block.1.bias is (4,), not (3,)" in _refusal(tmp_path / "other.pth")


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    state = seeded_network().state_dict()
    state["output_block.1.bias"] = torch.tensor([0.0, float("nan"), 0.0])
    torch.save({"state_dict": state}, tmp_path / "nan.pth")
    assert "output_block.1.bias holds what is no number" in _refusal(tmp_path / "nan.pth")


def _refusal(path: Path) -> str:
    with pytest.raises(FaultError) as caught:
        load_network(path, "wav2lip_gan")
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT
    assert not caught.value.fault.is_retryable
    assert "wav2lip_gan" in caught.value.fault.detail
    return caught.value.fault.detail
