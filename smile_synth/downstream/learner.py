"""A classifier that is fine-tuned: what one update does to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.nn import functional

from smile_synth.downstream.mixing import Mixing
from smile_synth.model.classifier import Classifier
from smile_synth.model.patches import normalise
from smile_synth.model.student import StudentShape
from smile_synth.recipe.finetune import FinetuneParams
from smile_synth.training.cost import encoder_flops
from smile_synth.training.distributed import World
from smile_synth.training.stages import Stage
from smile_synth.training.trainable import Trainable, seed_torch, shards, update_seed

LARGE_WIDTH = 1024


@dataclass(frozen=True)
class LabelledClips:
    """Our share of a batch, on the device.

    Args:
        frames_BTHWC: uint8.
        labels_B: int64.
        first: place of our first clip in the global batch.
    """

    frames_BTHWC: Tensor
    labels_B: Tensor
    first: int

    def part(self, start: int, stop: int) -> LabelledClips:
        """Return some of the clips."""
        return LabelledClips(self.frames_BTHWC[start:stop], self.labels_B[start:stop], self.first + start)


class ClassifierLearner(Trainable[Stage, LabelledClips]):
    """A classifier that learns the classes of clips.

    Args:
        params: the recipe's section ``finetune``.
        shape: every size of the network.
        classifier: with its first weights; moved to the device.
        world: the processes that train together.
        seed: of the run.
    """

    def __init__(
        self, params: FinetuneParams, shape: StudentShape, classifier: Classifier, world: World, seed: int
    ) -> None:
        self.params, self.shape = params, shape
        self.classifier: Classifier = classifier.to(world.device)
        freeze(self.classifier, params)
        self.classifier.checkpointing = params.activation_checkpointing
        super().__init__(
            self.classifier,
            world,
            params.runtime,
            seed,
            ema_decay=params.ema_decay,
            shard=is_sharded(params, shape, world),
        )
        self._mixing = Mixing(
            params.vary,
            classifier.head.out_features,
            label_smoothing=params.label_smoothing,
            seed=seed,
            device=world.device,
        )

    def build_optimizer(self, stage: Stage) -> torch.optim.AdamW:
        how = stage.optimizer
        groups = layer_groups(self.classifier, weight_decay=how.weight_decay, layer_decay=self.params.layer_decay)
        return torch.optim.AdamW(groups, lr=stage.rate(0), betas=how.betas, eps=how.eps, fused=True)

    def _accumulate(self, clips: LabelledClips, stage: Stage, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        count = len(clips.labels_B)
        size = min(self.runtime.micro_batch or count, count)
        loss = torch.zeros((), device=self.world.device)
        for start in range(0, count, size):
            part = clips.part(start, start + size)
            video, targets_BK = self._mixing(part.frames_BTHWC, part.labels_B, step=step, first=part.first)
            # Erasing has seeded torch for its own noise; drop path and dropout draw from here.
            seed_torch(update_seed(self.seed, f"{stage.name}/drop", step, part.first), self.world.device)
            with self._syncing(start + size >= count):
                with self.autocast():
                    scores_BK = self._forward(video.to(self.precision))
                one = functional.cross_entropy(scores_BK.float(), targets_BK)
                (one * (size / count)).backward()  # type: ignore[no-untyped-call]
            loss += one.detach() * (size / count)
        return loss, {}

    def flops_per_clip(self, stage: Stage) -> float:
        """Return the FLOPs of a clip: forward through everything, backward through what is trained."""
        del stage
        depth = self.shape.encoder.depth
        trained = 0 if self.params.freeze else min(self.params.layers or depth, depth)
        return encoder_flops(self.shape) * (1 + 2 * trained / depth)

    @torch.no_grad()
    def scores(self, frames_BTHWC: Tensor) -> Tensor:
        """Return float32 scores (B, classes) of uint8 clips on the device; every rank must call it alike."""
        self.classifier.eval()
        with self.autocast():
            scores: Tensor = self.classifier(normalise(frames_BTHWC, dtype=self.precision))
        return scores.float()


def is_sharded(params: FinetuneParams, shape: StudentShape, world: World) -> bool:
    """Tell whether weights and moments are divided over the ranks.

    A frozen encoder has no gradients and moments to divide. With a batch norm before its head it must not be: that
    changes its running averages in the forward pass, where a rank has copies that FSDP throws away.
    """
    is_large = shape.encoder.width >= LARGE_WIDTH and not params.freeze
    return shards(params.runtime, world, is_large=is_large)


def freeze(classifier: Classifier, params: FinetuneParams) -> None:
    """Let only that be trained which ``freeze`` and ``layers`` ask for; what is frozen drops no path."""
    depth = len(classifier.blocks)
    first_trained = depth if params.freeze else max(0, depth - (params.layers or depth))
    if first_trained == 0:
        return
    frozen: list[nn.Module] = [classifier.patch_embed, *classifier.blocks[:first_trained]]
    if params.freeze:
        frozen.append(classifier.fc_norm)
    for module in frozen:
        module.requires_grad_(False)
    for block in classifier.blocks[:first_trained]:
        block.drop_path = 0.0  # type: ignore[assignment]


def layer_groups(classifier: Classifier, *, weight_decay: float, layer_decay: float) -> list[dict[str, object]]:
    """Return AdamW's groups of trained parameters, each with its ``lr_scale`` and ``weight_decay``.

    Of L blocks, block i, counted from 0, learns with layer_decay^(L - i) of the rate, the patch embedding with
    layer_decay^(L + 1), norm and head with all of it. Biases and everything one-dimensional are not decayed.

    Source: VideoMAE's fine-tuning, after BEiT; the groups are timm's.
    """
    groups: list[dict[str, object]] = param_groups_layer_decay(
        classifier, weight_decay=weight_decay, layer_decay=layer_decay
    )
    return groups
