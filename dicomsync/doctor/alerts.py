"""Alerts: can they be sent, as it seems; and, if a person wants to know, do they arrive?"""

from __future__ import annotations

import os
import stat
import time

from dicomsync import alerts, dicomweb, receivers
from dicomsync.alerting import Settings
from dicomsync.doctor.check import Check, ok, problem, skipped, warning
from dicomsync.errors import DicomsyncError
from dicomsync.receivers import Receiver


def examine(settings: Settings, *, test: bool) -> list[Check]:
    """Look at webhook and heartbeat; with `test` each is sent something. No URL is shown."""
    found = [one for one in (settings.webhook, settings.heartbeat) if one is not None]
    if not found:
        say = warning if test else ok
        return [say("alerts", "none are configured: nobody is told who does not look")]
    checks = []
    for receiver in found:
        looked = _look(receiver)
        checks.append(looked)
        if test:
            usable = looked.state.value != "problem"
            checks.append(_try(receiver, settings) if usable else _untried(receiver))
    return checks


def _look(receiver: Receiver) -> Check:
    try:
        url = receiver.read()
    except DicomsyncError as error:
        return problem(receiver.name, error.message, error.hint)
    path = receiver.secret.path if receiver.secret else None
    if path is not None:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o027:
            words = f"{path} can be read or changed by others (mode {mode:04o})"
            todo = f"chmod 0640 {path}" if mode & 0o007 else f"chmod g-w {path}"
            return warning(receiver.name, words, todo)
    if not url.lower().startswith("https:") and not dicomweb.is_loopback(url):
        words = "it goes over http: who is on the way can read and forge it"
        return warning(receiver.name, words, "Use https, unless the network is trusted with it.")
    return ok(receiver.name, "its URL can be used")


def _try(receiver: Receiver, settings: Settings) -> Check:
    """Send what says that it is a test; a heartbeat has no words, and counts as one."""
    name = f"{receiver.name} test"
    said: tuple[str, bytes] = ("", b"")
    if receiver.name == "webhook":
        said = alerts.trial_body(settings.name, time.time(), settings.form)
    began = time.monotonic()
    failed = receivers.send(receiver, *said)
    if failed:
        todo = "Is the URL the right one, is its receiver running, and does every firewall let us through?"
        return problem(name, f"it did not arrive: {failed}", todo)
    took = f"{time.monotonic() - began:.1f} s"
    if receiver.name == "heartbeat":
        return ok(name, f"one heartbeat was sent, and taken in {took}: its receiver now counts us as well")
    return ok(name, f"a test alert was sent, and taken in {took}: did it reach you?")


def _untried(receiver: Receiver) -> Check:
    return skipped(f"{receiver.name} test", "not tried: its URL cannot be used")
