"""The pages that people read name only what exists: links, headings and files of the project."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: page.as_posix())
OURS = ("salus", "consensus", "contracts", "storage", "node", "cli", "tests", "scripts", "configs")

_FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(
    rf"(?<![\w./-])(?:{'|'.join(OURS)})(?:/[\w.-]+)+\.(?:py|toml|yml|json|service|txt)\b"
)
_INVITED = "appointments"  # docs/contracts.md asks the reader to write files of this name


def names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The fragments of a page's headings, as the usual renderers make them."""
    found = set()
    for line in _FENCE.sub("", page.read_text()).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip().lower().replace("`", "")
            found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, fragment = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{page.name}: {link}"
        if fragment and target.suffix == ".md":
            assert fragment in anchors(target), f"{page.name}: no heading for {link}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = {
        path
        for path in _PATH.findall(page.read_text())
        if _INVITED not in path and not (ROOT / path).exists()
    }
    assert missing == set()


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/*.md")]
    assert [page for page in pages if page != "README.md" and f"({page})" not in index] == []
