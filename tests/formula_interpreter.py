"""Formulas once more in plain numpy, with numpy's own sine."""

from __future__ import annotations

import numpy as np

from smile_synth.sampling.formulas import FOLD_SOFTNESS, OPERATIONS, Formula

Doubles = np.ndarray


def by_definition(name: str, a: Doubles, b: Doubles, p: float, q: float, r: float) -> Doubles:
    """Return what the comments beside OPERATIONS say of an operation."""
    wave = lambda turns: np.sin(2 * np.pi * turns)  # noqa: E731
    values: Doubles = {
        "mix": p * a + q * b + r,
        "wave": wave(p * a + q * b + r),
        "product": a * b,
        "bump": 1 / (1 + (p * a + r) ** 2),
        "edge": (p * a + r) / np.sqrt(1 + (p * a + r) ** 2),
        "length": np.hypot(a - p, b - q),
        "fold": np.sqrt(a**2 + FOLD_SOFTNESS) + r,
        "bend": a + p * wave(q * b + r),
    }[name]
    return values


def interpreted(formula: Formula, frame: int, x: Doubles, y: Doubles) -> list[Doubles]:
    """Return the two outputs of a formula in one frame, each (H, W)."""
    registers = [*np.meshgrid(x.astype(float), y.astype(float))]
    for (operation, a, b), constants in zip(formula.code_N3, formula.constants_TN3[frame], strict=True):
        registers.append(by_definition(OPERATIONS[operation], registers[a], registers[b], *constants.tolist()))
    return [registers[output] for output in formula.outputs_2]
