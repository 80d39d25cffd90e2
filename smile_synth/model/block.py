"""A transformer block as VideoMAE has it: pre-norm, with biases on queries and values and none on keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over all tokens.

    Args:
        width: channels, divisible by ``heads``.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return what each token gathers from all others, (B, N, D)."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = functional.linear(tokens_BND, self.qkv.weight, bias)
        query, key, value = torch.unflatten(qkv, 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return each token, changed by itself, (B, N, D)."""
        changed: Tensor = self.fc2(functional.gelu(self.fc1(tokens_BND)))
        return changed


class Block(nn.Module):
    """Attention and MLP, each on normalised tokens and added to what was there.

    Args:
        width, heads: of the attention.
        mlp_ratio: hidden width of the MLP over ``width``.
        eps: added to the variance by the norms.
        drop_path: chance in training that a clip skips each of the two.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, eps: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = drop_path

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return the tokens after this block, (B, N, D)."""
        tokens_BND = tokens_BND + self._drop(self.attn(self.norm1(tokens_BND)))
        return tokens_BND + self._drop(self.mlp(self.norm2(tokens_BND)))

    def _drop(self, change_BND: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return change_BND
        keep = torch.rand(len(change_BND), 1, 1, device=change_BND.device) >= self.drop_path
        return change_BND * (keep / (1 - self.drop_path)).to(change_BND.dtype)
