"""How fast is an update? Ours against a plain eager float32 one of the same model with materialised attention.

    python benchmarks/train_step.py                          # CPU: ViT-S, a batch of 4
    python benchmarks/train_step.py --cached 64              # only: teacher cached against teacher run, clips of 64 px
    python benchmarks/train_step.py --device cuda --batches 32 64 128 256   # ViT-B

The plain update embeds every patch and drops the hidden ones, writes attention out, uses AdamW parameter by parameter,
and does its pixels and masks before the update, as the published code does. Both variants run in processes of their
own, in turns, on the same clips of random noise; the ratio compares medians.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from smile_synth.masking.grid import TokenGrid, num_masked
from smile_synth.masking.masks import draw_masks
from smile_synth.model.block import Attention
from smile_synth.model.patches import normalise
from smile_synth.model.student import Student, build_student
from smile_synth.recipe.pretrain import MaskParams, PretrainParams, TeacherParams
from smile_synth.scene import Canvas
from smile_synth.teachers.teacher import build_teacher
from smile_synth.training.cost import StudentCost, count_flops, peak_flops
from smile_synth.training.device import keep_freed_memory, pick_device, pick_precision
from smile_synth.training.distributed import RankInfo, World
from smile_synth.training.learner import DeviceBatch, Learner
from smile_synth.training.objective import Objective
from smile_synth.training.stages import plan_stages

CANVAS = Canvas(224, 224, 16)
MASK = MaskParams(kind="tube", ratio=0.8)


@dataclass(frozen=True)
class Case:
    """What is measured: the student's size, with which teacher, on how many clips and threads, and how computed."""

    size: str
    with_teacher: bool
    batch: int
    device: str
    threads: int
    precision: str = "auto"

    @property
    def params(self) -> PretrainParams:
        """The training that an update is taken from."""
        values = {
            "student": {"size": self.size},
            "target": {"kind": "features" if self.with_teacher else "pixels"},
            "mask": MASK,
            "batch_size": self.batch,
            "max_steps": 1000,
            "optimizer": {"warmup_steps": 0},
            "runtime": {"precision": self.precision},
        }
        return PretrainParams.model_validate(values)

    def objective(self, device: torch.device, precision: str) -> Objective:
        """Return the objective; the teacher has CLIP ViT-B/16's size on CUDA (untrained: as fast)."""
        if not self.with_teacher:
            return Objective(self.params.target, None, GRID).to(device)
        if self.device == "cuda":
            chosen = TeacherParams(
                library="open_clip", model="ViT-B-16-quickgelu", pretrained="random", precision=precision
            )
        else:
            chosen = TeacherParams(library="efficientnet_lite0", precision=precision)
        return Objective(self.params.target, build_teacher(chosen, GRID, device=device), GRID).to(device)


GRID = TokenGrid.of(CANVAS, tubelet_size=2, patch_size=16)


