"""Cases that follow from a seed and a number alone, drawn by Hypothesis."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st


def drawn(cases: st.SearchStrategy, campaign: int, number: int) -> Any:
    """Return the case with this number.

    Hypothesis tries the simplest value first and draws the second at random, so that one is taken.
    It also draws constants from the modules of this repository that are imported; the process that
    draws imports none of bgformer's, so a change of bgformer changes no case.
    """
    found = []

    @seed(campaign * 1_000_003 + number)
    @settings(
        max_examples=2,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    return found[-1]


def one(weights: dict[Any, int]) -> st.SearchStrategy:
    """Draw one of the keys, each as often as its weight says."""
    return st.sampled_from([name for name, weight in weights.items() for _ in range(weight)])
