"""A browser for the tests of pages: Debian's chromium. Without it or its driver they are not collected."""

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
_HAS_DRIVER = all(importlib.util.find_spec(name) for name in ("playwright", "axe_playwright_python"))
collect_ignore = [] if CHROMIUM and _HAS_DRIVER else ["test_page_browser.py"]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser with a profile of its own. Not longer than a module: its loop would stop async tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()
