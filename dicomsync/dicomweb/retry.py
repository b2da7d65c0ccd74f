"""Short retries: of a request that never began, within seconds. Long ones are the ledger's business."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import count
from typing import Final, ParamSpec, TypeVar

from ..errors import NoAnswer

_FIRST_WAIT_SECONDS: Final = 0.25
_LONGEST_WAIT_SECONDS: Final = 5.0

P = ParamSpec("P")
T = TypeVar("T")


def safe_to_repeat(error: BaseException) -> bool:
    """Say whether a request can be made again: no answer, and no byte of a body was taken.

    A Store has then not begun. What has no body changes nothing, or (Delete) nothing more, by being repeated.
    """
    return isinstance(error, NoAnswer) and error.sent_bytes == 0 and error.why in ("unreachable", "broken")


def short_retries(tries: int, seconds: float, ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Ask, and repeat what is safe to repeat: at most `tries` times, begun within `seconds`.

    The last error is raised as it is. What is called must make its body anew each time.

    A loop and not tenacity, which keeps each error in a circle with its traceback, and so the body of the
    request, until garbage is collected; for one that succeeds it takes 50 µs.
    """
    began = time.monotonic()
    for tried in count(1):
        try:
            return ask(*args, **kwargs)
        except NoAnswer as error:
            longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (tried - 1))
            wait_seconds = random.uniform(0, longest)  # noqa: S311 - so that not all come at once
            is_late = time.monotonic() + wait_seconds - began >= seconds
            if tried >= tries or is_late or not safe_to_repeat(error):
                raise
        time.sleep(wait_seconds)
    raise AssertionError  # the loop has no end
