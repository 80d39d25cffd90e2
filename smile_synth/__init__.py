"""smile-synth: pretrain video models with no natural video.

Axis letters, used as suffixes of array names throughout (``frames_BTHWC``):

=====  =======================================================
B      clips in a batch
T      frames of a clip
H, W   rows and columns, in pixels
C      channels
N      tokens of a clip, time-major: tubelet, then row, then column
D      embedding dimension
K      object slots of a clip, in painter's order
=====  =======================================================

``is_masked`` is True where the student does NOT see a token.
Boxes are ``xyxy`` in canvas pixels, edges (not pixel centres); pixel (row i, column j) covers [j, j+1) x [i, i+1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_synth.interop.encoder import load_encoder

__version__ = "0.1.0"

__all__ = ["__version__", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for, so that the command line starts quickly."""
    if name == "load_encoder":
        from smile_synth.interop.encoder import load_encoder

        return load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
