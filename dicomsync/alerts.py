"""What is to be told to whom is not looking: from concerns, what was told before, and the moment. Pure.

A concern that lasts is told once, told again each `repeat_seconds` and where it gets worse, and told to be
over. Nothing here knows who is told, or how: what was told is what a receiver has taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from dicomsync import concerns, words
from dicomsync.concerns import Level

Facts = dict[str, Any]

SCHEMA = 1
OVER_SECONDS = 120.0  # what comes back within it was never over
UNTOLD = "alerts-unsent"  # by the very webhook that does not take them


class Event(StrEnum):
    """Why something is told now."""

    NEW = "new"
    WORSE = "worse"
    STILL = "still"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Policy:
    """Which concerns are told (`least` is the mildest level), after how long, and how often again."""

    least: Level = Level.PERSON
    after_seconds: float = 600.0
    repeat_seconds: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One concern as it was last seen, and what was told of it. Moments are wall seconds.

    `told_level` is "" until it was told; `gone_at` since when it is not there any more.
    """

    code: str
    about: str
    level: str
    words: str
    todo: str
    since: float
    told_level: str = ""
    told_at: float = 0.0
    gone_at: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Tell it from all others. What is wrong with the archive is one alert, whatever it turns into."""
        return ("archive" if self.code.startswith("archive-") else self.code, self.about)


@dataclass(frozen=True, slots=True)
class News:
    """One alert, and why it is told now."""

    event: Event
    alert: Alert


def follow(known: Iterable[Alert], facts: Facts, wall: float, policy: Policy) -> tuple[Alert, ...]:
    """Give the alerts as they are now, from those of before and the judged facts."""
    before = {one.key: one for one in known}
    now: dict[tuple[str, str], Alert] = {}
    for concern in facts["concerns"]:
        found = _alert(concern, wall)
        if _worse(policy.least, found.level) or found.code == UNTOLD or found.key in now:
            continue  # the worst of them comes first
        old = before.get(found.key)
        if old is not None:
            kept = replace(found, since=min(old.since, wall))
            found = replace(kept, told_level=old.told_level, told_at=min(old.told_at, wall))
        now[found.key] = found
    for key, old in before.items():
        if key not in now and old.told_level:
            gone_at = min(wall if old.gone_at is None else old.gone_at, wall)
            hidden = concerns.unknown(old.code, old.about, facts)
            now[key] = replace(old, gone_at=None if hidden else gone_at)
    return tuple(now.values())


def _alert(concern: Mapping[str, Any], wall: float) -> Alert:
    return Alert(
        concern["code"],
        concern["about"],
        concern["level"],
        concern["words"],
        concern["todo"],
        wall - (concern["seconds"] or 0.0),
    )


def _worse(level: str, than: str) -> bool:
    order = [one.value for one in Level]
    return order.index(level) < order.index(than)


def due(alerts: Iterable[Alert], wall: float, policy: Policy) -> tuple[News, ...]:
    """Say what is to be told now, the worst first and what is over last."""
    found = [News(event, one) for one in alerts if (event := _event(one, wall, policy)) is not None]
    levels = [level.value for level in Level]
    return tuple(sorted(found, key=lambda one: (one.event is Event.OVER, levels.index(one.alert.level))))


def _event(one: Alert, wall: float, policy: Policy) -> Event | None:
    if one.gone_at is not None:
        return Event.OVER if wall - one.gone_at >= OVER_SECONDS else None
    if not one.told_level:
        return Event.NEW if wall - one.since >= policy.after_seconds else None
    if _worse(one.level, one.told_level):
        return Event.WORSE
    return Event.STILL if wall - one.told_at >= policy.repeat_seconds else None


def told(alerts: Iterable[Alert], news: Iterable[News], wall: float) -> tuple[Alert, ...]:
    """Give the alerts once a receiver has taken this news: what is over is forgotten."""
    said = {one.alert.key: one for one in news}
    return tuple(
        replace(one, told_level=one.level, told_at=wall) if one.key in said else one
        for one in alerts
        if one.key not in said or said[one.key].event is not Event.OVER
    )


def beats(facts: Facts) -> bool:
    """Say whether a heartbeat may be sent: images are being stored, whatever waits for a person."""
    return bool(facts["level"] != Level.WRONG)


def dumped(alerts: Iterable[Alert]) -> str:
    """Give what was told as text, to outlive a restart; what was not is found again."""
    return json.dumps([asdict(one) for one in alerts if one.told_level])


def loaded(text: str | None) -> tuple[Alert, ...]:
    """Read what was told; nothing where it makes no sense."""
    try:
        return tuple(Alert(**one) for one in json.loads(text or "[]"))
    except (ValueError, TypeError):
        return ()


# what is said


def body(news: Sequence[News], facts: Facts, name: str, wall: float, form: str) -> tuple[str, bytes]:
    """Give media type and bytes of what is posted: `json` has it all, `chat` and `text` the words alone."""
    told = text(news, facts["headline"], name, wall)
    values = {
        "schema": SCHEMA,
        "source": "dicomsync",
        "name": name,
        "at": round(wall, 3),
        "level": facts["level"],
        "headline": facts["headline"],
        "alerts": [_values(one, wall) for one in news],
        "text": told,
    }
    return packed(values, form)


def trial_body(name: str, wall: float, form: str) -> tuple[str, bytes]:
    """Give the same of a test: there is nothing to tell but that it arrives."""
    told = f"{_site(name)}: this is a test. Alerts arrive here; nothing needs to be done."
    values = {"schema": SCHEMA, "source": "dicomsync", "name": name, "at": round(wall, 3), "level": "test"}
    return packed(values | {"headline": "This is a test.", "alerts": [], "text": told}, form)


def packed(values: Mapping[str, Any], form: str) -> tuple[str, bytes]:
    """Put it into the form that a receiver takes."""
    if form == "text":
        return "text/plain; charset=utf-8", str(values["text"]).encode()
    if form == "chat":
        values = {"text": values["text"]}
    return "application/json", json.dumps(values).encode()


def _values(one: News, wall: float) -> dict[str, Any]:
    alert = one.alert
    return {
        "event": one.event.value,
        "code": alert.code,
        "about": alert.about,
        "level": alert.level,
        "words": alert.words,
        "seconds": round(_seconds(alert, wall), 3),
        "todo": alert.todo,
    }


def _seconds(alert: Alert, wall: float) -> float:
    """Say how long it has been so, or was."""
    return max(0.0, (wall if alert.gone_at is None else alert.gone_at) - alert.since)


def _site(name: str) -> str:
    return f"dicomsync {name}".strip()


_HEADS = {
    (Event.NEW, Level.WRONG): "WRONG",
    (Event.WORSE, Level.WRONG): "WRONG",
    (Event.STILL, Level.WRONG): "STILL WRONG",
    (Event.STILL, Level.PERSON): "STILL WAITS FOR A PERSON",
}


def text(news: Sequence[News], headline: str, name: str, wall: float) -> str:
    """Say it to a person on a phone: the gravest in the first line, each with the command that helps."""
    lines = []
    for one in news:
        alert = one.alert
        lasted = words.span(_seconds(alert, wall))
        if one.event is Event.OVER:
            lines.append(f"{_site(name)}: OVER, after {lasted}: {alert.words}")
            continue
        head = _HEADS.get((one.event, Level(alert.level)))
        head = head or {"person": "WAITS FOR A PERSON", "note": "NOTE"}[alert.level]
        lines += [f"{_site(name)}: {head}, for {lasted}: {alert.words}", f"  {alert.todo}"]
    repeats = len(news) == 1 and headline.lower().startswith(news[0].alert.words.lower())
    return "\n".join(lines if repeats else [*lines, f"Now: {headline}"])
