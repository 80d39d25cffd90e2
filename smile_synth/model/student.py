"""The student: VideoMAE's encoder and light decoder, under the published key names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from smile_synth.errors import ModelError
from smile_synth.masking.grid import TokenGrid
from smile_synth.model.block import Block
from smile_synth.model.patches import check_video, patch_view
from smile_synth.model.positions import position_code
from smile_synth.params import first_problem
from smile_synth.recipe.student import PositionCode, StudentParams, Transformer
from smile_synth.scene import Canvas

LAYER_NORM_EPS = 1e-6


# Weights that published students do not have; an export leaves them out.
EXTRA_WEIGHTS = ("visible_head.", "motion_head.", "motion_decoder.", "encoder_to_motion.", "motion_mask_token")


@dataclass(frozen=True)
class ExtraHeads:
    """What a student predicts in addition to the published targets of hidden tokens; 0 for none.

    Args:
        visible_dim: values predicted for a visible token, by one linear layer on the encoder's output.
        motion_dim: values predicted for a hidden token's motion.
        motion_decoder_depth: blocks of a second decoder for these; 0 makes them a second output of the decoder.
    """

    visible_dim: int = 0
    motion_dim: int = 0
    motion_decoder_depth: int = 0


NO_EXTRA_HEADS = ExtraHeads()


class Prediction(NamedTuple):
    """What a student predicts of clips; None where it predicts nothing of the kind.

    Args:
        hidden_BMD: float (B, M, target_dim), of hidden tokens, in the order of their numbers.
        motion_BMD: float (B, M, motion_dim), of hidden tokens, likewise.
        visible_BVD: float (B, V, visible_dim), of visible tokens, likewise.
    """

    hidden_BMD: Tensor | None = None
    motion_BMD: Tensor | None = None
    visible_BVD: Tensor | None = None


@dataclass(frozen=True)
class StudentShape:
    """Every size that decides a student's weights.

    Args:
        encoder, decoder: width, depth and heads.
        mlp_ratio: hidden width of a block's MLP over the block's width.
        grid: the token grid of its clips.
        target_dim: values predicted for a hidden token; 0 where only motion is predicted.
        layer_norm_eps: added to the variance by every norm.
        positions: the fixed code that says where a token stands.
        heads: what is predicted besides.
    """

    encoder: Transformer
    decoder: Transformer
    mlp_ratio: float
    grid: TokenGrid
    target_dim: int
    layer_norm_eps: float = LAYER_NORM_EPS
    positions: PositionCode = "flat"
    heads: ExtraHeads = NO_EXTRA_HEADS

    @classmethod
    def of(
        cls, params: StudentParams, grid: TokenGrid, target_dim: int, heads: ExtraHeads = NO_EXTRA_HEADS
    ) -> StudentShape:
        """Return the shape that the parameters ask for."""
        return cls(
            params.encoder, params.decoder, params.mlp_ratio, grid, target_dim, positions=params.positions, heads=heads
        )

    @property
    def has_decoder(self) -> bool:
        """Whether there is anything for the decoder to predict."""
        return self.target_dim > 0 or (self.heads.motion_dim > 0 and not self.heads.motion_decoder_depth)

    @property
    def motion_decoder(self) -> Transformer | None:
        """Width, depth and heads of the second decoder; None where there is none."""
        if not (self.heads.motion_dim and self.heads.motion_decoder_depth):
            return None
        return self.decoder._replace(depth=self.heads.motion_decoder_depth)

    def to_dict(self) -> dict[str, Any]:
        """Return the shape as plain values that JSON and a safe checkpoint can hold."""
        return {
            "encoder": self.encoder._asdict(),
            "decoder": self.decoder._asdict(),
            "mlp_ratio": self.mlp_ratio,
            "grid": asdict(self.grid),
            "target_dim": self.target_dim,
            "layer_norm_eps": self.layer_norm_eps,
            "positions": self.positions,
            "heads": asdict(self.heads),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentShape:
        """Return the shape that ``to_dict`` gave away.

        Raises:
            ModelError: the values are not those of a shape.
        """
        try:
            stacks = {name: Transformer(**values[name]) for name in ("encoder", "decoder")}
            # Checkpoints of earlier versions have no extra heads.
            heads = ExtraHeads(**values.get("heads", {}))
            shape = cls(**{**values, **stacks, "grid": TokenGrid(**values["grid"]), "heads": heads})
        except (KeyError, TypeError) as problem:
            raise ModelError(f"not the shape of a student: {problem}; got {values!r}") from problem
        known = get_args(PositionCode)
        if shape.positions not in known:
            raise ModelError(
                f"a student's positions are {' or '.join(known)}, got {shape.positions!r}; "
                "it was made by another version of smile-synth: update this one"
            )
        return shape


class PatchEmbed(nn.Module):
    """One linear layer from a token's pixels to its embedding, stored as the 3D convolution that it equals."""

    def __init__(self, grid: TokenGrid, width: int) -> None:
        super().__init__()
        kernel = (grid.tubelet_size, grid.patch_size, grid.patch_size)
        self.proj = nn.Conv3d(3, width, kernel_size=kernel, stride=kernel)

    def forward(self, pixels_BNP: Tensor) -> Tensor:
        """Return embeddings (B, N, D) of pixels (B, N, channel x frame x y x x)."""
        return functional.linear(pixels_BNP, self.proj.weight.flatten(1), self.proj.bias)


