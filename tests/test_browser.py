"""The page in a real Chromium: live, loud when something is wrong, and its own all the way down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomsync.model import InstanceState

from . import browser
from .browser import Tab
from .conftest import need
from .lookout import MARKERS, OUTAGE, TOKEN, Post, posted, serving

S = InstanceState

pytestmark = pytest.mark.browser

NOW = "document.dispatchEvent(new Event('visibilitychange'))"
"""What has the page look at once, as when a person comes back to it; it would by itself, every 5 s."""


@pytest.fixture(scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    need(browser.missing())
    with browser.opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(_browser: Tab) -> Tab:
    """A tab that has seen nothing yet."""
    _browser.screen(1280, 900)
    _browser.open("data:text/html,<main id=live></main>")
    _browser.requests.clear()
    _browser.complaints.clear()
    return _browser


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """A daemon at work, with one study stored."""
    with posted(tmp_path / "post") as one:
        one.put(S.STORED, n=12)
        one.tell()
        yield one


def wrong(post: Post) -> None:
    """Let everything go wrong."""
    post.put(S.CONFLICT, "differs", n=2, study=3)
    post.put(S.MISSED, "left", study=4)
    post.hold("truncated", n=4)
    post.tell(OUTAGE)


def test_it_shows_what_changes_without_being_loaded_again(tab: Tab, post: Post) -> None:
    with serving(post) as web:
        tab.open(web.url)
        assert "All is well: everything that was found is stored." in tab.text()
        tab.say("window.same = true")
        post.put(S.STORED, n=3, study=2)
        post.tell()
        tab.until("document.querySelector('tbody').rows.length === 2")
        wrong(post)
        tab.say(NOW)
        tab.until("document.querySelector('h1').innerText.startsWith('The archive cannot be used')")
        assert tab.say("document.title") == "wrong - dicomsync"
        assert "icon/wrong.svg" in tab.say("document.querySelector('link[rel=icon]').href")
        assert tab.say("window.same")
    assert tab.complaints == []


def test_a_daemon_that_dies_is_shouted(tab: Tab, post: Post) -> None:
    with serving(post) as web:
        tab.open(web.url)
        post.ledger.close()  # and with it goes the lock
        tab.say(NOW)
        tab.until("document.querySelector('h1').innerText.startsWith('No daemon is running')")
        assert tab.say("document.querySelector('.headline').classList.contains('wrong')")
        assert f"dicomsync run -c {post.config}" in tab.text()


def test_a_page_that_gets_no_answer_says_so_and_comes_back_by_itself(tab: Tab, post: Post) -> None:
    with serving(post) as web:
        tab.open(web.url)
        assert tab.say("document.getElementById('away').hidden")
        port = web.url.rstrip("/").rpartition(":")[2]
        assert web.end() == 0
    tab.until("!document.getElementById('away').hidden")
    assert "has not been up to date since" in tab.text()
    assert tab.say("document.title") == "NOT UP TO DATE - dicomsync"
    with serving(post, f'web.listen="127.0.0.1:{port}"'):
        tab.until("document.getElementById('away').hidden")
        assert tab.say("document.title") == "well - dicomsync"


def test_names_are_there_after_a_click_and_gone_after_another(tab: Tab, post: Post) -> None:
    with serving(post, 'web.token_from="env:WEB_TOKEN"') as web:
        tab.open(web.url.replace("http://", f"http://operator:{TOKEN}@"))
        whole = "document.documentElement.outerHTML"
        assert not any(marker in tab.say(whole) for marker in MARKERS)
        tab.click("#names")
        tab.until("document.body.innerText.includes('/data/Doe^Jane')")
        assert "1.2.826.0.1.3680043.1" in tab.text()
        tab.click("#names")
        tab.until("!document.body.innerText.includes('Doe')")
        assert not any(marker in tab.say(whole) for marker in MARKERS)


def test_a_command_that_is_being_copied_stays_selected(tab: Tab, post: Post) -> None:
    wrong(post)
    with serving(post) as web:
        tab.open(web.url)
        tab.click(".todo")
        chosen = tab.say("getSelection().toString()")
        assert chosen.strip() == f"dicomsync doctor -c {post.config}"
        tab.say("window.rounds = 0; window.real = fetch")
        tab.say("window.fetch = async (...all) => { const one = await real(...all); rounds++; return one }")
        for more in (1, 2):  # once the second is back, the first has been dealt with
            tab.say(NOW)
            tab.until(f"window.rounds >= {more}")
        assert tab.say("getSelection().toString()") == chosen


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_can_be_read_on_any_screen_and_asks_nobody_else(
    tab: Tab, post: Post, width: int, dark: bool
) -> None:
    wrong(post)
    with serving(post) as web:
        tab.screen(width, 900, dark=dark)
        tab.open(web.url)
        assert tab.say("document.documentElement.scrollWidth") <= width
        back, front = tab.say(
            "(style => [style.backgroundColor, style.color])(getComputedStyle(document.body))"
        )
        assert (sum(map(int, back[4:-1].split(","))) < sum(map(int, front[4:-1].split(",")))) is dark
        assert tab.say("document.querySelectorAll('svg rect').length") > 0
        assert tab.say("document.querySelector('svg').getBoundingClientRect().height") > 50
        assert {one.startswith(web.url) for one in tab.requests} == {True}
        assert tab.complaints == []
        if where := os.environ.get("DICOMSYNC_PICTURES"):
            tab.picture(Path(where) / f"page-{width}-{'dark' if dark else 'light'}.png")
