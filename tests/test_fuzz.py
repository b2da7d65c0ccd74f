"""A little of `benchmarks/fuzz.py`: the promises about hostile input, the same few inputs each time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from .fuzzing import promises

FEW, FEWER = 150, 25


@pytest.mark.parametrize("name", sorted(promises()))
def test_hostile_input(name: str) -> None:
    promise = promises()[name]
    profile = settings(
        max_examples=FEWER if promise.costly else FEW,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    profile(given(promise.inputs)(promise.check))()
