"""`make audit` fails on what is known to be vulnerable, and claims no more than was done."""

import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT

CLEAN = "No known vulnerabilities found"
UNKNOWN = "amqp Dependency not found on PyPI and could not be audited: amqp (5.4.2)"
FOUND = "Found 1 known vulnerability in 1 package"


@pytest.mark.parametrize(
    ("said", "code", "succeeds", "told"),
    [
        ([CLEAN], 0, True, f"{CLEAN}, 0 packages not audited"),
        ([CLEAN, UNKNOWN], 0, True, f"{CLEAN}, 1 packages not audited"),
        ([FOUND, "django 1.0"], 1, False, "django 1.0"),
        (["Traceback", "ConnectionError: no such host"], 1, True, "Not audited: ConnectionError"),
    ],
)
def test_what_pip_audit_says_is_told_as_it_is(
    tmp_path: Path, said: list[str], code: int, succeeds: bool, told: str
) -> None:
    auditor = tmp_path / "pip-audit"
    lines = "\n".join(said)
    auditor.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexit {code}\n")
    auditor.chmod(0o755)
    audit = ["make", "--assume-old", ".venv/installed", "audit", f"BIN={tmp_path}"]
    done = subprocess.run(
        [*audit, f"AUDIT={tmp_path}/audit"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode == 0) is succeeds
    assert told in done.stdout
