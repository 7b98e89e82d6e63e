"""A real browser before a live server. Where a part of that is missing the tests are skipped.

Pictures go to the folder in SCREENSHOTS, if that is set.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NEEDED = ("playwright", "axe_playwright_python")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 15_000
"""Milliseconds that the browser waits for what a test expects."""

WIDE, NARROW, NARROWEST = (1280, 900), (375, 800), (320, 700)

MakePage = Callable[..., "Page"]
TakePicture = Callable[["Page", str], None]


class Lacking(pytest.Module):
    """A module of tests that cannot be imported, since a package that it needs is not there."""

    def collect(self) -> Never:
        lacking = [name for name in NEEDED if find_spec(name) is None]
        pytest.skip(f"not installed: {', '.join(lacking)}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Lacking | None:
    if all(find_spec(name) for name in NEEDED):
        return None
    return Lacking.from_parent(parent, path=module_path)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}: install Debian's chromium, or set CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api")
    # Playwright runs an event loop in this thread, where Django would refuse to touch the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def make_page(browser: "Browser") -> Iterator[MakePage]:
    """A page in a browser that knows nothing yet; what it complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(*, size: tuple[int, int] = WIDE, **options: Any) -> "Page":
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type in ("error", "warning")
                and "the server responded with" not in said.text
                else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(make_page: MakePage) -> "Page":
    return make_page()


@pytest.fixture
def take_picture() -> TakePicture:
    """Keep a picture of the whole page under a name, where somebody wants pictures."""
    folder = os.environ.get("SCREENSHOTS")

    def take(page: "Page", name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return take
