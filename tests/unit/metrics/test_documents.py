"""What is written about the series, and the dashboard that draws them, against the page itself."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "contrib" / "grafana" / "llama-swap.json"
BEGIN, END = "<!-- series -->", "<!-- /series -->"
HISTOGRAM_PARTS = ("_bucket", "_count", "_sum")
INTERNAL_LABELS = {"le", "quantile"}
LEADING = ("model", "id", "name", "interface", "core")
OF_THE_LIBRARY = "llamaswap_process_"  # its words differ between its versions

pytestmark = pytest.mark.skipif(not PAGE.parent.exists(), reason="a package is built without the pages of the project")


def families(metrics):
    """Name -> type, labels, meaning of each family on a page; counters with their ``_total``."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = [label for sample in family.samples for label in sample.labels if label not in INTERNAL_LABELS]
        found[name] = (family.type, list(dict.fromkeys(sorted(labels, key=_order))), family.documentation)
    return found


def _order(label):
    """The model or device first."""
    return (LEADING.index(label) if label in LEADING else len(LEADING), label)


def table(metrics):
    """The table of the page."""
    rows = ["| series | type | labels | meaning |", "|---|---|---|---|"]
    for name, (kind, labels, meaning) in sorted(families(metrics).items()):
        if name.startswith(OF_THE_LIBRARY):
            continue
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {kind} | {shown} | {meaning} |")
    return "\n".join(rows)


def queries(node):
    """Every query of a dashboard, those of its variables included."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query", "definition") and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for item in node:
            yield from queries(item)


def names_in(query):
    """The series that a query names."""
    return set(re.findall(r"\bllamaswap_\w+", query))


@pytest.fixture(scope="module")
def dashboard():
    """The dashboard."""
    return json.loads(DASHBOARD.read_text())


def test_the_table_is_the_truth(full):
    """docs/metrics.md lists exactly the series there are; if this fails, put the table it shows there."""
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert written == table(full)


def test_the_text_names_only_real_series(full):
    """Also outside of the table."""
    known = set(families(full))
    text = PAGE.read_text()
    parts = {name + part for name in known for part in HISTOGRAM_PARTS}
    assert names_in(text) - known - parts == {OF_THE_LIBRARY}


def test_the_dashboard_draws_only_real_series(full, dashboard):
    """Every name in every query is on the page, histograms by their parts."""
    known = families(full)
    real = {name for name, (kind, _, _) in known.items() if kind != "histogram"}
    real |= {f"{name}{part}" for name, (kind, _, _) in known.items() if kind == "histogram" for part in HISTOGRAM_PARTS}
    used = set().union(*(names_in(query) for query in queries(dashboard)))
    assert len(used) > 15
    assert used - real == set()


def test_the_dashboard_uses_only_real_labels(full, dashboard):
    """Labels in selectors, in ``by (...)`` and in legends exist on the series of their query."""
    known = families(full)
    labels_of = {}
    for name, (_, labels, _) in known.items():
        for part in ("", *HISTOGRAM_PARTS):
            labels_of[name + part] = {*labels, "le", "job", "instance"}
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(targets) > 15
    for target in targets:
        query = target["expr"]
        allowed = set().union(*(labels_of[name] for name in names_in(query)))
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
        for group in re.findall(r"\bby\s*\(([^)]*)\)", query):
            used |= {label.strip() for label in group.split(",")}
        used |= set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", "")))
        assert used <= allowed, query


def test_the_dashboard_has_one_place_for_each_panel(dashboard):
    """IDs are unique and no two panels overlap."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)


def test_a_wrong_name_is_found(full):
    """The checks can fail."""
    assert names_in("rate(llamaswap_made_up_total[5m])") - set(families(full))
