"""A transformer block: attention with its biases, and drop path."""

from __future__ import annotations

import torch

from smile_synth.model.block import Attention, Block


def test_attention_has_biases_on_queries_and_values_and_none_on_keys() -> None:
    torch.manual_seed(0)
    attention, tokens = Attention(24, heads=3), torch.randn(2, 5, 24)
    torch.nn.init.normal_(attention.q_bias)
    torch.nn.init.normal_(attention.v_bias)
    query, key, value = (tokens @ part.T for part in attention.qkv.weight.chunk(3))
    query, value = query + attention.q_bias, value + attention.v_bias
    query, key, value = (part.view(2, 5, 3, 8).transpose(1, 2) for part in (query, key, value))
    weights = (query @ key.transpose(2, 3) / 8**0.5).softmax(dim=-1)
    expected = attention.proj((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(tokens), expected)


def test_drop_path_skips_clips_in_training_only() -> None:
    torch.manual_seed(0)
    block, tokens = Block(24, 3, mlp_ratio=4, eps=1e-6, drop_path=0.5), torch.randn(400, 4, 24)
    unchanged = (block(tokens) == tokens).flatten(1).all(dim=1).float().mean()
    assert 0.2 < unchanged < 0.3  # attention and MLP are skipped independently
    block.eval()
    assert not (block(tokens) == tokens).flatten(1).all(dim=1).any()


def test_drop_path_keeps_the_expected_change() -> None:
    torch.manual_seed(0)
    block, tokens = Block(24, 3, mlp_ratio=4, eps=1e-6, drop_path=0.5), torch.randn(1, 4, 24).expand(4000, -1, -1)
    change = block.eval().attn(block.norm1(tokens))
    block.train()
    torch.testing.assert_close(block._drop(change).mean(0), change[0], atol=0.05, rtol=0.1)
