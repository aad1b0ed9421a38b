"""The site is built without a warning, its links lead somewhere, and it is by itself.

Skipped where the extra ``docs`` is not installed; ``DEEPSPOT_SITE=FOLDER`` keeps it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import deepspot_scale as ds

ROOT = Path(__file__).parents[1]
pytest.importorskip("furo")
pytest.importorskip("myst_nb")
if not (ROOT / "docs/conf.py").is_file():
    pytest.skip("the installed package has no docs beside it", allow_module_level=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as its readers are told to, any warning being an error."""
    folder = tmp_path_factory.mktemp("site")
    kept = Path(os.environ.get("DEEPSPOT_SITE", folder / "html"))
    words = ["--fail-on-warning", "--keep-going", "--quiet"]
    places = ["--doctree-dir", str(folder / "trees"), str(ROOT / "docs"), str(kept)]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, *places],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return kept.resolve()


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in {"script", "img", "iframe", "source"} and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload"}:
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_no_link_inside_the_site_is_broken(pages: dict[Path, Page]) -> None:
    n_checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert parts.scheme in {"https", "mailto"}, (path.name, link)
                continue
            target = (path.parent / unquote(parts.path)) if parts.path else path
            target = target.resolve()
            assert target.is_file(), (path.name, link)
            n_checked += 1
            if parts.fragment and target.suffix == ".html":
                known = pages[target].anchors
                assert unquote(parts.fragment) in known, (path.name, link)
    assert n_checked > 1000


def loaded_by(site: Path, pages: dict[Path, Page]) -> Iterator[tuple[str, str]]:
    for path, page in pages.items():
        yield from ((path.name, each) for each in page.loaded)
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        for each in re.findall(r"url\(['\"]?([^)'\"]+)|@import ['\"]([^'\"]+)", text):
            yield path.name, each[0] or each[1]


def test_nothing_is_loaded_from_another_host(
    site: Path, pages: dict[Path, Page]
) -> None:
    found = list(loaded_by(site, pages))
    assert len(found) > 100
    for name, each in found:
        assert not each.startswith(("http:", "https:", "//")), (name, each)


def test_every_public_name_and_command_has_its_place(pages: dict[Path, Page]) -> None:
    from deepspot_scale.cli import app

    by_name = {path.name: page for path, page in pages.items()}
    anchors = by_name["python.html"].anchors
    assert {f"deepspot_scale.{name}" for name in ds.__all__} <= anchors
    commands = {each.name or each.callback.__name__ for each in app.registered_commands}
    written = {name.replace("_", "-") for name in commands}
    assert written <= by_name["commands.html"].anchors


def test_drawings_of_the_code_are_on_the_pages(site: Path) -> None:
    text = (site / "explanation/exactness.html").read_text(encoding="utf-8")
    assert "the last ends at the padded edge" in text
    assert "gathered:" not in text


WIDE_PAGES = (
    "index",
    "tutorial",
    "notebooks/first_plate",
    "howto/runs",
    "reference/commands",
    "reference/columns",
    "reference/python",
    "explanation/exactness",
    "explanation/measurements",
)
"""Pages with wide tables, drawings or signatures."""


def test_pages_fit_a_narrow_screen_and_ask_no_other_host(site: Path, tab: Any) -> None:
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=360,
        height=700,
        deviceScaleFactor=1,
        mobile=False,
    )
    try:
        for name in WIDE_PAGES:
            tab.open((site / f"{name}.html").as_uri())
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= 360, (name, wide)
            asked = tab.methods("Network.requestWillBeSent")
            urls = {each["request"]["url"] for each in asked}
            assert all(url.startswith(("file:", "data:")) for url in urls), urls
    finally:
        tab.call("Emulation.clearDeviceMetricsOverride")


def test_the_search_finds_a_page_without_another_host(
    site: Path, tab: Any, tmp_path: Path, served: str
) -> None:
    (tmp_path / "site").symlink_to(site)
    tab.open(f"{served}/site/search.html?q=chromatic")
    assert "Compare channels" in tab.wait_for("Compare channels")
    hosts = {
        urlsplit(each["request"]["url"]).netloc
        for each in tab.methods("Network.requestWillBeSent")
    }
    assert hosts - {""} == {urlsplit(served).netloc}
