"""The points where the kills strike are still in the code: else the systems of those tests would not start."""

import importlib
from functools import reduce

import pytest

from .test_kills import killer


@pytest.mark.parametrize("point", list(killer.POINTS))
def test_the_point_is_a_function_of_the_code(point: str) -> None:
    module, path, _ = killer.POINTS[point]
    assert callable(reduce(getattr, path.split("."), importlib.import_module(module)))
