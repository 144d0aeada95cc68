"""Which of the faces in a frame are changed: by rules that follow a face once they chose it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from gpu_tasks.contract.options import FaceOrder, FaceSelection


class SeenFace(Protocol):
    """What a rule looks at: a tracked face, or its place alone."""

    @property
    def track_id(self) -> int: ...

    @property
    def height_px(self) -> float: ...

    @property
    def centre_x(self) -> float: ...

    @property
    def centre_y(self) -> float: ...

    @property
    def score(self) -> float: ...


Face = TypeVar("Face", bound=SeenFace)


_ORDERS: Final[Mapping[FaceOrder, Callable[[SeenFace], float]]] = {
    "left-right": lambda face: face.centre_x,
    "right-left": lambda face: -face.centre_x,
    "top-bottom": lambda face: face.centre_y,
    "bottom-top": lambda face: -face.centre_y,
    "small-large": lambda face: face.height_px,
    "large-small": lambda face: -face.height_px,
    "best-worst": lambda face: -face.score,
    "worst-best": lambda face: face.score,
}


def in_order(faces: Sequence[Face], order: FaceOrder) -> list[Face]:
    """Return the faces of a frame in the order in which positions count them."""
    return sorted(faces, key=_ORDERS[order])


class Rule(Protocol):
    """Chooses among the faces of frames that come in order."""

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        """Look at a whole clip beforehand, where it is known."""
        ...

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Return the chosen ones of the next frame's faces."""
        ...


class Speaker:
    """Who speaks: the face that is seen largest and longest.

    In a clip that is not known beforehand it is the tallest face at first, and the same one for as long as it is seen.
    """

    def __init__(self) -> None:
        self._prominence: Counter[int] | None = None
        self._track_id: int | None = None

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        # Whole units of a pixel's sixteenth add up the same in any order.
        self._prominence = Counter()
        for faces in clip:
            for face in faces:
                self._prominence[face.track_id] += round(face.height_px * 16)

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        if self._prominence is not None:
            prominence = self._prominence
            return tuple(sorted(faces, key=lambda face: (-prominence[face.track_id], face.track_id))[:1])
        kept = tuple(face for face in faces if face.track_id == self._track_id)
        chosen = kept or tuple(sorted(faces, key=lambda face: -face.height_px)[:1])
        self._track_id = chosen[0].track_id if chosen else None
        return chosen


def speaker_at(position: int | None) -> "Rule":
    """Return who speaks: the face at a position from the left, or the most prominent one where none is asked for."""
    return Speaker() if position is None else Selected(FaceSelection(mode="one", position=position))


class Selected:
    """The faces that a caller selected; one that was chosen by its place is kept while it is seen."""

    def __init__(self, selection: FaceSelection) -> None:
        self._selection = selection
        self._track_id: int | None = None

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        """A place is counted in the frame in which it is asked for, not over the clip."""

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        if self._selection.mode == "many":
            return tuple(faces)
        kept = tuple(face for face in faces if face.track_id == self._track_id)
        position = self._selection.position
        chosen = kept or tuple(in_order(faces, self._selection.order)[position : position + 1])
        self._track_id = chosen[0].track_id if chosen else None
        return chosen
