"""What schemathesis did, counted from its own events: by phase and by route."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any


class Tally:
    """Requests of one phase or route, the seconds they took, and how they were answered."""

    def __init__(self) -> None:
        self.cases = 0
        self.seconds = 0.0
        self.statuses: Counter[int] = Counter()
        self.findings = 0

    def add(self, cases: int, seconds: float, statuses: Sequence[int], findings: int) -> None:
        self.cases += cases
        self.seconds += seconds
        self.statuses.update(statuses)
        self.findings += findings

    def line(self, name: str) -> str:
        answers = ", ".join(f"{status} x {count}" for status, count in sorted(self.statuses.items()))
        return f"| {name} | {self.cases} | {self.findings} | {self.seconds:.0f} | {answers} |"


def summary(events: Sequence[Path]) -> str:
    """Return two Markdown tables of the runs that left these files of events."""
    phases: defaultdict[str, Tally] = defaultdict(Tally)
    routes: defaultdict[str, Tally] = defaultdict(Tally)
    for scenario in _scenarios(events):
        recorder = scenario["recorder"]
        of_case = {case_id: case["value"] for case_id, case in recorder.get("cases", {}).items()}
        answered = recorder.get("interactions", {})
        failed = Counter(
            case_id
            for case_id, checks in recorder.get("checks", {}).items()
            for check in checks
            if check["status"] != "success"
        )
        seconds = scenario["elapsed_time"] / max(1, len(of_case))
        for case_id, case in of_case.items():
            answer = answered.get(case_id, {}).get("response")
            statuses = [answer["status_code"]] if answer else []
            # That a route has no other methods is tried on each.
            is_known = statuses != [HTTPStatus.METHOD_NOT_ALLOWED]
            route = f"{case['method']} {case['path']}" if is_known else "other methods of all"
            for tally in (phases[scenario["phase"]], routes[route]):
                tally.add(1, seconds, statuses, failed[case_id])
    total = Tally()
    for tally in phases.values():
        total.add(tally.cases, tally.seconds, list(tally.statuses.elements()), tally.findings)
    return "\n".join(
        [
            *_table("Phase", {**phases, "all": total}),
            "",
            *_table("Route", dict(sorted(routes.items(), key=lambda item: item[0].split(" ")[::-1]))),
        ]
    )


def _table(name: str, tallies: dict[str, Tally]) -> list[str]:
    head = [f"| {name} | Cases | Findings | Seconds | Answers |", "|---|--:|--:|--:|---|"]
    return head + [tally.line(told) for told, tally in tallies.items()]


def _scenarios(events: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for path in events:
        for line in path.read_text(encoding="utf-8").splitlines():
            if (finished := json.loads(line).get("ScenarioFinished")) is not None:
                yield finished
