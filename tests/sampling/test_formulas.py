"""Formulas: every operation is what its definition says."""

from __future__ import annotations

import numpy as np
import pytest
from formula_interpreter import by_definition

from smile_synth.sampling.formulas import OPERATIONS, Formula


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_its_definition_says(name: str) -> None:
    x, y = np.linspace(-3, 3, 70, dtype=np.float32), np.linspace(-2, 2, 9, dtype=np.float32)
    constants_TN3 = np.array([[[0.7, -0.4, 0.2]], [[-1.3, 0.9, 0.6]]], np.float32)
    values = Formula(np.array([[OPERATIONS.index(name), 0, 1]]), constants_TN3, np.array([2, 1])).values(x, y)
    a, b = np.meshgrid(x.astype(float), y.astype(float))
    for t in range(2):
        np.testing.assert_allclose(values[0, t], by_definition(name, a, b, *constants_TN3[t, 0].tolist()), atol=0.003)
        np.testing.assert_array_equal(values[1, t], b.astype(np.float32))
