"""A forecast: what a dataset and a training take on a cluster, by arithmetic from what was measured and assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from smile_synth.plan.gpus import Gpu
from smile_synth.plan.sample import Sample
from smile_synth.plan.training_cost import TrainingCost

GPUS_A_NODE = 8
HOUR_S = 3600.0
BITS = 8
# Characters that the seal of one file takes in the root document.
SEAL_NBYTES = 36


@dataclass(frozen=True)
class Cluster:
    """What there is to render and train on.

    Args:
        cores: for rendering.
        gpus: for training.
        gpu: their kind.
        mfu: share of the GPU's peak that a training's own arithmetic reaches; an assumption.
        steps_per_second: updates a second of the whole training, where the user has measured them; else None.
    """

    cores: int
    gpus: int
    gpu: Gpu
    mfu: float
    steps_per_second: float | None = None

    @property
    def gpus_a_node(self) -> int:
        """GPUs of one host."""
        return min(self.gpus, GPUS_A_NODE)


@dataclass(frozen=True)
class Rendering:
    """What rendering takes.

    Args:
        sample: what was measured.
        clips: of the dataset.
        clips_per_shard: of its store.
        cores: processes that render, one a core.
    """

    sample: Sample
    clips: int
    clips_per_shard: int
    cores: int

    @property
    def num_shards(self) -> int:
        """Shards of every array."""
        return -(-self.clips // self.clips_per_shard)

    @property
    def core_seconds(self) -> float:
        """Processor time of all processes together: what is compared with a rendering on a busy machine."""
        busy = min(self.cores, self.num_shards)
        return self.clips * self.sample.cpu_s + busy * self.sample.start_s

    @property
    def seconds(self) -> float:
        """From begin to end where every process has a core: start, shards one after the other, sealing."""
        shards_in_turn = -(-self.num_shards // self.cores)
        clips_in_turn = min(shards_in_turn * self.clips_per_shard, self.clips)
        a_clip = self.sample.cpu_s + self.sample.disk_s
        return self.sample.start_s + clips_in_turn * a_clip + 2 * self.num_objects * self.sample.finish_s

    @property
    def num_objects(self) -> int:
        """Files of the store, or objects in an object store: one a shard and array, and their documents."""
        return self.num_shards * self.sample.num_files + self.sample.num_files + 3

    @property
    def stored_nbytes(self) -> float:
        """Size of the store."""
        return self.clips * self.sample.stored_nbytes

    @property
    def virtual_nbytes(self) -> float:
        """Size of a virtual store, which keeps no frames, motion and truth."""
        return self.clips * self.sample.virtual_nbytes

    @property
    def root_nbytes(self) -> float:
        """Size of the root document, which holds the seal of every file and which every reader parses."""
        return self.num_shards * self.sample.num_files * SEAL_NBYTES

    @property
    def write_nbytes_per_s(self) -> float:
        """What the file system must take while all cores render."""
        busy = min(self.cores, self.num_shards)
        return busy * self.sample.stored_nbytes / (self.sample.cpu_s + self.sample.disk_s)

    @property
    def peak_nbytes(self) -> float:
        """Memory of all processes."""
        return min(self.cores, self.num_shards) * self.sample.worker_nbytes


@dataclass(frozen=True)
class Training:
    """What training takes.

    Args:
        sample: what was measured.
        cost: of the training.
        cluster: where it runs.
        clips: of the dataset.
    """

    sample: Sample
    cost: TrainingCost
    cluster: Cluster
    clips: int

    @property
    def is_measured(self) -> bool:
        """Whether the speed is the user's own measurement."""
        return self.cluster.steps_per_second is not None

    @property
    def seconds(self) -> float:
        """Time of all stages, where data never wait."""
        if self.cluster.steps_per_second is not None:
            return self.cost.total_steps / self.cluster.steps_per_second
        return self.cost.total_flops / (self.cluster.gpus * self.cluster.gpu.peak_flops * self.cluster.mfu)

    @property
    def clips_per_s(self) -> float:
        """Clips that all GPUs together take in the stage that takes most."""
        if self.cluster.steps_per_second is not None:
            return self.cluster.steps_per_second * max(c.stage.clips_per_batch for c in self.cost.stages)
        speed = self.cluster.gpus * self.cluster.gpu.peak_flops * self.cluster.mfu
        return max(speed / cost.flops for cost in self.cost.stages)

    @property
    def read_nbytes(self) -> float:
        """Stored bytes that are read of a clip."""
        arrays = ["frames", "boxes", *(["motion"] if self.cost.params.uses_motion else [])]
        return sum(self.sample.nbytes.get(name, 0.0) for name in arrays)

    @property
    def network_gbit_per_s(self) -> float:
        """What all hosts together must read."""
        return self.clips_per_s * self.read_nbytes * BITS / 1e9

    @property
    def node_gbit_per_s(self) -> float:
        """What one host must read."""
        return self.network_gbit_per_s * self.cluster.gpus_a_node / self.cluster.gpus

    @property
    def read_cores(self) -> float:
        """Cores of all hosts that read and decode stored clips."""
        return self.clips_per_s * self.sample.read_s

    @property
    def draw_cores(self) -> float:
        """Cores of all hosts that would render the clips while they are trained on, with no store of frames."""
        return self.clips_per_s * self.sample.draw_s

    @property
    def gpu_nbytes(self) -> float:
        """Memory of a rank's GPU."""
        return self.cost.gpu_nbytes(self.cluster.gpus)

    @property
    def host_nbytes(self) -> float:
        """Memory of a rank on its host."""
        return self.cost.host_nbytes(self.cluster.gpus, self.clips)