class Encoder(nn.Module):
    """Sees visible tokens only.

    Args:
        shape: every size.
        drop_path: chance that the last block is skipped in training.
        has_norm: whether tokens are normalised at the end; fine-tuned models normalise their mean instead.
    """

    positions_1ND: Tensor

    def __init__(self, shape: StudentShape, drop_path: float = 0.0, has_norm: bool = True) -> None:
        super().__init__()
        width, depth, heads = shape.encoder
        self.grid = shape.grid
        self.patch_embed = PatchEmbed(shape.grid, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, shape.mlp_ratio, shape.layer_norm_eps, drop_path * i / max(depth - 1, 1))
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=shape.layer_norm_eps) if has_norm else nn.Identity()
        self.checkpointing = False
        positions = position_code(shape.positions, shape.grid, width)
        self.register_buffer("positions_1ND", positions, persistent=False)
        self._positions = shape.positions

    def extra_repr(self) -> str:
        """What no weight tells, for those who tell networks apart by their text."""
        return f"positions={self._positions}"

    def forward(self, video_BCTHW: Tensor, visible_BV: Tensor | None = None) -> Tensor:
        """Return tokens (B, V, D) of the visible places, or of all."""
        check_video(video_BCTHW, self.grid)
        positions = self.positions_1ND
        patches = patch_view(video_BCTHW, self.grid)
        if visible_BV is None:
            pixels = patches.flatten(1, 3).flatten(2)
        else:
            # Hidden patches are never copied: the visible ones are picked straight out of the video.
            pixels = patches[_places(visible_BV, self.grid)].flatten(2)
            positions = positions[0][visible_BV]
        embedded = self.patch_embed(pixels)
        tokens = run_blocks(self.blocks, embedded + positions.to(embedded.dtype), self.checkpointing)
        normed: Tensor = self.norm(tokens)
        return normed


class Decoder(nn.Module):
    """Works out hidden tokens from the visible ones.

    Args:
        shape: every size of the student.
        stack: width, depth and heads of this decoder.
        output_dim: values of its head ``head``; 0 for a decoder without one.
    """

    positions_1ND: Tensor

    def __init__(self, shape: StudentShape, stack: Transformer, output_dim: int) -> None:
        super().__init__()
        width, depth, heads = stack
        eps = shape.layer_norm_eps
        self.blocks = nn.ModuleList(Block(width, heads, shape.mlp_ratio, eps) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=eps)
        self.head = nn.Linear(width, output_dim) if output_dim else None
        self.checkpointing = False
        positions = position_code(shape.positions, shape.grid, width)
        self.register_buffer("positions_1ND", positions, persistent=False)

    def forward(self, visible_BVD: Tensor, mask_token: Tensor, visible_BV: Tensor, masked_BM: Tensor) -> Tensor:
        """Return the hidden tokens (B, M, D), normalised, for the heads to read."""
        positions = self.positions_1ND[0].to(visible_BVD.dtype)
        seen = visible_BVD + positions[visible_BV]
        hidden = mask_token.to(visible_BVD.dtype) + positions[masked_BM]
        tokens = run_blocks(self.blocks, torch.cat([seen, hidden], dim=1), self.checkpointing)
        normed: Tensor = self.norm(tokens[:, -masked_BM.shape[1] :])
        return normed


