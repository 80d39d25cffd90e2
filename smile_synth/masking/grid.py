"""The grid of tokens that a clip is cut into."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from smile_synth.errors import ModelError
from smile_synth.recipe.pretrain import MaskParams
from smile_synth.scene import Canvas


@dataclass(frozen=True)
class TokenGrid:
    """How many tokens a clip has along time, height and width, and how large each of them is.

    Tokens are numbered time-major: tubelet, then row, then column.

    Args:
        tubelets, rows, columns: tokens along time, height and width, at least 1.
        tubelet_size: frames that a token spans, at least 1.
        patch_size: pixels that a token spans along height and along width, at least 1.

    Examples:
        >>> grid = ss.TokenGrid.of(ss.Canvas(32, 32, 8), tubelet_size=4, patch_size=8)
        >>> grid.num_tokens, grid.pixels_per_token
        (32, 768)
    """

    tubelets: int
    rows: int
    columns: int
    tubelet_size: int
    patch_size: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise ModelError(f"a token grid's {name} must be an integer of at least 1, got {value!r}")

    @classmethod
    def of(cls, canvas: Canvas, *, tubelet_size: int, patch_size: int) -> TokenGrid:
        """Return the grid of a canvas.

        Raises:
            ModelError: patches or tubelets do not divide the canvas.
        """
        if canvas.num_frames % tubelet_size:
            raise ModelError(
                f"tubelet_size {tubelet_size} must divide the clip's {canvas.num_frames} frames: "
                "choose another tubelet_size, or render clips of another length"
            )
        if canvas.height % patch_size or canvas.width % patch_size:
            raise ModelError(
                f"patch_size {patch_size} must divide the clip's height {canvas.height} and width {canvas.width}: "
                "choose another patch_size, or render clips of another size"
            )
        return cls(
            canvas.num_frames // tubelet_size,
            canvas.height // patch_size,
            canvas.width // patch_size,
            tubelet_size,
            patch_size,
        )

    @property
    def canvas(self) -> Canvas:
        """The canvas that the grid covers."""
        size = self.patch_size
        return Canvas(self.rows * size, self.columns * size, self.tubelets * self.tubelet_size)

    @property
    def tokens_per_tubelet(self) -> int:
        """Tokens that lie side by side in one tubelet."""
        return self.rows * self.columns

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip."""
        return self.tubelets * self.tokens_per_tubelet

    @property
    def pixels_per_token(self) -> int:
        """Values that a token holds: tubelet_size x patch_size x patch_size x 3 channels."""
        return self.tubelet_size * self.patch_size**2 * 3


def num_masked(params: MaskParams, grid: TokenGrid) -> int:
    """Return the number of tokens that every mask hides.

    Raises:
        ModelError: the ratio leaves nothing to hide, or nothing to see.
    """
    # The small addition keeps 0.29 x 100 at 29, which binary fractions put just below.
    hidden_places = int(params.ratio * grid.tokens_per_tubelet + 1e-9)
    if not 0 < hidden_places < grid.tokens_per_tubelet:
        raise ModelError(
            f"mask ratio {params.ratio} of {grid.rows} x {grid.columns} tokens hides {hidden_places} of "
            f"{grid.tokens_per_tubelet}: at least one must be hidden and one visible"
        )
    return grid.tubelets * hidden_places
