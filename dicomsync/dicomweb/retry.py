"""Short retries: of a request that never began, within seconds. Long ones are the ledger's business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

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

    The last error is raised. What is called must make its body anew each time.
    """
    retrying = Retrying(
        retry=retry_if_exception(safe_to_repeat),
        stop=stop_after_attempt(max(1, tries)) | stop_before_delay(seconds),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS),
        reraise=True,
    )
    try:
        return retrying(ask, *args, **kwargs)
    except NoAnswer as error:
        # tenacity keeps it in a circle: with its traceback the request's body would be a part of that, and
        # stay until garbage is collected.
        raise error.with_traceback(None) from None
