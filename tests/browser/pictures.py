"""make pictures: the pictures that the pages of docs/ show, taken anew by the browser tests."""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from tests.processes import ROOT

DOCS = ROOT / "docs"
PICTURES = DOCS / "pictures"
HIGHEST = 1900
"""Pixels of a page that are shown: what is further down is more of the same."""
COLOURS = 128
"""As many as text on a page needs, its smooth edges included."""


def shown() -> set[str]:
    """The pictures that some page shows, by their files' names."""
    pages = "".join(page.read_text() for page in DOCS.glob("*.md"))
    return set(re.findall(r"\]\(pictures/([\w-]+\.png)\)", pages))


def keep(picture: Path) -> None:
    """Write a picture into the docs, small."""
    with Image.open(picture) as full:
        upper = full.crop((0, 0, full.width, min(full.height, HIGHEST)))
        few = upper.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(PICTURES / picture.name, optimize=True)


def main() -> str | int:
    with TemporaryDirectory() as folder:
        tests = [sys.executable, "-m", "pytest", "tests/browser", *sys.argv[1:]]
        done = subprocess.run(tests, cwd=ROOT, env={**os.environ, "SCREENSHOTS": folder})
        taken = {picture.name: picture for picture in Path(folder).glob("*.png")}
        for name in shown() & taken.keys():
            keep(taken[name])
    missing = sorted(shown() - taken.keys())
    return f"Not taken: {', '.join(missing)}" if missing else done.returncode


if __name__ == "__main__":
    sys.exit(main())