class MaterialisedAttention(nn.Module):
    """The block's attention, written out."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return what each token gathers from all others."""
        a = self.attention
        bias = torch.cat([a.q_bias, torch.zeros_like(a.q_bias), a.v_bias])
        qkv = nn.functional.linear(tokens_BND, a.qkv.weight, bias)
        count, tokens, _ = tokens_BND.shape
        query, key, value = qkv.reshape(count, tokens, 3, a.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
        return a.proj((weights @ value).transpose(1, 2).reshape(count, tokens, -1))


def plain_forward(student: Student, video_BCTHW: Tensor, is_masked_BN: Tensor) -> Tensor:
    """Predict hidden tokens after embedding every patch."""
    encoder, decoder, count = student.encoder, student.decoder, len(video_BCTHW)
    embedded = encoder.patch_embed.proj(video_BCTHW).flatten(2).transpose(1, 2) + encoder.positions_1ND
    visible = embedded[~is_masked_BN].reshape(count, -1, embedded.shape[-1])
    for block in encoder.blocks:
        visible = block(visible)
    seen = student.encoder_to_decoder(encoder.norm(visible))
    positions = decoder.positions_1ND.expand(count, -1, -1)
    seen_at = positions[~is_masked_BN].reshape(count, -1, seen.shape[-1])
    hidden_at = positions[is_masked_BN].reshape(count, -1, seen.shape[-1])
    tokens = torch.cat([seen + seen_at, student.mask_token + hidden_at], dim=1)
    for block in decoder.blocks:
        tokens = block(tokens)
    return decoder.head(decoder.norm(tokens[:, -hidden_at.shape[1] :]))


def random_clips(case: Case, device: torch.device) -> DeviceBatch:
    """Return noise as clips, with two boxes each."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch, CANVAS.num_frames, CANVAS.height, CANVAS.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    boxes = torch.full((case.batch, 2, CANVAS.num_frames, 4), 50.0)
    boxes[..., 2:] = 100.0
    return DeviceBatch(frames.to(device), boxes.to(device), 0)


def our_update(case: Case, device: torch.device) -> Callable[[], object]:
    """Return our update, as the trainer does it."""
    if device.type == "cpu":
        keep_freed_memory()
    objective = case.objective(device, "auto").to(memory_format=torch.channels_last)
    learner = Learner(case.params, objective, World(RankInfo(), device), seed=0)
    stage = plan_stages(case.params, 1_000_000)[0]
    learner.start_stage(stage)
    clips = random_clips(case, device)
    return lambda: learner.update(clips, stage, 0, 0)


def plain_update(case: Case, device: torch.device) -> Callable[[], object]:
    """Return the plain update."""
    objective = case.objective(device, "float32")
    student = build_student(case.params.student, GRID, objective.prediction_dim).to(device)
    for block in (*student.encoder.blocks, *student.decoder.blocks):
        block.attn = MaterialisedAttention(block.attn)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, foreach=False)
    clips = random_clips(case, device)
    video = normalise(clips.frames_BTHWC)
    is_masked = draw_masks(MASK, GRID, clips.boxes_BKT4, seed=0, step=0)[0]

    def update() -> None:
        targets = objective.targets(clips.frames_BTHWC)
        loss, _ = objective.loss(plain_forward(student, video, is_masked), targets, is_masked)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.get_total_norm([p.grad for p in student.parameters()])
        optimizer.step()

    return update


def work(case: Case, make: Callable[[Case, torch.device], Callable[[], object]], pipe: Connection) -> None:
    """Run updates when told to; send the seconds that each took, and at the end the memory."""
    torch.set_num_threads(case.threads)
    device = pick_device(case.device)
    update = make(case, device)
    while pipe.recv():
        began = time.perf_counter()
        update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - began)
    if device.type == "cuda":
        pipe.send(torch.cuda.max_memory_allocated() / 2**30)
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def measure(case: Case, updates: int) -> dict[str, tuple[float, float]]:
    """Return (median seconds, GiB) of each variant; they take turns, and the first update of each does not count."""
    context = mp.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name, make in (("ours", our_update), ("plain", plain_update)):
        pipes[name], theirs = context.Pipe()
        context.Process(target=work, args=(case, make, theirs), daemon=True).start()
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    for turn in range(updates + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            took = pipe.recv()
            if turn:
                seconds[name].append(took)
    results = {}
    for name, pipe in pipes.items():
        pipe.send(False)
        results[name] = (statistics.median(seconds[name]), pipe.recv())
    return results


def flops_per_clip(case: Case) -> float:
    """Return FLOPs of student and targets for one clip."""
    objective = case.objective(torch.device("cpu"), "float32")
    hidden = num_masked(MASK, GRID)
    targets = count_flops(
        objective.targets, random_clips(Case("small", False, 1, "cpu", 1), torch.device("cpu")).frames_BTHWC
    )
    return StudentCost(case.params.student, GRID, hidden, objective.prediction_dim).training_flops + targets


def report(case: Case, updates: int) -> None:
    """Measure one case and print a line for each variant."""
    flops = flops_per_clip(case)
    peak = peak_flops(pick_device(case.device))
    results = measure(case, updates)
    print(
        f"\nViT-{case.size}, batch {case.batch}, {'with' if case.with_teacher else 'without'} teacher, "
        f"{flops / 1e9:.0f} GFLOP a clip"
    )
    for name, (seconds, gib) in results.items():
        rate = case.batch / seconds
        share = f", {100 * rate * flops / peak:.1f}% of the peak" if peak else ""
        kind = str(pick_precision(case.precision, pick_device(case.device))) if name == "ours" else "torch.float32"
        print(f"  {name:5}  {rate:8.3g} clips/s  {rate * flops / 1e12:8.3g} TFLOP/s{share}  {gib:5.2f} GiB  {kind[6:]}")
    print(f"  ratio  {results['plain'][0] / results['ours'][0]:.2f}")


def report_cached(side_px: int, batch: int, device: torch.device, updates: int) -> None:
    """Measure an update of a small student whose teacher is cached against one that runs it, in turns.

    Cached features lie in the batch as the loader leaves them, in float16; reading them is not measured.
    """
    values = {
        "student": {"size": "tiny", "width": 128, "depth": 4, "heads": 2, "decoder_width": 96, "decoder_depth": 2},
        "mask": MASK,
        "batch_size": batch,
        "max_steps": 1000,
        "optimizer": {"warmup_steps": 0},
    }
    params = PretrainParams.model_validate(values)
    grid = TokenGrid.of(Canvas(side_px, side_px, 8), tubelet_size=2, patch_size=16)
    teacher = build_teacher(TeacherParams(library="efficientnet_lite0"), grid, device=device)
    canvas, generator = grid.canvas, torch.Generator().manual_seed(0)
    shape = (batch, canvas.num_frames, canvas.height, canvas.width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(device)
    boxes = torch.full((batch, 1, canvas.num_frames, 4), float("nan"), device=device)
    run, cached = DeviceBatch(frames, boxes, 0), DeviceBatch(frames, boxes, 0, None, teacher(frames).half())
    stage = plan_stages(params, 1_000_000)[0]
    seconds: dict[str, list[float]] = {"teacher run": [], "teacher cached": []}
    learners = {
        "teacher run": (Objective(params.target, teacher, grid).to(memory_format=torch.channels_last), run),
        "teacher cached": (Objective(params.target, None, grid, cached_dim=teacher.width), cached),
    }
    made = {
        name: (Learner(params, obj.to(device), World(RankInfo(), device), 0), b) for name, (obj, b) in learners.items()
    }
    for learner, _ in made.values():
        learner.start_stage(stage)
    for turn in range(updates + 1):
        for name, (learner, clips) in made.items():
            began = time.perf_counter()
            learner.update(clips, stage, 0, 0).loss.item()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"\nstudent of width 128, {side_px} px, batch {batch}, teacher EfficientNet-Lite0")
    for name, median in medians.items():
        print(f"  {name:14}  {batch / median:8.3g} clips/s")
    print(f"  ratio  {medians['teacher run'] / medians['teacher cached']:.2f}")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, choices=["cpu", "cuda"])
    parser.add_argument("--size", help="small on CPU, base on CUDA")
    parser.add_argument("--batches", type=int, nargs="+", help="4 on CPU, 32 and 256 on CUDA")
    parser.add_argument("--updates", type=int, default=3, help="timed updates of each variant")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"], help="of our update")
    parser.add_argument(
        "--cached", type=int, metavar="PX", help="measure only the cached teacher, on clips of this side"
    )
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: nothing was measured")
    if options.cached:
        torch.set_num_threads(options.threads)
        report_cached(options.cached, (options.batches or [32])[0], pick_device(options.device), options.updates)
        return
    on_cpu = options.device == "cpu"
    for batch in options.batches or ([4] if on_cpu else [32, 256]):
        for with_teacher in (False, True):
            size = options.size or ("small" if on_cpu else "base")
            report(Case(size, with_teacher, batch, options.device, options.threads, options.precision), options.updates)


if __name__ == "__main__":
    main()
