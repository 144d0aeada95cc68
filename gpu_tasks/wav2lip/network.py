"""Wav2Lip's generator: a face and what is heard become the same face saying it.

Layers, sizes and names are those of the published checkpoints (Prajwal et al. 2020), so that they load as they are:
36 320 787 numbers, 3.97 billion multiplications a frame (measured).
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

SIZE: Final = 96


class _Layer(NamedTuple):
    """A convolution from `taken` to `given` channels, with batch normalisation and ReLU."""

    taken: int
    given: int
    kernel: int = 3
    stride: int | tuple[int, int] = 1
    padding: int = 1
    is_residual: bool = False
    is_transposed: bool = False
    # Only of transposed ones: what doubles a size exactly.
    extra: int = 0


def _same(channels: int, times: int) -> tuple[_Layer, ...]:
    return (_Layer(channels, channels, is_residual=True),) * times


def _doubled(taken: int, given: int) -> _Layer:
    return _Layer(taken, given, stride=2, is_transposed=True, extra=1)


_FACE_ENCODER: Final = (
    (_Layer(6, 16, 7, 1, 3),),  # 96 x 96
    (_Layer(16, 32, stride=2), *_same(32, 2)),  # 48
    (_Layer(32, 64, stride=2), *_same(64, 3)),  # 24
    (_Layer(64, 128, stride=2), *_same(128, 2)),  # 12
    (_Layer(128, 256, stride=2), *_same(256, 2)),  # 6
    (_Layer(256, 512, stride=2), *_same(512, 1)),  # 3
    (_Layer(512, 512, padding=0), _Layer(512, 512, 1, padding=0)),  # 1
)
_AUDIO_ENCODER: Final = (
    *(_Layer(1, 32), *_same(32, 2)),  # 80 mels x 16 columns
    *(_Layer(32, 64, stride=(3, 1)), *_same(64, 2)),  # 27 x 16
    *(_Layer(64, 128, stride=3), *_same(128, 2)),  # 9 x 6
    *(_Layer(128, 256, stride=(3, 2)), *_same(256, 1)),  # 3 x 3
    *(_Layer(256, 512, padding=0), _Layer(512, 512, 1, padding=0)),  # 1 x 1
)
# Each takes what the one before gave and, beside it, what the face encoder saw at that size.
_FACE_DECODER: Final = (
    (_Layer(512, 512, 1, padding=0),),  # 1
    (_Layer(1024, 512, padding=0, is_transposed=True), *_same(512, 1)),  # 3
    (_doubled(1024, 512), *_same(512, 2)),  # 6
    (_doubled(768, 384), *_same(384, 2)),  # 12
    (_doubled(512, 256), *_same(256, 2)),  # 24
    (_doubled(320, 128), *_same(128, 2)),  # 48
    (_doubled(160, 64), *_same(64, 2)),  # 96
)
_OUTPUT: Final = _Layer(80, 32)


class Unit(nn.Module):
    """One layer; a residual one adds its input before the ReLU."""

    def __init__(self, layer: _Layer) -> None:
        super().__init__()
        sizes = (layer.taken, layer.given, layer.kernel, layer.stride, layer.padding)
        convolution = (
            nn.ConvTranspose2d(*sizes, output_padding=layer.extra) if layer.is_transposed else nn.Conv2d(*sizes)
        )
        # Without the second part once the normalisation is folded into the first.
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(layer.given))
        self.is_residual = layer.is_residual

    def forward(self, seen: Tensor) -> Tensor:
        made: Tensor = self.conv_block(seen)
        return torch.relu(made + seen if self.is_residual else made)


class Wav2Lip(nn.Module):
    """The generator."""

    def __init__(self) -> None:
        super().__init__()
        self.face_encoder_blocks = nn.ModuleList(_stack(block) for block in _FACE_ENCODER)
        self.audio_encoder = _stack(_AUDIO_ENCODER)
        self.face_decoder_blocks = nn.ModuleList(_stack(block) for block in _FACE_DECODER)
        self.output_block = nn.Sequential(
            Unit(_OUTPUT), nn.Conv2d(_OUTPUT.given, 3, kernel_size=1, stride=1, padding=0), nn.Sigmoid()
        )

    def forward(self, mel: Tensor, face: Tensor) -> Tensor:
        """Return the face saying what is heard.

        Args:
            mel: (n, 1, 80, 16) float, -4..4: the spectrogram of 0.2 s.
            face: (n, 6, 96, 96) float BGR, 0..1: in channels 0 to 2 the face with rows 48 to 95 zeroed, in channels
                3 to 5 the whole face.

        Returns:
            (n, 3, 96, 96) float BGR, 0..1.
        """
        encoded = []
        seen = face
        for block in self.face_encoder_blocks:
            seen = block(seen)
            encoded.append(seen)
        made: Tensor = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            made = torch.cat((block(made), encoded.pop()), dim=1)
        said: Tensor = self.output_block(made)
        return said


def _stack(layers: tuple[_Layer, ...]) -> nn.Sequential:
    return nn.Sequential(*map(Unit, layers))
