"""What is to be told and when: once, again while it lasts, and when it is over. Moments are any we like."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dicomsync import alerts
from dicomsync.alerts import Alert, Event, Policy
from dicomsync.concerns import Level

NOON = 1_780_000_000.0
DAY = 86_400.0
POLICY = Policy(after_seconds=600.0, repeat_seconds=DAY)

Facts = dict[str, Any]


def concern(
    code: str = "folder-gone", level: str = "wrong", seconds: float | None = 0.0, about: str = "1"
) -> Facts:
    words = f"{code} of {about}" if about else code
    todo = "dicomsync doctor -c FILE"
    return {"code": code, "level": level, "words": words, "seconds": seconds, "todo": todo, "about": about}


def facts(*found: Facts) -> Facts:
    """Judged facts that hold these concerns, the worst first."""
    level = found[0]["level"] if found else "well"
    daemon = {"up_seconds": 9000.0}
    return {
        "level": level,
        "headline": "All.",
        "concerns": list(found),
        "folders": [],
        "certificates": {},
        "daemon": daemon,
    }


class Story:
    """A webhook that takes everything, and a clock that is set by hand."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.known: tuple[Alert, ...] = ()

    def at(self, seconds: float, *found: Facts) -> list[tuple[str, str]]:
        """Say what is told at noon and so many seconds, as these concerns are there."""
        wall = NOON + seconds
        self.known = alerts.follow(self.known, facts(*found), wall, self.policy)
        news = alerts.due(self.known, wall, self.policy)
        self.known = alerts.told(self.known, news, wall)
        return [(one.event.value, one.alert.code) for one in news]

    def restart(self) -> None:
        self.known = alerts.loaded(alerts.dumped(self.known))


def test_what_lasts_is_told_once_then_again_and_then_that_it_is_over() -> None:
    story = Story()
    assert story.at(0, concern()) == []
    assert story.at(599, concern(seconds=599)) == []
    assert story.at(600, concern(seconds=600)) == [("new", "folder-gone")]
    assert story.at(605, concern(seconds=605)) == []
    assert story.at(600 + DAY - 1, concern(seconds=DAY)) == []
    assert story.at(600 + DAY, concern(seconds=DAY)) == [("still", "folder-gone")]
    assert story.at(700 + DAY) == []
    assert story.at(700 + DAY + alerts.OVER_SECONDS) == [("over", "folder-gone")]
    assert story.known == ()


def test_what_passes_by_itself_is_never_told() -> None:
    story = Story()
    assert story.at(0, concern()) == []
    assert story.at(300) == []
    assert story.at(900, concern()) == []
    assert story.at(5000) == []


def test_what_was_so_for_long_when_first_seen_is_told_at_once() -> None:
    assert Story().at(0, concern(seconds=3600)) == [("new", "folder-gone")]


def test_a_concern_that_does_not_say_since_when_counts_from_when_it_was_first_seen() -> None:
    story = Story()
    assert story.at(0, concern("ledger-disk", seconds=None)) == []
    assert story.at(600, concern("ledger-disk", seconds=None)) == [("new", "ledger-disk")]


def test_what_comes_and_goes_is_one_alert_and_no_storm() -> None:
    story = Story()
    assert story.at(0, concern(seconds=600)) == [("new", "folder-gone")]
    told = []
    for second in range(5, 3600, 5):
        there = [concern()] if second // 60 % 2 else []
        told += story.at(second, *there)
    assert told == []


def test_what_gets_worse_is_told_at_once_and_what_gets_better_is_not() -> None:
    story = Story()
    mild, grave = concern("ledger-disk", "person", 600), concern("ledger-disk", "wrong", 600)
    assert story.at(0, mild) == [("new", "ledger-disk")]
    assert story.at(5, grave) == [("worse", "ledger-disk")]
    assert story.at(10, mild) == []
    assert story.at(15, grave) == []


def test_two_folders_are_two_alerts_and_an_archive_whose_trouble_turns_is_one() -> None:
    story = Story()
    both = [concern(seconds=600, about="1"), concern(seconds=600, about="2")]
    assert story.at(0, *both) == [("new", "folder-gone"), ("new", "folder-gone")]
    story = Story()
    assert story.at(0, concern("archive-unreachable", seconds=600, about="")) == [
        ("new", "archive-unreachable")
    ]
    assert story.at(5, concern("archive-failing", seconds=605, about="")) == []
    assert story.at(10) == []
    assert story.at(500) == [("over", "archive-failing")]


@pytest.mark.parametrize(
    ("least", "told"), [("wrong", ["a"]), ("person", ["a", "b"]), ("note", ["a", "b", "c"])]
)
def test_only_what_is_bad_enough_is_told(least: str, told: list[str]) -> None:
    story = Story(replace(POLICY, least=Level(least)))
    found = [concern("a", "wrong", 600), concern("b", "person", 600), concern("c", "note", 600)]
    assert [code for _, code in story.at(0, *found)] == told


def test_that_the_webhook_takes_nothing_is_not_told_by_the_webhook_and_the_heartbeat_is() -> None:
    failing = [concern(code, "person", 600, "") for code in ("alerts-unsent", "heartbeat-unsent")]
    assert Story().at(0, *failing) == [("new", "heartbeat-unsent")]


