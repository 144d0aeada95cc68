"""The cloud's failures on demand: switched per endpoint at run time, spent one by one."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.local.control_plane.settings import Operation

Spendable = Literal["lost_results", "empty_results", "dropped_webhooks", "doubled_webhooks"]
_Times = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0)]


class AnswerFault(BaseModel):
    """Spoils the next `times` answers of one operation; None spoils every one until switched off.

    `status` None cuts the connection without an answer. `performed` does the operation and loses only its
    answer: after such a /run a client cannot know whether its job exists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: Operation
    status: Annotated[int, Field(ge=400, le=599)] | None = 500
    times: Annotated[int, Field(ge=1)] | None = 1
    performed: bool = False


class Faults(BaseModel):
    """Everything that can be wrong with one endpoint; the default is nothing.

    lost_results: a worker's connection is cut while it posts its result, and the job is run again.
    empty_results: the job turns COMPLETED without its output, as reported of the cloud.
    dropped_webhooks, doubled_webhooks: the next deliveries that never happen, or happen twice.
    ttl_seconds: every job is gone this long after its submission, even while it runs.
    retention_seconds: every result is gone this long after its job's end.
    cold_start_seconds: a new worker's process starts this much later.
    no_capacity: no worker starts, none takes a job, idle ones are taken away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: tuple[AnswerFault, ...] = ()
    lost_results: _Times = 0
    empty_results: _Times = 0
    dropped_webhooks: _Times = 0
    doubled_webhooks: _Times = 0
    ttl_seconds: _Seconds | None = None
    retention_seconds: _Seconds | None = None
    cold_start_seconds: _Seconds = 0
    no_capacity: bool = False


class FaultSwitches:
    """The faults of one endpoint that are still to come."""

    def __init__(self) -> None:
        self.current = Faults()

    def set(self, faults: Faults) -> None:
        self.current = faults

    def spend(self, name: Spendable) -> bool:
        """Whether this one shall fail; if so there is one less to come."""
        left: int = getattr(self.current, name)
        if left:
            self.current = self.current.model_copy(update={name: left - 1})
        return left > 0

    def spend_answer(self, operation: Operation) -> AnswerFault | None:
        """The fault to answer this operation with, if one is switched on."""
        answers = self.current.answers
        chosen = next((fault for fault in answers if fault.operation is operation), None)
        if chosen is None or chosen.times is None:
            return chosen
        less = chosen.model_copy(update={"times": chosen.times - 1})
        left = tuple(less if fault is chosen else fault for fault in answers)
        self.current = self.current.model_copy(update={"answers": tuple(f for f in left if f.times != 0)})
        return chosen
