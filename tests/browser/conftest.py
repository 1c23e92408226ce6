"""A real Chromium, the pages to open in it, and a visitor who notices everything that a page should not do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from shared_spec.language_model.corpus import Corpus
from tests import sample_race as made_up
from tests.browser import sites
from tests.browser.sites import Site

Look = tuple[bool, int, int]
"""Whether it is dark, its width and its height."""
Heard = dict[str, Callable[..., object]]
"""What is done where a page says something, by the name of the event."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
# No chart that has been asked for is still being drawn: each place has its own, and no other is there.
DRAWN = """() => {
  const places = [...document.querySelectorAll(".chart")];
  const drawn = Object.values(isogru.charts).map((chart) => chart.view.container());
  return document.documentElement.dataset.ready === "true" && drawn.length === places.length &&
    places.every((place) => place.querySelector("svg") && drawn.some((one) => place.contains(one)));
}"""
# To an address, and on when the page has heard of it; where it is there already it hears nothing.
GO = """(hash) => new Promise((done) => {
  const before = location.href;
  addEventListener("hashchange", () => done(), { once: true });
  location.hash = hash;
  if (location.href === before) done();
})"""


def find_chromium(path: str | None = None) -> str:
    """The Chromium of the system."""
    for name in NAMES:
        if program := shutil.which(name, path=path):
            return program
    raise pytest.UsageError(
        f"no Chromium: none of {', '.join(NAMES)} is on the PATH; install it, for example with "
        "`apt-get install chromium` (.ci/run does)"
    )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    # The sandbox needs rights that containers do not give; what is opened here is our own page.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, text: Corpus) -> Site:
    """What a user has after a run in which some things went wrong."""
    return sites.everyday(tmp_path_factory.mktemp("everyday"), text)


@pytest.fixture(scope="session")
def raced(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Site:
    """The same after a race."""
    folder = tmp_path_factory.mktemp("raced")
    return sites.raced(folder, site, made_up.side_by_side(folder))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory, text: Corpus) -> Site:
    """A report whose every text from data is an attack."""
    return sites.nasty(tmp_path_factory.mktemp("nasty"), text)


class Pages:
    """Pages that nobody looks at, each in a context of its own, by colour scheme and size. One that was open before
    opens a document anew in less than half of the time that a new context takes.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[Look, list[Page]] = {}

    def take(self, look: Look) -> Page:
        """An empty page."""
        if free := self._free.get(look):
            return free.pop()
        dark, width, height = look
        context = self._browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        return page

    def give_back(self, look: Look, page: Page) -> None:
        """Take a page for somebody else: empty, in its own colours, with the pointer in a corner."""
        if page.is_closed():
            return
        page.goto("about:blank")
        page.emulate_media(color_scheme="dark" if look[0] else "light")
        page.set_viewport_size({"width": look[1], "height": look[2]})
        page.mouse.move(0, 0)
        self._free.setdefault(look, []).append(page)


class Visitor:
    """Opens pages, and keeps what they said and asked for."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._taken: list[tuple[Look, Page, Heard]] = []
        self.noise: list[str] = []

    def __call__(
        self,
        url: str,
        fragment: str = "",
        *,
        dark: bool = False,
        width: int = 1280,
        height: int = 900,
        expected: Callable[[str], bool] = lambda noise: False,
    ) -> Page:
        """Open a page; whatever it says or asks for, unless `expected`, fails the test when it ends."""
        look = (dark, width, height)
        page = self._pages.take(look)

        def note(noise: str) -> None:
            if not expected(noise):
                self.noise.append(noise)

        def said(message: ConsoleMessage) -> None:
            note(f"console {message.type}: {message.text}")

        heard: Heard = {
            "console": said,
            "pageerror": lambda error: note(f"error: {error}"),
            "dialog": lambda dialog: (note(f"dialog: {dialog.message}"), dialog.dismiss()),
            "request": lambda request: None if request.url == url else note(f"request: {request.url}"),
        }
        for event, hear in heard.items():
            page.on(event, hear)
        opened = heard["page"] = lambda other: note(f"opened: {other.url}")
        page.context.on("page", opened)
        self._taken.append((look, page, heard))
        page.goto(url + fragment)
        settle(page)
        return page

    def close(self) -> None:
        for look, page, heard in self._taken:
            page.context.remove_listener("page", heard.pop("page"))
            for event, hear in heard.items():
                page.remove_listener(event, hear)
            self._pages.give_back(look, page)


class Reader:
    """Pages that stay open, for tests that only read and choose: a page takes a second to open, and what is chosen
    stands in its address and nowhere else. Each test comes to it at an address of its own; test_choices.py and
    test_leaderboard.py have tests that an address says the same where a page is opened at it.
    """

    def __init__(self, pages: Pages) -> None:
        self.visitor = Visitor(pages)
        self._open: dict[tuple[str, Look], Page] = {}

    def __call__(
        self, url: str, fragment: str = "", *, dark: bool = False, width: int = 1280, height: int = 900
    ) -> Page:
        """A page at an address, opened where it is not yet."""
        key = (url, (dark, width, height))
        if key not in self._open:
            self._open[key] = self.visitor(url, dark=dark, width=width, height=height)
        page = self._open[key]
        page.evaluate(GO, fragment)
        settle(page)
        return page


def settle(page: Page) -> None:
    """Wait until the page has followed its address and drawn every chart."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function(DRAWN)


@pytest.fixture(scope="session")
def pages(chromium: Browser) -> Pages:
    return Pages(chromium)


@pytest.fixture
def visit(pages: Pages) -> Iterator[Visitor]:
    visitor = Visitor(pages)
    yield visitor
    visitor.close()
    assert visitor.noise == []


@pytest.fixture(scope="session")
def reader(pages: Pages) -> Reader:
    return Reader(pages)


@pytest.fixture
def look(reader: Reader) -> Iterator[Reader]:
    """For a test that leaves nothing on a page but its address."""
    yield reader
    noise, reader.visitor.noise = reader.visitor.noise, []
    assert noise == []


@pytest.fixture
def page(look: Reader, site: Site) -> Page:
    """The everyday page, at the address at which it opens."""
    return look(site.url)


@pytest.fixture
def stripped(hostile: Site, tmp_path: Path) -> str:
    """The hostile page without its Content-Security-Policy: escaping alone must hold."""
    whole = hostile.page.read_text(encoding="utf-8")
    before, _, rest = whole.partition('<meta http-equiv="Content-Security-Policy"')
    assert rest
    bare = tmp_path / "bare.html"
    bare.write_text(before + rest.partition(">")[2], encoding="utf-8")
    return bare.as_uri()
