"""The page in a real browser, opened from disk: quick with a year of a large fleet, by keyboard, in light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_nights import KERNELS, large_site
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
NIGHTS = 40


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of fifteen kernels and a hundred modules; that of a year is tests/nightly's."""
    return large_site(tmp_path_factory.mktemp("series"), NIGHTS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if not CHROMIUM:
        pytest.skip("there is no chromium: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _open(browser: Browser, built: Path, hash_: str = "", **settings: Any) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **settings)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(f"file://{built}/index.html{hash_}")
    page.wait_for_selector("html[data-ready=yes]")
    return page, problems


def test_what_it_shows(built: Path, browser: Browser) -> None:
    page, problems = _open(browser, built)
    assert "1 newly broken" in page.inner_text("#headline")
    news = page.inner_text("#news")
    assert "module007 on 6.12-x86_64" in news and "the module" in news and "<img src=x" in news
    assert "the archive was not reached" in page.inner_text("#lab")
    assert page.locator("#matrix tbody a").count() == 1500
    assert page.locator("#count").inner_text() == "1500 of 1500 cells"
    assert problems == []
    assert page.locator("img").count() == 0


def test_it_opens_in_a_second(built: Path, browser: Browser) -> None:
    """By the page's own clock, the best of three: others may be at work on the machine."""
    assert min(_milliseconds(browser, built) for _ in range(3)) < 1000


def _milliseconds(browser: Browser, built: Path) -> float:
    page, _ = _open(browser, built)
    taken: float = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    page.close()
    return taken


def test_filters_live_in_the_address(built: Path, browser: Browser) -> None:
    page, problems = _open(browser, built, "#q=module00&kernel=6.12-x86_64")
    assert page.locator("#count").inner_text() == "10 of 1500 cells"
    assert page.input_value("#q") == "module00"
    page.select_option("#state", "newly broken")
    assert page.locator("#count").inner_text() == "1 of 1500 cells"
    assert "state=newly+broken" in page.url
    page.fill("#q", "no such thing")
    assert page.locator("#count").inner_text() == "0 of 1500 cells"
    assert problems == []


def test_a_cell_has_its_history_and_logs(built: Path, browser: Browser) -> None:
    page, problems = _open(browser, built, "#cell=6.12-x86_64/module007")
    page.wait_for_selector("#cell h3")
    assert page.inner_text("#cell h2") == "module007 on 6.12-x86_64"
    assert page.locator("#cell h3").count() == len(KERNELS)
    assert len(page.locator("#cell .nights").first.inner_text()) == NIGHTS
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#cell .nights a").first.click()
    assert "BUG: it broke" in page.inner_text("body")
    assert problems == []


@pytest.mark.parametrize("cell", ["nothing", "6.12-x86_64/nothing", "../../evil", "%3Cimg%20src%3Dx%3E/x"])
def test_a_cell_that_is_not(built: Path, browser: Browser, cell: str) -> None:
    page, problems = _open(browser, built, f"#cell={cell}")
    assert "There is no cell" in page.inner_text("#cell")
    assert problems == []


def test_by_keyboard_and_for_a_screen_reader(built: Path, browser: Browser) -> None:
    page, _ = _open(browser, built)
    page.locator("#matrix tbody a[tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "module002 on 5.10-x86_64: passing"
    page.keyboard.press("Enter")
    page.wait_for_selector("#cell h3")
    assert page.evaluate("document.activeElement.id") == "cell"
    assert page.locator("#matrix tbody a:not([aria-label])").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("svg:not([aria-label])").count() == 0
    assert page.locator("#count[aria-live]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_can_be_read(built: Path, browser: Browser, scheme: str) -> None:
    """WCAG's contrast of 4.5 for every kind of text; what a person looks at is kept where KMODLAB_SCREENSHOTS says."""
    page, _ = _open(browser, built, "#cell=6.12-x86_64/module008", color_scheme=scheme)
    page.wait_for_selector("#cell h3")
    paper = _rgb(page, "body", "backgroundColor")
    for look in ("good", "bad", "odd", "dim", "new", "about"):
        if page.locator(f".{look}").count():
            assert _contrast(_rgb(page, f".{look}", "color"), paper) >= 4.5, look
    assert (sum(paper) < 200) is (scheme == "dark")
    if folder := os.environ.get("KMODLAB_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/cell-{scheme}.png")
        page.goto(f"file://{built}/index.html")
        page.screenshot(path=f"{folder}/top-{scheme}.png")
        page.locator("#trends").scroll_into_view_if_needed()
        page.screenshot(path=f"{folder}/trends-{scheme}.png")


def _rgb(page: Page, selector: str, what: str) -> list[int]:
    colour = page.eval_on_selector(selector, f"element => getComputedStyle(element).{what}")
    return [int(each) for each in colour[4:-1].split(",")[:3]]


def _contrast(one: list[int], other: list[int]) -> float:
    def light(colour: list[int]) -> float:
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
