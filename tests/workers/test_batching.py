"""Batches of one shape, halved when they do not fit, and models that stay loaded."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.warm import Warm


class Forward:
    """Adds its two inputs; only so many rows fit."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.asked: list[int] = []

    def __call__(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> Floats:
        self.asked.append(len(one))
        assert len(one) == len(other)
        if len(one) > self.fits:
            raise MemoryError
        return one + other


def rows(count: int) -> tuple[Floats, Floats]:
    one = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    return one, one * 10


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_any_number_of_rows_goes_through_in_batches_of_one_shape(count: int) -> None:
    forward = Forward(fits=4)
    made = Batches(4).run(forward, *rows(count))
    assert np.array_equal(made, sum(rows(count)))
    assert set(forward.asked) == {4}
    assert len(forward.asked) == -(-count // 4)


def test_what_does_not_fit_is_halved_for_good_and_no_row_is_lost() -> None:
    batches, forward = Batches(16), Forward(fits=5)
    assert np.array_equal(batches.run(forward, *rows(11)), sum(rows(11)))
    assert forward.asked == [16, 8, 4, 4, 4]
    forward.asked.clear()
    batches.run(forward, *rows(4))
    assert forward.asked == [4]


def test_a_single_row_that_does_not_fit_is_out_of_memory() -> None:
    with pytest.raises(FaultError) as caught:
        Batches(8).run(Forward(fits=0), *rows(3))
    assert caught.value.fault.code is FaultCode.OUT_OF_MEMORY
    assert caught.value.fault.is_retryable


def test_what_was_used_last_stays_loaded() -> None:
    loaded: list[str] = []
    warm: Warm[str] = Warm(2)

    def get(name: str) -> str:
        def load() -> str:
            loaded.append(name)
            return name.upper()

        return warm.get(name, load)

    assert [get(name) for name in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert loaded == ["a", "b", "c", "b"]


def test_what_could_not_be_loaded_is_tried_again() -> None:
    warm: Warm[str] = Warm(1)

    def fail() -> str:
        raise MemoryError

    with pytest.raises(MemoryError):
        warm.get("model", fail)
    assert warm.get("model", lambda: "there") == "there"
