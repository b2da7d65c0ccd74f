"""How much at once: requests on their way, and how large, as an archive and the way to it stand it. Pure.

As TCP finds its window: at the start twice as many go as long as that makes it faster, later one more; half
as many when the archive is in trouble or has become slow, one less while it is us who are slow. A window is a
value; each answer gives the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_REQUESTS = 4  # what suits most archives; found again after a restart within a few answers
ROUND_ANSWERS = 2  # times the requests on their way: so many answers are a round, and one round is compared
START_ANSWERS = 1  # the same while it starts: 2,000 CT over 50 ms are there 6 % sooner
GAIN = 0.4  # of what more requests could bring they must bring to be kept: less is noise
START_GAIN = 0.2  # the same of twice as many, which bring 1.3 to 1.4 times as much from 50 ms away
REST_ROUNDS = 8  # between two trials of more that made nothing faster
SLOW = 0.5  # of the rate of before: that is not noise, the archive has become slow
OURS = 0.3  # of its time an answer waits for us: more requests would only crowd our processor
MANY = 20  # instances: with fewer it is our disk that is waited for, and answers share its commits
FEWEST = 2  # requests that are left then: one is read while the other one is answered
LONG_SECONDS = 30.0  # a request that takes longer is too large: all of it is lost when it breaks off
SMALLEST_SHARE = 1 / 64
SHARE_STEP = 1 / 8
INSTANCE_BYTES = 500_000  # an instance costs an archive about as much as so many bytes (Orthanc: 1.7 ms each)


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that was answered: what it held, how long it took, and how many were on their way.

    `waited_seconds` of that it waited for us: to begin, or for its answer to be recorded.
    """

    instances: int
    size_bytes: int
    seconds: float
    abreast: int
    waited_seconds: float = 0.0

    @property
    def waited_for_us(self) -> bool:
        """Whether it is our processor that is slow, and not the archive."""
        return self.instances >= MANY and self.waited_seconds > OURS * self.seconds


@dataclass(frozen=True, slots=True)
class Window:
    """How many requests may be on their way (`requests`, `most` at most), and which share of a full batch.

    `rate` is what the archive took (bytes a second) with the `proved` requests; while there are more than
    those, they are on trial. It is `starting` until a trial has failed, `most` go, the archive was in trouble
    or we were slow. The rest is the present round.
    """

    most: int
    requests: int
    proved: int
    share: float = 1.0
    rate: float = 0.0
    rests: int = 0
    starting: bool = True
    answers: int = 0
    taken_bytes: float = 0.0
    seconds: float = 0.0

    @classmethod
    def first(cls, most: int) -> Window:
        """Begin with what suits most archives."""
        few = min(most, FIRST_REQUESTS)
        return cls(most, few, few)

    def after(self, one: Answered) -> Window:
        """Say what an answer makes of the window; one that came while it was not full says nothing of it."""
        window = self._sized(one.seconds)
        if one.abreast < self.requests:
            return window
        if one.waited_for_us and self.requests > FEWEST:
            few = self.requests - 1
            return Window(self.most, few, few, window.share, rests=REST_ROUNDS, starting=False)
        if one.abreast > self.requests:  # it began while more went, which says nothing of so few
            return window
        window = replace(
            window,
            answers=window.answers + 1,
            taken_bytes=window.taken_bytes + one.size_bytes + INSTANCE_BYTES * one.instances,
            seconds=window.seconds + max(one.seconds, 0.001),
        )
        each = START_ANSWERS if window.starting else ROUND_ANSWERS
        if window.answers < each * window.requests:
            return window
        # requests on their way, over what each of them takes: what the archive takes of all together
        return window._judged(window.requests * window.taken_bytes / window.seconds)

    def troubled(self) -> Window:
        """Say what a request refused for want of resources (429, 503), or without an answer, makes of it."""
        return self._halved(max(SMALLEST_SHARE, self.share / 2))

    def _sized(self, seconds: float) -> Window:
        if seconds > LONG_SECONDS:
            return replace(self, share=max(SMALLEST_SHARE, self.share / 2))
        if self.share < 1.0 and seconds < LONG_SECONDS / 2:
            return replace(self, share=min(1.0, self.share + SHARE_STEP))
        return self

    def _judged(self, rate: float) -> Window:
        """Say what a round makes of the window."""
        fresh = replace(self, answers=0, taken_bytes=0.0, seconds=0.0)
        if rate < SLOW * self.rate:
            return fresh._halved(self.share)
        added = self.requests - self.proved
        gain = START_GAIN if self.starting else GAIN
        if added > 0 and rate < self.rate * (1 + gain * added / self.proved):
            return replace(fresh, requests=self.proved, rests=REST_ROUNDS, starting=False)
        proved = replace(fresh, proved=self.requests, rate=rate, rests=max(0, self.rests - 1))
        if self.rests > 0:
            return proved
        tried = min(self.most, 2 * self.requests if self.starting else self.requests + 1)
        return replace(proved, requests=tried, starting=self.starting and tried > self.requests)

    def _halved(self, share: float) -> Window:
        few = max(1, self.proved // 2)
        return Window(self.most, few, few, share, rests=1, starting=False)