class Student(nn.Module):
    """The masked-video transformer.

    Args:
        shape: every size.
        drop_path: chance that the last encoder block is skipped in training.
        activation_checkpointing: recompute blocks in the backward pass.

    Source: VideoMAE, NeurIPS 2022; TrackMAE, CVPR 2026, for a second decoder of motion.

    Examples:
        >>> student = ss.Student.build(ss.Canvas(32, 32, 8), size="tiny", patch_size=8, tubelet_size=4)
        >>> frames_BTHWC = torch.zeros(2, 8, 32, 32, 3, dtype=torch.uint8)
        >>> boxes_BKT4 = torch.zeros(2, 1, 8, 4)
        >>> masks = ss.MaskParams(kind="tube", ratio=0.75)
        >>> (is_masked_BN,) = ss.draw_masks(masks, student.shape.grid, boxes_BKT4, seed=0, step=0)
        >>> student(ss.normalise(frames_BTHWC), is_masked_BN).hidden_BMD.shape
        torch.Size([2, 24, 768])
    """

    def __init__(self, shape: StudentShape, *, drop_path: float = 0.0, activation_checkpointing: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape, drop_path)
        self.decoder = Decoder(shape, shape.decoder, shape.target_dim) if shape.has_decoder else None
        self.encoder_to_decoder = self._bridge() if shape.has_decoder else None
        self.mask_token = self._mask_token() if shape.has_decoder else None
        stack, heads = shape.motion_decoder, shape.heads
        self.motion_decoder = Decoder(shape, stack, heads.motion_dim) if stack is not None else None
        self.encoder_to_motion = self._bridge() if stack is not None else None
        self.motion_mask_token = self._mask_token() if stack is not None else None
        shares = heads.motion_dim and stack is None
        self.motion_head = nn.Linear(shape.decoder.width, heads.motion_dim) if shares else None
        self.visible_head = nn.Linear(shape.encoder.width, heads.visible_dim) if heads.visible_dim else None
        for part in (self.encoder, self.decoder, self.motion_decoder):
            if part is not None:
                part.checkpointing = activation_checkpointing
        for token in (self.mask_token, self.motion_mask_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02, a=-0.02, b=0.02)
        self.apply(initialise)

    @classmethod
    def build(cls, canvas: Canvas, *, target_dim: int | None = None, **sizes: Any) -> Student:
        """Return a student of clips of one size, with fresh weights, drawn from torch's global generator.

        Args:
            canvas: size of the clips.
            target_dim: values predicted for a hidden token; None: its pixels, tubelet_size x patch_size^2 x 3.
            sizes: as in a recipe's ``pretrain.student``: ``size``, ``width``, ``patch_size``, ...

        Raises:
            ModelError: sizes do not fit each other, or patches and tubelets do not divide the canvas.

        Examples:
            >>> student = ss.Student.build(ss.Canvas(32, 32, 8), size="tiny", patch_size=8, tubelet_size=4)
            >>> student.shape.grid.num_tokens, student.shape.target_dim
            (32, 768)
        """
        try:
            params = StudentParams(**sizes)
        except ValidationError as error:
            raise ModelError(first_problem(error, StudentParams, where="student")) from None
        grid = TokenGrid.of(canvas, tubelet_size=params.tubelet_size, patch_size=params.patch_size)
        return build_student(params, grid, grid.pixels_per_token if target_dim is None else target_dim)

    def _bridge(self) -> nn.Linear:
        return nn.Linear(self.shape.encoder.width, self.shape.decoder.width, bias=False)

    def _mask_token(self) -> nn.Parameter:
        return nn.Parameter(torch.zeros(1, 1, self.shape.decoder.width))

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Every transformer block: the encoder's, then those of the decoders."""
        parts = (self.encoder, self.decoder, self.motion_decoder)
        return tuple(block for part in parts if part is not None for block in part.blocks)

    def forward(self, video_BCTHW: Tensor, is_masked_BN: Tensor, num_masked: int | None = None) -> Prediction:
        """Return predictions for hidden and, where asked for, for visible tokens.

        Args:
            video_BCTHW: float (B, 3, T, H, W), see ``normalise``.
            is_masked_BN: bool (B, N), True where the student does not see the token; the same number in every row.
            num_masked: that number, where it is known: saves a look at the mask, which stalls a GPU.

        Raises:
            ModelError: video or mask do not fit.
        """
        visible_BV, masked_BM = split_tokens(is_masked_BN, self.shape.grid, num_masked)
        tokens_BVD = self.encoder(video_BCTHW, visible_BV)
        hidden = motion = None
        if self.decoder is not None and self.encoder_to_decoder is not None and self.mask_token is not None:
            decoded = self.decoder(self.encoder_to_decoder(tokens_BVD), self.mask_token, visible_BV, masked_BM)
            hidden = None if self.decoder.head is None else self.decoder.head(decoded)
            motion = None if self.motion_head is None else self.motion_head(decoded)
        if self.motion_decoder is not None and self.encoder_to_motion is not None:
            decoded = self.motion_decoder(
                self.encoder_to_motion(tokens_BVD), self.motion_mask_token, visible_BV, masked_BM
            )
            motion = cast(nn.Linear, self.motion_decoder.head)(decoded)
        return Prediction(hidden, motion, None if self.visible_head is None else self.visible_head(tokens_BVD))

    def encode(self, video_BCTHW: Tensor, is_masked_BN: Tensor | None = None, num_masked: int | None = None) -> Tensor:
        """Return the encoder's tokens of the visible places, (B, V, D); of all where no mask is given.

        Raises:
            ModelError: video or mask do not fit.
        """
        visible = None
        if is_masked_BN is not None:
            visible, _ = split_tokens(is_masked_BN, self.shape.grid, num_masked)
        tokens: Tensor = self.encoder(video_BCTHW, visible)
        return tokens


