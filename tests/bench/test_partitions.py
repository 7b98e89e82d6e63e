import json
import subprocess
import sys
from pathlib import Path

from tests.bench.partitions import FIGURES, LAYOUTS, lines
from tests.processes import ROOT
from tests.tables import put_table


def test_both_layouts_are_measured_and_printed_as_json_on_the_last_line() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "tests.bench.partitions", "--rows", "1000", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    ).stdout
    results = json.loads(output.splitlines()[-1])
    assert {name: set(figures) for name, figures in results.items()} == {
        name: set(FIGURES) for name in LAYOUTS
    }
    assert all(value > 0 for figures in results.values() for value in figures.values())


def test_the_page_has_the_newest_table_and_all_else_that_it_had(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- figures: how -->\n| old |\n<!-- end of figures -->\nAfter.\n")
    results = {name: dict.fromkeys(FIGURES, 1234.0) for name in LAYOUTS}
    put_table(page, "figures", lines(results, 1000))
    text = page.read_text()
    assert "| old |" not in text
    assert text.startswith("Before.\n<!-- figures: how -->\n| 1,000 events")
    assert text.endswith("\n<!-- end of figures -->\nAfter.\n")
