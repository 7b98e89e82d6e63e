"""Others can install the client alone."""

import subprocess
import sys


def test_it_works_without_the_server_s_packages_and_without_those_of_the_command_line() -> None:
    absent = ["django", "rest_framework", "celery", "click", "rich", "platformdirs"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}));"
        "from angarium_client import Angarium; print(Angarium('http://127.0.0.1:9', 'key'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/"
    )
    assert run.returncode == 0, run.stderr
