"""High dynamic range (HLG, PQ) to the BT.709 picture that everything after the gate works in.

FFmpeg's own tone mapping needs a filter (zscale) that PyAV's wheels do not have. Its three-dimensional tables took half
as long again as what stands here, and were 27 levels off where PQ is steep (both measured).

    signal (BT.2100 HLG or PQ, or BT.709 curve with BT.2020 primaries)
      -> light of the display in cd/m2 -> BT.709 primaries -> one white for both worlds -> soft shoulder -> signal
"""

from enum import IntEnum
from typing import Any, NamedTuple, Self

import av
import cv2
import numpy as np
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
_STEPS = 1 << 16
# Light that a table has to reach: the peak of PQ in saturated colours, which lose most in the smaller gamut.
_BRIGHTEST = _PQ_PEAK * 1.7 / _REFERENCE_WHITE
_TO_709_BGR = np.array(_TO_709[::-1], dtype=np.float32)
_LUMINANCE_ROW = np.array([_LUMINANCE_2020], dtype=np.float32)
_STRIPE_ROWS = 16


class Transfer(IntEnum):
    """Transfer characteristics by H.273 that are not those of an SDR display."""

    PQ = 16
    HLG = 18


# H.273 table 2.
_BT2020_PRIMARIES = 9


class Light(NamedTuple):
    """What decides whether frames have to be tone-mapped; `transfer` is None for the curve of an SDR display."""

    transfer: Transfer | None
    is_wide: bool

    @classmethod
    def of(cls, transfer: int, primaries: int) -> Self:
        """Read it from the codes of H.273."""
        return cls(Transfer(transfer) if transfer in set(Transfer) else None, primaries == _BT2020_PRIMARIES)

    @property
    def is_plain(self) -> bool:
        return self.transfer is None and not self.is_wide


class ToneMapper:
    """Develops frames (see reader.Developer) of one transfer and BT.2020 or BT.709 primaries into BT.709 BGR.

    Does what `mapped` says, to within one level of 255 (more only in black), with every curve as a table over 16 bits.

    Args:
        transfer: The curve of the frames; None is that of SDR, where only the primaries differ.
    """

    def __init__(self, transfer: Transfer | None) -> None:
        self._to_rgb = VideoReformatter()
        self._transfer = transfer
        steps = np.linspace(0.0, 1.0, _STEPS)
        if transfer is Transfer.PQ:
            light = _pq_light(steps) / _REFERENCE_WHITE
        else:
            # What a display makes of HLG depends on all three channels: this table holds the light of the scene.
            light = _hlg_scene(steps) if transfer is Transfer.HLG else steps**_SDR_GAMMA
        self._light = light.astype(np.float32)
        self._system_gain = (_hlg_gain(steps) / _REFERENCE_WHITE).astype(np.float32)
        # Leads from light to its place in the last table at once.
        self._shoulder_places = ((_STEPS - 1) * _shoulder_gain(steps * _BRIGHTEST)).astype(np.float32)
        self._code = np.rint(255 * steps ** (1 / _SDR_GAMMA)).astype(np.uint8)

    def develop(self, frame: av.VideoFrame, /) -> NDArray[np.uint8]:
        matrix = Colorspace.ITU709 if frame.colorspace == int(Colorspace.ITU709) else Colorspace.BT2020
        signal = self._to_rgb.reformat(frame, format="rgb48le", src_colorspace=matrix).to_ndarray()
        developed = np.empty(signal.shape, dtype=np.uint8)
        # What passes between the steps stays in the processor's cache: half the time of whole frames.
        for top in range(0, signal.shape[0], _STRIPE_ROWS):
            stripe = slice(top, top + _STRIPE_ROWS)
            developed[stripe] = self._stripe(signal[stripe])
        return developed

    def _stripe(self, signal: NDArray[Any]) -> NDArray[Any]:
        scene = _array(cv2.LUT(signal, self._light))
        light = _array(cv2.transform(scene, _TO_709_BGR))
        if self._transfer is None:
            return _array(cv2.LUT(_places(light, most=1.0), self._code))
        blue, green, red = cv2.split(light)
        brightest = cv2.max(cv2.max(blue, green), red)
        if self._transfer is Transfer.HLG:
            luminance = _array(cv2.transform(scene, _LUMINANCE_ROW))
            system_gain = _array(cv2.LUT(_places(luminance, most=1.0), self._system_gain))
            gain = cv2.LUT(_places(_array(brightest * system_gain), most=_BRIGHTEST), self._shoulder_places)
            gain = _array(gain * system_gain)
        else:
            gain = _array(cv2.LUT(_places(_array(brightest), most=_BRIGHTEST), self._shoulder_places))
        # Rounds, and stops at both ends of the table.
        places = cv2.multiply(light, cv2.merge([gain, gain, gain]), dtype=cv2.CV_16U)
        return _array(cv2.LUT(_array(places), self._code))


def _array(pixels: Any) -> NDArray[Any]:  # noqa: ANN401  # OpenCV types its results as one of three
    return np.asarray(pixels)


def _places(light: NDArray[Any], *, most: float) -> NDArray[Any]:
    """Return where values lie in a table over 0..most."""
    return _array(cv2.addWeighted(light, (_STEPS - 1) / most, light, 0, 0, dtype=cv2.CV_16U))


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
        light = nits @ _TO_709.T / _REFERENCE_WHITE
        light *= _shoulder_gain(light.max(axis=-1, keepdims=True))
    # What lies outside the smaller gamut is cut: colours of faces lie inside.
    coded: NDArray[np.float64] = np.clip(light, 0.0, 1.0) ** (1 / _SDR_GAMMA)
    return coded


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 (BT.2100 table 4, EOTF)."""
    root = signal ** (1 / _PQ_M2)
    light: NDArray[np.float64] = np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)
    return _PQ_PEAK * light ** (1 / _PQ_M1)


def _hlg_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m2 of the nominal 1000 cd/m2 display (BT.2100 table 5, OOTF)."""
    scene = _hlg_scene(signal)
    return _hlg_gain(scene @ _LUMINANCE_2020)[..., None] * scene


def _hlg_scene(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light of the scene, 0..1 (BT.2100 table 5, inverse OETF)."""
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)  # noqa: PLR2004


def _hlg_gain(luminance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much the display makes a scene of that luminance brighter, in cd/m2."""
    gain: NDArray[np.float64] = _HLG_PEAK * luminance ** (_HLG_SYSTEM_GAMMA - 1)
    return gain


def _shoulder_gain(brightest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor that bends the brightest channel of a colour towards 1; one for all keeps its hue.

    The bend is exponential: its slope is 1 at the knee, and 203 cd/m2 (1.0 here) ends at 0.89, so that what is brighter
    is still told apart.
    """
    room = 1 - _KNEE
    above = np.maximum(brightest, _KNEE)
    return np.where(brightest > _KNEE, (1 - room * np.exp((_KNEE - above) / room)) / above, 1.0)