def build_student(
    params: StudentParams, grid: TokenGrid, target_dim: int, heads: ExtraHeads = NO_EXTRA_HEADS
) -> Student:
    """Return a student with fresh weights, drawn from torch's global generator."""
    return Student(
        StudentShape.of(params, grid, target_dim, heads),
        drop_path=params.drop_path,
        activation_checkpointing=params.activation_checkpointing,
    )


def split_tokens(is_masked_BN: Tensor, grid: TokenGrid, num_masked: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the numbers of visible (B, V) and of hidden (B, M) tokens, ascending.

    Raises:
        ModelError: the mask does not fit the grid, or hides other numbers of tokens in different clips.
    """
    if is_masked_BN.dtype != torch.bool or is_masked_BN.ndim != 2 or is_masked_BN.shape[1] != grid.num_tokens:
        raise ModelError(
            f"is_masked must be bool (B, {grid.num_tokens}), got {is_masked_BN.dtype} {tuple(is_masked_BN.shape)}"
        )
    if num_masked is None:
        num_masked = _common_count(is_masked_BN)
    order = is_masked_BN.to(torch.uint8).argsort(dim=1, stable=True)
    visible, masked = torch.split(order, [grid.num_tokens - num_masked, num_masked], dim=1)
    return visible, masked


def run_blocks(blocks: Sequence[nn.Module] | nn.ModuleList, tokens_BND: Tensor, checkpointing: bool) -> Tensor:
    """Return the tokens after all blocks, recomputing activations in the backward pass if asked to."""
    for block in blocks:
        if checkpointing and torch.is_grad_enabled():
            tokens_BND = checkpoint(block, tokens_BND, use_reentrant=False)
        else:
            tokens_BND = block(tokens_BND)
    return tokens_BND


def _common_count(is_masked_BN: Tensor) -> int:
    counts = sorted(set(is_masked_BN.sum(dim=1).tolist()))
    if len(counts) != 1 or not 0 < counts[0] < is_masked_BN.shape[1]:
        raise ModelError(
            f"every mask must hide the same number of tokens, between 1 and {is_masked_BN.shape[1] - 1}, "
            f"got {', '.join(map(str, counts))}"
        )
    return int(counts[0])


def _places(tokens_BV: Tensor, grid: TokenGrid) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    clip = torch.arange(len(tokens_BV), device=tokens_BV.device)[:, None]
    place = tokens_BV % grid.tokens_per_tubelet
    return clip, tokens_BV // grid.tokens_per_tubelet, place // grid.columns, place % grid.columns


def initialise(module: nn.Module) -> None:
    """Give a linear layer fresh weights: Xavier-uniform, without bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
