"""Dashboard, alerts and runbooks speak of the same numbers, and of such as there are."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from api_shim.metrics import Metrics
from tests.deploy.dockerfiles import ROOT

FOLDER = ROOT / "deployments" / "compose"
DASHBOARD: Any = json.loads((FOLDER / "grafana" / "lipswap.json").read_text(encoding="utf-8"))
ALERTS = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + [
    alert["expr"] for alert in ALERTS
]
SCRAPED = {"up"}
# Prometheus' own, on everything that it scrapes; and what buckets are told apart by.
LABELS = {"instance", "job", "le"}


def labels_by_name(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """What `/metrics` tells: names as Prometheus reads them, with their labels."""
    for collector, names in registry._collector_to_names.items():  # an unused label has no sample yet
        for name in names:
            yield name, set(collector._labelnames)  # type: ignore[attr-defined]  # the same


KNOWN = dict(labels_by_name(Metrics().registry))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_for_is_a_number_that_the_api_tells(expression: str) -> None:
    asked = set(re.findall(r"\b(?:lipswap_\w+|up)\b", expression))

    assert asked
    assert asked - SCRAPED - set(KNOWN) == set()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_it_is_told_apart_by_is_a_label_of_it(expression: str) -> None:
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = [
        name for names in re.findall(r"(?:by|ignoring|on)\s*\(([^)]*)\)", expression) for name in names.split(",")
    ]
    known = {label for name in re.findall(r"\blipswap_\w+", expression) for label in KNOWN[name]} | LABELS

    assert {name.strip() for name in (*selected, *grouped)} <= known


def test_panels_are_told_apart_and_ask_the_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((FOLDER / "grafana" / "sources.yaml").read_text(encoding="utf-8"))["datasources"]
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"] for source in sources}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    text = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    # What is not about an alert has words for a name.
    about_alerts = {heading for heading in headings if re.fullmatch(r"[a-z]+(?:-[a-z]+)+", heading)}

    named = [alert["annotations"]["runbook"].partition("#") for alert in ALERTS]
    assert {file for file, _, _ in named} == {"docs/runbooks.md"}
    assert {heading for _, _, heading in named} == about_alerts


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_an_alert_says_how_bad_it_is_and_waits_before_it_wakes_anybody(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert re.fullmatch(r"\d+m", alert["for"])
    assert alert["annotations"]["summary"].endswith(".")


def test_what_is_scraped_is_served_and_may_be_asked_for() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    jobs = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    hosts = {name for job in jobs for found in job["dns_sd_configs"] for name in found["names"]}
    secrets = set(re.findall(r"/run/secrets/(\w+)", json.dumps(jobs)))

    assert hosts <= set(services)
    assert secrets <= set(services["prometheus"]["secrets"])
    assert {job["job_name"] for job in jobs} >= set(re.findall(r'job="(\w+)"', " ".join(EXPRESSIONS)))
