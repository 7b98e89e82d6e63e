import json
import subprocess
import sys

from tests.processes import ROOT

MEASURED = {
    "noop": {"cpu_us", "rate"},
    "courier": {"cpu_us", "rate"},
    "emit": {f"{size}_{what}_ms" for size in (1, 100, 10_000) for what in ("p50", "p99")},
    "batches": {
        f"{size}_{what}" for size in (1, 50) for what in ("rate", "cpu_us", "requests_an_event")
    },
    "backlog": {"rows", "sweep_ms", "worker_bytes_each"},
}


def test_each_figure_is_measured_and_printed_as_json_on_the_last_line() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--rounds", "1", "--scale", "0.01", *MEASURED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    ).stdout
    results = json.loads(output.splitlines()[-1])
    assert {name: set(figure) for name, figure in results.items()} == MEASURED
    assert all(value >= 0 for figure in results.values() for value in figure.values())
