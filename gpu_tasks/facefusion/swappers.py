"""Swappers behind one interface. What differs between them stands in a table, not in branches.

Sizes, colours, templates and embeddings are those of the published files (FaceFusion 3.8's use of them); no fact of a
model in the table is a guess, and a model that is not in it is refused by its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.facefusion.boosting import interleaved, together
from gpu_tasks.facefusion.embedding import EMBEDDING_SIZE, Converter, Identity, unit
from gpu_tasks.facefusion.geometry import Template, affine_to
from gpu_tasks.facefusion.pasting import cut
from gpu_tasks.facefusion.tensors import Colour, crops_of, tensor_of
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.sessions import OnnxNetwork

_MOST_BOOST_PX: Final = 1024
# Of the target's embedding in the mix at weight 0; at weight 1 the same is taken off.
_MOST_TARGET: Final = 0.35


class Source(StrEnum):
    """What a swapper takes as the source."""

    UNIT = "unit"  # the embedding at length 1
    EMAP = "emap"  # the embedding through the matrix in the swapper's file
    CONVERTED = "converted"  # the embedding in the swapper's own space
    CONVERTED_UNIT = "converted_unit"  # the same at length 1
    PICTURE = "picture"  # an aligned picture


@dataclass(frozen=True, slots=True)
class SwapperFacts:
    """What is known of a swapper. All take RGB crops in planes and give one of the same size.

    Attributes:
        size: Of the crop's side, pixels.
        template: How the crop lies.
        mean: What is taken off each colour, 0..1.
        std: What each colour is then divided by.
        is_restored: Whether mean and std are undone on the output; else it is 0..1.
        source: What it takes as the source.
        converter: The model that converts the embedding.
        picture: Template and side of the source's picture.
    """

    size: int
    template: Template
    mean: Colour
    std: Colour
    is_restored: bool
    source: Source
    converter: str | None = None
    picture: tuple[Template, int] | None = None


_ZEROS: Final = (0.0, 0.0, 0.0)
_ONES: Final = (1.0, 1.0, 1.0)
_HALF: Final = (0.5, 0.5, 0.5)
_INSWAPPER: Final = SwapperFacts(128, Template.ARCFACE_128, _ZEROS, _ONES, is_restored=False, source=Source.EMAP)
_HYPERSWAP: Final = SwapperFacts(256, Template.ARCFACE_128, _HALF, _HALF, is_restored=True, source=Source.UNIT)
_GHOST: Final = SwapperFacts(
    *(256, Template.ARCFACE_112_V1, _HALF, _HALF),
    is_restored=True,
    source=Source.CONVERTED,
    converter="crossface_ghost",
)

SWAPPERS: Final[Mapping[str, SwapperFacts]] = {
    "inswapper_128": _INSWAPPER,
    "inswapper_128_fp16": _INSWAPPER,
    "hyperswap_1a_256": _HYPERSWAP,
    "hyperswap_1b_256": _HYPERSWAP,
    "hyperswap_1c_256": _HYPERSWAP,
    "ghost_1_256": _GHOST,
    "ghost_2_256": _GHOST,
    "ghost_3_256": _GHOST,
    "simswap_256": SwapperFacts(
        *(256, Template.ARCFACE_112_V1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        is_restored=False,
        source=Source.CONVERTED_UNIT,
        converter="crossface_simswap",
    ),
    "simswap_unofficial_512": SwapperFacts(
        *(512, Template.ARCFACE_112_V1, _ZEROS, _ONES),
        is_restored=False,
        source=Source.CONVERTED_UNIT,
        converter="crossface_simswap",
    ),
    "hififace_unofficial_256": SwapperFacts(
        *(256, Template.MTCNN_512, _HALF, _HALF),
        is_restored=True,
        source=Source.CONVERTED_UNIT,
        converter="crossface_hififace",
    ),
    "blendswap_256": SwapperFacts(
        *(256, Template.FFHQ_512, _ZEROS, _ONES),
        is_restored=False,
        source=Source.PICTURE,
        picture=(Template.ARCFACE_112_V2, 112),
    ),
    "uniface_256": SwapperFacts(
        *(256, Template.FFHQ_512, _HALF, _HALF),
        is_restored=True,
        source=Source.PICTURE,
        picture=(Template.FFHQ_512, 256),
    ),
}


def boost_sizes(facts: SwapperFacts) -> tuple[int, ...]:
    """Return the sides of crops, pixels, that a swapper can work on in interleaved parts."""
    return tuple(range(facts.size, _MOST_BOOST_PX + 1, facts.size))


class Swapper:
    """Puts an identity on aligned crops.

    Args:
        network: Inputs `source` and `target`; the first output is the crop.
        facts: What is known of it.
        converter: Where the facts name one.
        emap: (512, 512) float32 where the source goes through it.
        size: Of the crops' side, one of `boost_sizes`.

    Raises:
        FaultError: MODEL_CORRUPT when the network has other inputs.
    """

    def __init__(
        self,
        network: OnnxNetwork,
        facts: SwapperFacts,
        *,
        converter: Converter | None,
        emap: Floats | None,
        size: int = 0,
    ) -> None:
        source = (3, facts.picture[1], facts.picture[1]) if facts.picture else (EMBEDDING_SIZE,)
        network.check({"source": ("n", *source), "target": ("n", 3, facts.size, facts.size)})
        self.facts = facts
        self.size = size or facts.size
        self._network = network
        self._emap = emap
        self._converter = converter

    @property
    def parts(self) -> int:
        """Rows of the network for one crop."""
        return (self.size // self.facts.size) ** 2

    @property
    def most_crops(self) -> int:
        """How many crops fill a batch."""
        return max(1, self._network.batches.size // self.parts)

    @property
    def on_gpu(self) -> bool:
        return self._network.on_gpu

    def source_of(self, identity: Identity, target: Floats | None, weight: float) -> Floats:
        """Return what the network takes as the source.

        Args:
            identity: Whose face is put on.
            target: (512,) float32, the target's embedding as the embedder gave it; None: it has no say.
            weight: 0..1: 0.5 leaves the source as it is, less mixes the target in, more takes it off. The target goes
                through the same preparation as the source, so that both lie in one space.

        Returns:
            (512,) float32, or (3, side, side) float32 RGB 0..1 where the network takes a picture.
        """
        if self.facts.picture is not None:
            template, side = self.facts.picture
            crop = cut(identity.portrait, affine_to(template, identity.points_5, side), side)
            return np.asarray(tensor_of(crop[None])[0], np.float32)
        source = self._prepared(identity.embedding)
        share = _MOST_TARGET * (1 - 2 * weight)
        if target is None or share == 0:
            return source
        return np.asarray(source * (1 - share) + self._prepared(target) * share, np.float32)

    def swap(self, sources: Floats, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the crops with the sources' identities.

        Args:
            sources: (n, 512) or (n, 3, side, side) float32, from `source_of`.
            crops: (n, size, size, 3) uint8 BGR.

        Returns:
            (n, size, size, 3) uint8 BGR.

        Raises:
            FaultError: OUT_OF_MEMORY when not even one row fits.
        """
        facts, times = self.facts, self.size // self.facts.size
        rows = crops if times == 1 else np.concatenate([interleaved(crop, times) for crop in crops])
        given = sources if times == 1 else np.repeat(sources, self.parts, axis=0)
        targets = tensor_of(rows, facts.mean, facts.std)
        made = self._network.batches.run(self._forward, given, targets)
        colours = (facts.mean, facts.std) if facts.is_restored else (_ZEROS, _ONES)
        swapped = crops_of(made, *colours)
        if times == 1:
            return swapped
        return np.stack([together(parts) for parts in swapped.reshape(len(crops), self.parts, *swapped.shape[1:])])

    def prove(self) -> None:
        """Run two crops that differ, in the shape in which jobs will run.

        Raises:
            FaultError: MODEL_CORRUPT when what comes out is no crop, or the same for both.
        """
        random, facts = np.random.default_rng(0), self.facts
        shape = (2, 3, facts.picture[1], facts.picture[1]) if facts.picture else (2, EMBEDDING_SIZE)
        targets = random.random((2, 3, facts.size, facts.size), np.float32)
        made = self._network.batches.run(self._forward, random.random(shape, np.float32), targets)
        if made.shape != targets.shape or not np.isfinite(made).all() or np.array_equal(made[0], made[1]):
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It swaps no faces.")

    def _forward(self, sources: Floats, targets: Floats) -> Floats:
        return self._network.run({"source": sources, "target": targets})[0]

    def _prepared(self, embedding: Floats) -> Floats:
        return _PREPARED[self.facts.source](self, embedding)

    def _mapped(self, embedding: Floats) -> Floats:
        if self._emap is None:
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It has no matrix for identities.")
        length = max(float(np.linalg.norm(embedding)), 1e-12)
        return np.asarray(embedding @ self._emap / length, np.float32)

    def _converted(self, embedding: Floats) -> Floats:
        if self._converter is None:
            raise FaultError(FaultCode.MODEL_MISSING, f"{self._network.name} needs {self.facts.converter}.")
        return self._converter.convert(embedding)


_PREPARED: Final[Mapping[Source, Callable[[Swapper, Floats], Floats]]] = {
    Source.UNIT: lambda _swapper, embedding: unit(embedding),
    Source.EMAP: Swapper._mapped,  # noqa: SLF001 - the table is part of the class
    Source.CONVERTED: Swapper._converted,  # noqa: SLF001 - the same
    Source.CONVERTED_UNIT: lambda swapper, embedding: unit(swapper._converted(embedding)),  # noqa: SLF001 - the same
}
