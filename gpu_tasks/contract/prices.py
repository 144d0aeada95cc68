"""The price table: what a second on a GPU type costs, from which source, read on which day."""

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode, FaultError

_TABLE = "prices.toml"


class PriceTable(BaseModel):
    """US dollars per second of a flex worker, by RunPod's names of GPU types."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    read_on: date
    usd_per_second: Mapping[str, float]

    def price_of(self, gpu_type: str) -> float:
        """Return US dollars per second.

        Raises:
            FaultError: PRICE_UNKNOWN, naming the type and those that are known.
        """
        if (price := self.usd_per_second.get(gpu_type)) is None:
            known = ", ".join(self.usd_per_second)
            raise FaultError(
                FaultCode.PRICE_UNKNOWN, f"{gpu_type!r} is not in the table of {self.read_on}, which knows {known}."
            )
        return price


@cache
def price_table() -> PriceTable:
    """Return the table that comes with this version."""
    text = files("gpu_tasks.contract").joinpath(_TABLE).read_text(encoding="utf-8")
    return PriceTable.model_validate(tomllib.loads(text))
