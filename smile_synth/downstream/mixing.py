"""From clips and labels to what the network sees and should say: erasing, mixup and cutmix on the device."""

from __future__ import annotations

from typing import Any

import torch
from timm.data.mixup import Mixup, mixup_target
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from smile_synth.downstream.rand_augment import seeded_random
from smile_synth.model.patches import normalise
from smile_synth.recipe.finetune import VaryParams
from smile_synth.training.trainable import seed_torch, update_seed


class Mixing:
    """Normalises clips, erases rectangles, and mixes neighbours.

    A clip's rectangle depends on its place in the global batch, and all pairs of a batch are mixed alike, so that
    nothing depends on how a batch is divided over processes or micro-batches.

    Args:
        vary: how clips are varied.
        num_classes: classes.
        label_smoothing: share of the target that is spread over all classes.
        seed: of the run.
        device: of the clips.
    """

    def __init__(
        self, vary: VaryParams, num_classes: int, *, label_smoothing: float, seed: int, device: torch.device
    ) -> None:
        self._seed, self._num_classes, self._smoothing = seed, num_classes, label_smoothing
        self._erase: Any = RandomErasing(vary.erase_probability, mode="pixel", device=str(device))  # type: ignore[no-untyped-call]
        self._erases = vary.erase_probability > 0
        self._mixup: Any = None
        if vary.mixes:
            self._mixup = Mixup(  # type: ignore[no-untyped-call]
                mixup_alpha=vary.mixup,
                cutmix_alpha=vary.cutmix,
                switch_prob=vary.cutmix_share,
                label_smoothing=label_smoothing,
                num_classes=num_classes,
            )

    def __call__(self, frames_BTHWC: Tensor, labels_B: Tensor, *, step: int, first: int) -> tuple[Tensor, Tensor]:
        """Return float32 video (B, 3, T, H, W) and targets (B, classes), rows that add up to 1.

        Seeds torch's global generators, which erasing draws noise from.

        Args:
            frames_BTHWC: uint8 clips; an even number where neighbours are mixed.
            labels_B: int64 classes.
            step: updates done in all.
            first: place of the first clip in the global batch.
        """
        video_BCTHW = normalise(frames_BTHWC).contiguous()
        # Frames become channels: what timm does to an image then happens to all frames alike.
        images_BCHW = video_BCTHW.flatten(1, 2)
        if self._erases:
            for place, image_CHW in enumerate(images_BCHW):
                seed = update_seed(self._seed, "erase", step, first + place)
                seed_torch(seed, image_CHW.device)
                with seeded_random(seed):
                    self._erase(image_CHW)
        if self._mixup is None:
            smooth = mixup_target(labels_B, self._num_classes, smoothing=self._smoothing)  # type: ignore[no-untyped-call]
            return video_BCTHW, smooth
        targets = []
        for place in range(0, len(labels_B), 2):
            with seeded_random(update_seed(self._seed, "mix", step, 0)):
                _, pair = self._mixup(images_BCHW[place : place + 2], labels_B[place : place + 2])
            targets.append(pair)
        return video_BCTHW, torch.cat(targets)
