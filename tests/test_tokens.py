"""A token is renewed ahead of its end and when it is rejected, by one thread at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dicomsync.dicomweb.tokens import Renewing, Token
from dicomsync.errors import NoAnswer, SecretProblem

from .conftest import eventually

HOUR = 3600.0


class Mint:
    """Gives tokens of a set age and life, as often as it is asked; may be held up, or fail."""

    def __init__(self, *ages_seconds: float, life_seconds: float = HOUR) -> None:
        self.ages_seconds = list(ages_seconds)
        self.life_seconds = life_seconds
        self.made = 0
        self.at_once = self.most_at_once = 0
        self.go = threading.Event()
        self.go.set()
        self.broken = False

    def __call__(self) -> Token:
        self.made += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        number = self.made
        assert self.go.wait(20)
        self.at_once -= 1
        if self.broken:
            raise NoAnswer("unreachable", "no token")
        age = self.ages_seconds.pop(0) if self.ages_seconds else 0.0
        return Token(f"t{number}", time.monotonic() - age, self.life_seconds)


@pytest.mark.parametrize(
    ("life_seconds", "lead_seconds"), [(3600, 300), (1500, 300), (600, 120), (60, 12), (1, 0.2), (0, 0)]
)
def test_a_token_is_renewed_five_minutes_ahead_or_at_four_fifths_of_a_short_life(
    life_seconds: float, lead_seconds: float
) -> None:
    token = Token("t", 1000.0, life_seconds)
    assert token.expires_at == 1000.0 + life_seconds
    assert token.expires_at - token.renew_at == pytest.approx(lead_seconds)


def test_no_promise_of_more_than_a_day_is_relied_on() -> None:
    assert Token("t", 0.0, 1e9).expires_at == 24 * HOUR


def test_a_good_token_is_given_again_and_one_near_its_end_or_past_it_is_renewed() -> None:
    mint = Mint(0.0)
    tokens = Renewing(mint)
    assert [tokens.token().value for _ in range(5)] == ["t1"] * 5
    for age in (HOUR - 299, HOUR + 1):
        mint = Mint(age)
        tokens = Renewing(mint)
        assert [tokens.token().value for _ in range(3)] == ["t1", "t2", "t2"]


def test_threads_that_need_a_token_at_once_share_one_renewal() -> None:
    mint = Mint()
    mint.go.clear()
    tokens = Renewing(mint)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(tokens.token) for _ in range(8)]
        eventually(lambda: mint.made)
        mint.go.set()
        assert {one.result(20).value for one in asked} == {"t1"}
    assert (mint.made, mint.most_at_once) == (1, 1)


def test_while_one_thread_renews_ahead_the_others_go_on_with_the_old_token() -> None:
    mint = Mint(HOUR - 60)
    tokens = Renewing(mint)
    assert tokens.token().value == "t1"
    mint.go.clear()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(tokens.token)
        eventually(lambda: mint.made == 2)
        assert tokens.token().value == "t1", "and nobody waits"
        mint.go.set()
        assert renewing.result(20).value == "t2"
    assert tokens.token().value == "t2"


def test_a_renewal_ahead_that_fails_harms_nobody_and_is_not_tried_with_every_request() -> None:
    mint = Mint(HOUR - 60)
    tokens = Renewing(mint)
    tokens.token()
    mint.broken = True
    assert [tokens.token().value for _ in range(9)] == ["t1"] * 9
    assert mint.made == 2


def test_without_a_good_token_a_failed_renewal_is_told_and_the_next_request_tries_again() -> None:
    mint = Mint(HOUR + 1)
    tokens = Renewing(mint)
    tokens.token()
    mint.broken = True
    for _ in range(2):
        with pytest.raises(NoAnswer):
            tokens.token()
    mint.broken = False
    assert tokens.token().value == "t4"


def test_all_who_waited_for_a_renewal_that_fails_are_told_by_that_one() -> None:
    mint = Mint()
    mint.broken = True
    mint.go.clear()
    tokens = Renewing(mint)
    waiting: list[int] = []

    def ask() -> Token:
        waiting.append(1)
        return tokens.token()

    with ThreadPoolExecutor(4) as pool:
        asked: list[Future[Token]] = [pool.submit(ask) for _ in range(4)]
        eventually(lambda: len(waiting) == 4 and mint.made == 1)
        time.sleep(0.05)  # from saying so to standing at the lock is a moment
        mint.go.set()
        assert all(isinstance(one.exception(20), NoAnswer) for one in asked)
    assert mint.made == 1


def test_a_rejected_token_is_renewed_once_by_whoever_comes_first() -> None:
    mint = Mint()
    tokens = Renewing(mint)
    first = tokens.token().value
    with ThreadPoolExecutor(4) as pool:
        assert {one.value for one in pool.map(tokens.instead_of, [first] * 4)} == {"t2"}
    assert (mint.made, mint.most_at_once) == (2, 1)
    assert tokens.token().value == "t2"
    assert tokens.instead_of("t1").value == "t2", "a late word about the old one"
    assert tokens.instead_of("t2").value == "t3", "and a rejection of the new one"


@pytest.mark.parametrize("value", ["", "a b", "a\r\nX-Evil: 1", "tök", "a\0"])
def test_what_a_header_cannot_carry_is_no_token(value: str) -> None:
    with pytest.raises(SecretProblem, match="no token") as caught:
        Renewing(lambda: Token(value, time.monotonic(), HOUR)).token()
    assert value == "" or value not in str(caught.value)


def test_a_token_is_in_no_repr() -> None:
    assert "zzsecret" not in repr(Token("zzsecret", 0.0, 1.0))
