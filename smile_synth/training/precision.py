"""In which type matrix products are computed."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "bfloat16", "float32"]


def pick_precision(asked: Precision, device: torch.device) -> torch.dtype:
    """Return the type asked for; ``auto`` is bfloat16 where the device computes in it, float32 elsewhere."""
    if asked == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16; emulated ones would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