def test_what_is_only_hidden_by_its_cause_is_not_told_to_be_over() -> None:
    story = Story()
    away = concern("archive-unreachable", seconds=0, about="")
    assert story.at(0, concern("late", seconds=600, about="")) == [("new", "late")]
    assert story.at(5, away) == []
    assert story.at(500, away) == []
    assert story.at(505, concern("late", seconds=1105, about="")) == []
    assert story.at(510) == []
    assert story.at(700) == [("over", "late")]


def test_a_restart_repeats_nothing_and_forgets_nothing() -> None:
    story = Story()
    assert story.at(0, concern(seconds=600)) == [("new", "folder-gone")]
    story.restart()
    assert story.at(60, concern(seconds=660)) == []
    story.restart()
    assert story.at(DAY, concern(seconds=DAY)) == [("still", "folder-gone")]
    story.restart()
    assert story.at(DAY + 5) == []
    story.restart()
    assert story.at(DAY + 600) == [("over", "folder-gone")]


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '[{"code": 1}]', "[[]]", '"x"', "5", "[{}]"])
def test_a_memory_that_makes_no_sense_is_none(text: str | None) -> None:
    assert alerts.loaded(text) == ()


def test_a_clock_that_is_set_back_neither_silences_nor_repeats() -> None:
    story = Story()
    assert story.at(0, concern(seconds=600)) == [("new", "folder-gone")]
    assert story.at(-100 * DAY, concern(seconds=600)) == []
    assert story.at(-99 * DAY, concern(seconds=600)) == [("still", "folder-gone")]


def test_what_nobody_took_is_told_as_it_is_when_somebody_does() -> None:
    known: tuple[Alert, ...] = ()
    for second in (0, 30, 90):
        known = alerts.follow(known, facts(concern(seconds=600)), NOON + second, POLICY)
        assert [one.event for one in alerts.due(known, NOON + second, POLICY)] == [Event.NEW]
    known = alerts.follow(known, facts(), NOON + 95, POLICY)
    assert known == ()


@pytest.mark.parametrize(
    ("level", "beats"), [("well", True), ("note", True), ("person", True), ("wrong", False)]
)
def test_a_heart_beats_unless_images_are_not_stored(level: str, beats: bool) -> None:
    assert alerts.beats({"level": level}) is beats


def news() -> tuple[alerts.News, ...]:
    over = Alert(
        "conflict", "", "person", "3 instances in conflict", "x", NOON - 7200, "person", NOON, NOON - 3600
    )
    gone = Alert(
        "folder-gone", "1", "wrong", "folder 1 cannot be read", "dicomsync doctor -c FILE", NOON - 720
    )
    return (alerts.News(Event.NEW, gone), alerts.News(Event.OVER, over))


def test_a_person_reads_the_gravest_first_with_the_command_that_helps() -> None:
    assert alerts.text(news(), "All is well.", "CT north", NOON).splitlines() == [
        "dicomsync CT north: WRONG, for 12 min: folder 1 cannot be read",
        "  dicomsync doctor -c FILE",
        "dicomsync CT north: OVER, after 1 h: 3 instances in conflict",
        "Now: All is well.",
    ]


def test_a_program_gets_all_of_it_in_json() -> None:
    media, content = alerts.body(news(), facts(concern()), "CT north", NOON, "json")
    told = json.loads(content)
    assert media == "application/json"
    assert told["alerts"][0] == {
        "event": "new",
        "code": "folder-gone",
        "about": "1",
        "level": "wrong",
        "words": "folder 1 cannot be read",
        "seconds": 720.0,
        "todo": "dicomsync doctor -c FILE",
    }
    assert (told["schema"], told["name"], told["level"], told["at"]) == (1, "CT north", "wrong", NOON)
    assert told["text"].startswith("dicomsync CT north: WRONG")


def test_a_chat_gets_its_text_alone_and_a_plain_receiver_plain_words() -> None:
    assert list(json.loads(alerts.body(news(), facts(), "", NOON, "chat")[1])) == ["text"]
    media, content = alerts.body(news(), facts(), "", NOON, "text")
    assert media.startswith("text/plain")
    assert content.startswith(b"dicomsync: WRONG")


@pytest.mark.parametrize("form", ["json", "chat", "text"])
def test_a_test_says_that_it_is_one(form: str) -> None:
    assert b"this is a test" in alerts.trial_body("CT", NOON, form)[1]


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("level", ["wrong", "person", "note"])
def test_every_kind_of_news_has_words(event: Event, level: str) -> None:
    one = alerts.News(
        event, Alert("held", "", level, "3 files held", "explain", NOON - 60, level, NOON, None)
    )
    assert "3 files held" in alerts.text([one], "All.", "", NOON)


def test_the_headline_is_left_out_where_it_would_say_the_same_again() -> None:
    one = news()[:1]
    assert "Now:" not in alerts.text(one, "Folder 1 cannot be read (for 12 min).", "", NOON)
    assert "Now:" in alerts.text(one, "The ledger cannot be written. And 1 other thing.", "", NOON)
