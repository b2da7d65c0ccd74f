"""Each mistake of `tests.mutants` is seen by the test that it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .mutants import MUTANTS, ROOT, Stale, mutated, survives


@pytest.mark.parametrize("name", [one.name for one in MUTANTS])
def test_a_mistake_is_seen(name: str) -> None:
    (mutant,) = [one for one in MUTANTS if one.name == name]
    assert not survives(mutant)


def test_a_mutant_of_code_that_is_gone_or_is_there_twice_is_refused() -> None:
    one = MUTANTS[0]
    text = (ROOT / "dicomsync" / one.file).read_text()
    assert mutated(text, one) != text
    for old in ("no such line", "return"):
        with pytest.raises(Stale):
            mutated(text, replace(one, old=old))


def test_a_mutant_that_cannot_even_be_imported_proves_nothing() -> None:
    broken = replace(MUTANTS[0], new="        except:\n  this is no Python")
    assert "pytest ended with" in survives(broken)


def test_a_mutant_that_changes_nothing_survives() -> None:
    assert "pytest ended with 0" in survives(replace(MUTANTS[0], new=MUTANTS[0].old))