@dataclass(frozen=True)
class Forecast:
    """Everything that is forecast.

    Args:
        recipe: what is rendered, as it was typed.
        rendering: what rendering takes.
        cluster: where.
        training: what training takes, or None without a model.
    """

    recipe: str
    rendering: Rendering
    cluster: Cluster
    training: Training | None

    def document(self, advice: tuple[str, ...]) -> dict[str, Any]:
        """Return all of it as plain values, each named with its unit."""
        return {
            "recipe": self.recipe,
            "clips": self.rendering.clips,
            "measured": _measured(self.rendering.sample),
            "rendering": _rendering(self.rendering),
            "storage": _storage(self.rendering),
            "training": None if self.training is None else _training(self.training),
            "advice": list(advice),
        }


def _measured(sample: Sample) -> dict[str, Any]:
    values = asdict(sample)
    return {"cores": values.pop("workers"), **values}


def _rendering(rendering: Rendering) -> Mapping[str, Any]:
    return {
        "cores": rendering.cores,
        "hours": rendering.seconds / HOUR_S,
        "core_hours": rendering.core_seconds / HOUR_S,
        "write_mb_per_s": rendering.write_nbytes_per_s / 1e6,
        "memory_gib": rendering.peak_nbytes / 2**30,
    }


def _storage(rendering: Rendering) -> Mapping[str, Any]:
    return {
        "stored_tb": rendering.stored_nbytes / 1e12,
        "virtual_tb": rendering.virtual_nbytes / 1e12,
        "objects": rendering.num_objects,
        "shards": rendering.num_shards,
        "clips_per_shard": rendering.clips_per_shard,
        "root_document_mb": rendering.root_nbytes / 1e6,
    }


def _training(training: Training) -> Mapping[str, Any]:
    cluster, cost = training.cluster, training.cost
    return {
        "model": cost.recipe,
        "gpus": cluster.gpus,
        "gpu": cluster.gpu.name,
        "assumed_mfu": None if training.is_measured else cluster.mfu,
        "given_steps_per_second": cluster.steps_per_second,
        "hours": training.seconds / HOUR_S,
        "updates": cost.total_steps,
        "clips_seen": cost.clips_seen,
        "tflop_a_clip": [stage.flops / 1e12 for stage in cost.stages],
        "clips_per_s": training.clips_per_s,
        "network_gbit_per_s": training.network_gbit_per_s,
        "network_gbit_per_s_a_node": training.node_gbit_per_s,
        "reading_cores": training.read_cores,
        "rendering_on_the_fly_cores": training.draw_cores,
        "gpu_memory_gib_a_rank": training.gpu_nbytes / 2**30,
        "host_memory_gib_a_rank": training.host_nbytes / 2**30,
    }
