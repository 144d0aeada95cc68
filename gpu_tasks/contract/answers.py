"""What flows leave with their runs in Prefect: the final record, or a small flow's value or fault for whoever asked."""

from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, model_validator

from gpu_tasks.contract.faults import Fault

# The type of the Prefect artifact that holds the final record of a run.
RECORD_ARTIFACT: Final = "lipswap-record"
# The type of the Prefect artifact that holds it; the run's id is also the name under which its asker is woken.
ANSWER_ARTIFACT: Final = "lipswap-answer"


class Answer(BaseModel):
    """Either `value`, the fields of the model that the flow promises, or `fault`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: dict[str, Any] | None = None
    fault: Fault | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.value is None) == (self.fault is None):
            raise ValueError("an answer is a value or a fault")
        return self
