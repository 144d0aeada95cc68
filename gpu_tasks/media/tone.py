"""High dynamic range (HLG, PQ) to the BT.709 picture that everything after the gate works in.

The way from one signal to the other depends on the pixel alone. So it is computed once, for a lattice of colours, and
FFmpeg's lut3d filter interpolates between them for every pixel.

    signal (BT.2100 HLG or PQ, or BT.709 curve with BT.2020 primaries)
      -> light of the display in cd/m2 -> BT.709 primaries -> one white for both worlds -> soft shoulder -> signal
"""

from enum import IntEnum
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

# ITU-R BT.2100 table 4 (PQ) and table 5 (HLG).
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK = 10_000.0
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_PEAK, _HLG_SYSTEM_GAMMA = 1000.0, 1.2
_LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593])
# ITU-R BT.2087 annex: BT.2020 to BT.709 primaries, linear light.
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
# ITU-R BT.2408: graphics white of HDR. SDR's white is laid a little above it, to leave room for the shoulder.
_REFERENCE_WHITE = 203.0
# Below the knee light stays as it is; faces are lit at a third to two thirds of white.
_KNEE = 0.7
# BT.1886: what an SDR display does to the signal.
_SDR_GAMMA = 2.4
_LATTICE = 33


class Transfer(IntEnum):
    """Transfer characteristics by H.273 that are not those of an SDR display."""

    PQ = 16
    HLG = 18


class ToneMapper:
    """Develops frames (see reader.Developer) of one transfer and BT.2020 or BT.709 primaries into BT.709 BGR.

    Args:
        transfer: The curve of the frames; None is that of SDR, where only the primaries differ.
        table_path: A file of ours for the lattice; FFmpeg reads it from there.
    """

    def __init__(self, transfer: Transfer | None, *, table_path: Path) -> None:
        self._table_path = table_path
        _write_cube(table_path, transfer)
        self._to_rgb, self._to_bgr = VideoReformatter(), VideoReformatter()
        self._graph: Graph | None = None

    def develop(self, frame: av.VideoFrame, /) -> NDArray[np.uint8]:
        matrix = Colorspace.BT2020 if frame.colorspace != int(Colorspace.ITU709) else Colorspace.ITU709
        signal = self._to_rgb.reformat(frame, format="gbrp12le", src_colorspace=matrix)
        if self._graph is None:
            self._graph = self._prepared(signal)
        signal.pts = None
        self._graph.vpush(signal)
        mapped = self._graph.vpull()
        return np.asarray(self._to_bgr.reformat(mapped, format="bgr24").to_ndarray(), dtype=np.uint8)

    def _prepared(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        table = graph.add("lut3d", file=str(self._table_path), interp="tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(table)
        table.link_to(sink)
        graph.configure()
        return graph


def mapped(signal: NDArray[np.float64], transfer: Transfer | None) -> NDArray[np.float64]:
    """Map colours.

    Args:
        signal: (..., 3) RGB, 0..1, coded with `transfer`, BT.2020 primaries.
        transfer: Its curve; None is BT.709's.

    Returns:
        (..., 3) RGB, 0..1, coded for a BT.709 display (BT.1886).
    """
    if transfer is None:
        light = signal**_SDR_GAMMA @ _TO_709.T
    else:
        nits = _pq_light(signal) if transfer is Transfer.PQ else _hlg_light(signal)
        light = _shouldered(nits @ _TO_709.T / _REFERENCE_WHITE)
    # What lies outside the smaller gamut is cut: colours of faces lie inside.
    coded: NDArray[np.float64] = np.clip(light, 0.0, 1.0) ** (1 / _SDR_GAMMA)
    return coded


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 (BT.2100 table 4, EOTF)."""
    root = signal ** (1 / _PQ_M2)
    light: NDArray[np.float64] = np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)
    return _PQ_PEAK * light ** (1 / _PQ_M1)


def _hlg_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 of the nominal 1000 cd/m2 display (BT.2100 table 5, inverse OETF and OOTF)."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)  # noqa: PLR2004
    luminance = (scene @ _LUMINANCE_2020)[..., None]
    light: NDArray[np.float64] = _HLG_PEAK * luminance ** (_HLG_SYSTEM_GAMMA - 1) * scene
    return light


def _shouldered(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bend light above the knee towards 1, all channels of a colour by one factor so that its hue stays.

    The bend is exponential: its slope is 1 at the knee, and 203 cd/m2 (1.0 here) ends at 0.89, so that what is brighter
    is still told apart.
    """
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
    room = 1 - _KNEE
    bent = np.where(brightest > _KNEE, 1 - room * np.exp((_KNEE - brightest) / room), brightest)
    scaled: NDArray[np.float64] = light * (bent / brightest)
    return scaled


def _write_cube(path: Path, transfer: Transfer | None) -> None:
    """Write the lattice as a .cube file (Adobe's Cube LUT specification 1.0): red changes fastest."""
    steps = np.linspace(0.0, 1.0, _LATTICE)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    table = mapped(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer)
    lines = [f"LUT_3D_SIZE {_LATTICE}", *(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in table)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
