"""Debian's chromium, driven as a person would; skipped where it cannot be had."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

# Without these it looks up its maker's hosts at every start.
QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
)
WAIT_MS = 60_000  # for failure; a page that works answers within a block or two


@asynccontextmanager
async def browser(width: int = 1280, language: str = "en-GB") -> AsyncIterator[Page]:
    """An empty browser with one page; what its console complained of is a failure."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here: scripts/setup-optional installs it where it can")
    complaints: list[str] = []
    async with async_playwright() as driver:
        opened = await driver.chromium.launch(executable_path=chromium, args=list(QUIET))
        context = await opened.new_context(
            viewport={"width": width, "height": 900}, locale=language
        )
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" else None,
        )
        try:
            yield page
        finally:
            await opened.close()
    # What the network answers with 4xx stands in the console too, and is meant.
    assert [said for said in complaints if "Failed to load resource" not in said] == []
