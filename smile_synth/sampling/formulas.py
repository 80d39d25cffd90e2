"""Formulas over the plane: a few smooth operations, composed at random by whoever needs a pattern, and compiled.

Only + - * / and square roots are used, whose rounding IEEE 754 defines: the same bytes on any host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined

# An instruction makes a register of two earlier ones, a and b, and of three constants, p, q and r.
OPERATIONS = (
    "mix",  # p a + q b + r
    "wave",  # sine of p a + q b + r turns
    "product",  # a b
    "bump",  # 1 / (1 + (p a + r)^2)
    "edge",  # a soft step of p a + r, from -1 to 1
    "length",  # of (a - p, b - q)
    "fold",  # a soft |a| + r
    "bend",  # a + p times the sine of q b + r turns
)
MIX, WAVE, PRODUCT, BUMP, EDGE, LENGTH, FOLD, BEND = range(len(OPERATIONS))
X, Y = 0, 1
FOLD_SOFTNESS = 0.02
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Formula:
    """A program for every pixel: instructions, each of which makes a register, and their constants.

    Args:
        code_N3: int64 (N, 3); operation, and the registers a and b; instruction n makes register n + 2, after x and y.
        constants_TN3: float32 (1 or T, N, 3); p, q and r in every frame.
        outputs_2: int64 (2,); the registers that are wanted.
    """

    code_N3: npt.NDArray[np.int64]
    constants_TN3: Floats
    outputs_2: npt.NDArray[np.int64]

    def values(self, x_W: Floats, y_H: Floats) -> Floats:
        """Return the two outputs at every crossing of columns and rows, float32 (2, T, H, W)."""
        values_2THW = np.empty((2, len(self.constants_TN3), len(y_H), len(x_W)), np.float32)
        run_formula(values_2THW, self.code_N3, self.constants_TN3, self.outputs_2, x_W, y_H)
        return values_2THW


@inlined
def _sine(turns: Any) -> Any:
    """Return the sine of an angle in turns, to 0.002: a parabola, corrected."""
    part = turns - np.floor(turns + np.float32(0.5))
    arch = part * (np.float32(8) - np.float32(16) * abs(part))
    return arch * (np.float32(0.775) + np.float32(0.225) * abs(arch))


@inlined
def _apply(operation: int, a_W: Floats, b_W: Floats, p: Any, q: Any, r: Any, out_W: Floats) -> None:
    """Make one register of a row, in loops that the compiler makes vectors."""
    one, soft = np.float32(1), np.float32(FOLD_SOFTNESS)
    n = len(out_W)
    if operation == MIX:
        for i in range(n):
            out_W[i] = p * a_W[i] + q * b_W[i] + r
    elif operation == WAVE:
        for i in range(n):
            out_W[i] = _sine(p * a_W[i] + q * b_W[i] + r)
    elif operation == PRODUCT:
        for i in range(n):
            out_W[i] = a_W[i] * b_W[i]
    elif operation == BUMP:
        for i in range(n):
            scaled = p * a_W[i] + r
            out_W[i] = one / (one + scaled * scaled)
    elif operation == EDGE:
        for i in range(n):
            scaled = p * a_W[i] + r
            out_W[i] = scaled / np.sqrt(one + scaled * scaled)
    elif operation == LENGTH:
        for i in range(n):
            x, y = a_W[i] - p, b_W[i] - q
            out_W[i] = np.sqrt(x * x + y * y)
    elif operation == FOLD:
        for i in range(n):
            out_W[i] = np.sqrt(a_W[i] * a_W[i] + soft) + r
    else:
        for i in range(n):
            out_W[i] = a_W[i] + p * _sine(q * b_W[i] + r)


@entry_point("void(float32[:,:,:,::1], int64[:,::1], float32[:,:,::1], int64[::1], float32[::1], float32[::1])")
def run_formula(
    values_2THW: Floats,
    code_N3: npt.NDArray[np.int64],
    constants_TN3: Floats,
    outputs_2: npt.NDArray[np.int64],
    x_W: Floats,
    y_H: Floats,
) -> None:
    """Compute a formula for every pixel of every frame.

    Args:
        values_2THW: float32 (2, T, H, W), written.
        code_N3, constants_TN3, outputs_2: see ``Formula``.
        x_W, y_H: coordinates of columns and rows.
    """
    registers = np.empty((len(code_N3) + 2, len(x_W)), np.float32)
    for t in range(len(constants_TN3)):
        for row in range(len(y_H)):
            for i in range(len(x_W)):
                registers[X, i] = x_W[i]
                registers[Y, i] = y_H[row]
            for n in range(len(code_N3)):
                _apply(
                    code_N3[n, 0], registers[code_N3[n, 1]], registers[code_N3[n, 2]],
                    constants_TN3[t, n, 0], constants_TN3[t, n, 1], constants_TN3[t, n, 2], registers[n + 2],
                )  # fmt: skip
            for k in range(2):
                for i in range(len(x_W)):
                    values_2THW[k, t, row, i] = registers[outputs_2[k], i]
