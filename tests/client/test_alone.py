"""Others can install the client alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

BUILD = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet")
INSTALL = ("install", "--no-deps", "--no-index", "--quiet")


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client is that came out of its wheel, built of what git would have of it."""
    folder = tmp_path_factory.mktemp("client")
    source = folder / "source"
    kept = shutil.ignore_patterns("*.egg-info", "build", "__pycache__")
    shutil.copytree(ROOT / "client", source, ignore=kept)
    pip(*BUILD, "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    pip(*INSTALL, "--target", folder / "installed", wheel)
    return folder / "installed"


def run(program: str, installed: Path, absent: list[str]) -> str:
    """What it prints, with the client of the wheel and without these packages."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); "
    done = subprocess.run(
        [sys.executable, "-c", hidden + program],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_without_the_server_s_packages_and_without_those_of_the_command_line(
    installed: Path,
) -> None:
    absent = ["django", "rest_framework", "celery", "click", "rich", "platformdirs"]
    program = "import angarium_client as it; it.Angarium('http://127.0.0.1:9', 'key'); "
    shown = run(program + "print(it.__file__)", installed, absent)
    assert Path(shown.strip()).is_relative_to(installed)


def test_the_wheel_has_every_module_and_says_that_it_is_typed(installed: Path) -> None:
    here = ROOT / "client" / "angarium_client"
    modules = {path.relative_to(here) for path in here.rglob("*.py")} | {Path("py.typed")}
    there = installed / "angarium_client"
    assert {
        path.relative_to(there) for path in there.rglob("*") if path.suffix != ".pyc"
    } >= modules
    absent = ["django", "rest_framework", "celery"]
    run("import angarium_client.cli; angarium_client.cli.main", installed, absent)
