"""The fine-tuned form of a student: its encoder, the mean of its tokens, a norm and a linear head."""

from __future__ import annotations

from torch import Tensor, nn

from smile_synth.model.student import Encoder, StudentShape, initialise


class Classifier(Encoder):
    """A video classifier under the published key names of fine-tuned VideoMAE.

    Args:
        shape: every size of the student.
        num_classes: classes.
        drop_path: chance that the last block is skipped in training.

    Source: VideoMAE, NeurIPS 2022.
    """

    def __init__(self, shape: StudentShape, num_classes: int, *, drop_path: float = 0.0) -> None:
        super().__init__(shape, drop_path, has_norm=False)
        self.fc_norm = nn.LayerNorm(shape.encoder.width, eps=shape.layer_norm_eps)
        self.head = nn.Linear(shape.encoder.width, num_classes)
        self.apply(initialise)

    def forward(self, video_BCTHW: Tensor, visible_BV: Tensor | None = None) -> Tensor:
        """Return one score per class, (B, classes), from all tokens or from the visible ones."""
        tokens_BND = super().forward(video_BCTHW, visible_BV)
        scores: Tensor = self.head(self.fc_norm(tokens_BND.mean(dim=1)))
        return scores
