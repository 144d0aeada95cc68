"""Which due runs a worker takes up: whole videos, small flows beside them, and runs that may kill it."""

from typing import NamedTuple
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.admission import Lanes, admitted
from flows.orphans import BLAMES, DEATHS, Past
from flows.pools import QUICK_QUEUE


class Due(NamedTuple):
    flow_run: FlowRun


def _due(*, quick: bool = False, deaths: int = 0) -> Due:
    labels = {DEATHS: deaths} if deaths else {}
    return Due(FlowRun(flow_id=uuid4(), work_queue_name=QUICK_QUEUE if quick else "default", labels=labels))


def test_a_small_flow_is_taken_up_when_all_places_for_videos_are_taken() -> None:
    video, small = _due(), _due(quick=True)
    assert admitted([video, small], room=Lanes(long=0, quick=1), is_trial_free=True) == [small]


def test_small_flows_come_first_and_never_take_the_place_of_a_video() -> None:
    video, small, smaller = _due(), _due(quick=True), _due(quick=True)
    assert admitted([video, small, smaller], room=Lanes(long=2, quick=1), is_trial_free=True) == [small, video]


def test_only_one_of_the_runs_that_may_kill_the_worker_begins_and_the_others_do_not_wait_for_it() -> None:
    suspect, other, innocent = _due(deaths=2), _due(deaths=3), _due(deaths=1)
    room = Lanes(long=3, quick=0)
    assert admitted([suspect, other, innocent], room=room, is_trial_free=True) == [suspect, innocent]
    assert admitted([suspect, other, innocent], room=room, is_trial_free=False) == [innocent]


@pytest.mark.parametrize(
    ("deaths", "blames", "is_hopeless"),
    [(3, 2, False), (4, 1, False), (4, 2, True), (19, 0, False), (20, 0, True)],
    ids=["died too seldom", "blamed once", "to blame", "never alone", "never alone, but without end"],
)
def test_a_run_is_given_up_for_deaths_that_it_is_to_blame_for(deaths: int, blames: int, *, is_hopeless: bool) -> None:
    run = FlowRun(flow_id=uuid4(), labels={DEATHS: deaths, BLAMES: blames})
    assert Past.of(run).is_hopeless(attempts=4) is is_hopeless
