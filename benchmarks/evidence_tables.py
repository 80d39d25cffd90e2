"""From the answers of the evidence's probes to its tables and its curve."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from smile_synth.files import replace_file
from smile_synth.probe.files import RIGHT_FILE
from smile_synth.probe.results import TRAINED, UNTRAINED
from smile_synth.randomness import stream

OURS = "smile-motion"
RESAMPLES = 4000
CEILING = ("end-to-end", "supervised")
# Of the baselines; frame differences have no tokens for attentive pooling.
BASELINES = {
    "untrained": UNTRAINED,
    "differences": "differences",
    "teacher": "teacher",
    "trained on answers": CEILING[1],
}
BEGIN, END = "<!-- tables: benchmarks/evidence.py --table writes what follows -->", "<!-- end of tables -->"
TITLES = {
    "attentive": "Attentive pooling, eight queries",
    "linear": "Linear, on the mean token",
    "knn": "Ten nearest neighbours, on the mean token",
}

Right = dict[str, npt.NDArray[np.bool_]]
Shares = npt.NDArray[np.float64]


def read_right(folder: Path) -> Right:
    """Return which test clips were answered rightly, by ``question/classifier/features``."""
    with np.load(folder / RIGHT_FILE) as arrays:
        return {name: arrays[name] for name in arrays.files}


def interval(right_SC: Shares) -> tuple[float, float, float]:
    """Return the mean over seeds and clips, with the interval of 95 % of resamples of both.

    Args:
        right_SC: (seeds, test clips), or differences of such.
    """
    rng = stream(0, "evidence")
    # How often each seed and each clip is drawn: a resample's mean is then one weighted sum.
    seeds_RS, clips_RC = (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in right_SC.shape)
    means_R = ((seeds_RS @ right_SC) * clips_RC).sum(axis=1)
    low, high = np.quantile(means_R, (0.025, 0.975))
    return float(right_SC.mean()), float(low), float(high)


@dataclass(frozen=True, eq=False)
class Results:
    """The answers of all complete arms.

    Args:
        arms: whose runs are all probed.
        seeds: of the runs.
        right: answers by arm and seed.
        baselines: answers of the baselines; empty where they were not probed yet.
        chance: by question, of always giving the commonest training class.
        cpu_s: CPU seconds of every run's training, start included, by arm.
        missing: what is not complete, for people.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    right: Mapping[tuple[str, int], Right]
    baselines: Right
    chance: Mapping[str, float]
    cpu_s: Mapping[str, list[float]]
    missing: tuple[str, ...] = ()

    @classmethod
    def read(cls, out: Path, arms: Sequence[str], seeds: Sequence[int]) -> Results:
        """Return what is complete in a folder of ``evidence.py``.

        Raises:
            RuntimeError: no arm is.
        """
        right, missing = {}, []
        for arm in arms:
            names = {seed: f"{arm}-{seed}" for seed in seeds}
            absent = [name for name in names.values() if not _is_probed(out, name)]
            missing += absent
            if not absent:
                right.update({(arm, seed): _read(out, name) for seed, name in names.items()})
        complete = tuple(arm for arm in arms if (arm, seeds[0]) in right)
        if not complete:
            raise RuntimeError(f"no arm in {out} is complete yet; run the benchmark without --table first")
        baselines = _read(out, "baselines") if _is_probed(out, "baselines") else {}
        missing += [] if baselines else ["baselines"]
        cpu_s = _cpu_seconds(out)
        return cls(
            complete,
            tuple(seeds),
            right,
            baselines,
            _chance(out, f"{complete[0]}-{seeds[0]}"),
            {arm: [cpu_s.get(f"runs-{arm}-{seed}", float("nan")) for seed in seeds] for arm in complete},
            tuple(missing),
        )

    @property
    def asked(self) -> list[str]:
        """Questions that every complete run answered, in order."""
        names = [
            {name.split("/")[0]: None for name in self.right[arm, seed]} for arm in self.arms for seed in self.seeds
        ]
        return [question for question in names[0] if all(question in other for other in names)]

    def of(self, arm: str, question: str, classifier: str, features: str = TRAINED) -> Shares | None:
        """Return (seeds, clips), 1 where an arm was right; None where that was not asked."""
        name = f"{question}/{classifier}/{features}"
        if any(name not in self.right[arm, seed] for seed in self.seeds):
            return None
        return np.stack([self.right[arm, seed][name] for seed in self.seeds]).astype(np.float64)

    def baseline(self, features: str, question: str, classifier: str) -> Shares | None:
        """Return (1, clips), 1 where a baseline was right; None where that was not asked."""
        classifier = CEILING[0] if features == CEILING[1] else classifier
        found = self.baselines.get(f"{question}/{classifier}/{features}")
        return None if found is None else found[None].astype(np.float64)


def _is_probed(out: Path, name: str) -> bool:
    return (out / "probes" / name / RIGHT_FILE).is_file()


def _read(out: Path, name: str) -> Right:
    """Return the answers of a run about generated clips and, where they were asked, about real videos."""
    parts = [part for part in (name, f"transfer-{name}") if _is_probed(out, part)]
    return {key: value for part in parts for key, value in read_right(out / "probes" / part).items()}


def _chance(out: Path, name: str) -> dict[str, float]:
    files = [out / "probes" / part / "results.json" for part in (name, f"transfer-{name}")]
    rows = [row for file in files if file.is_file() for row in json.loads(file.read_text())["questions"]]
    return {row["name"]: float(row["chance"]) for row in rows}


def _cpu_seconds(out: Path) -> dict[str, float]:
    """Return the CPU seconds of every command, the parts of an interrupted one added up."""
    file, total = out / "commands.jsonl", dict[str, float]()
    for line in file.read_text().splitlines() if file.is_file() else []:
        row = json.loads(line)
        total[row["name"]] = total.get(row["name"], 0) + row["cpu_s"]
    return total


def put_tables(document: Path, results: Results, steps: Mapping[str, int], batch: Mapping[str, int]) -> None:
    """Replace what stands between the two marks of a document by the tables.

    Raises:
        RuntimeError: the document has no such marks.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{document} has no place for the tables: give it the lines {BEGIN!r} and {END!r}")
    new = f"{before}{BEGIN}\n\n{tables(results, steps, batch)}\n\n{END}{after}"
    replace_file(document, lambda path: path.write_text(new, encoding="utf-8"))


def tables(results: Results, steps: Mapping[str, int], batch: Mapping[str, int]) -> str:
    """Return all tables as Markdown."""
    blocks = [_effort(results, steps, batch)]
    blocks += [f"### {title}\n\n{_accuracies(results, classifier)}" for classifier, title in TITLES.items()]
    blocks.append(f"### Middle block\n\n{_middle(results)}")
    blocks += [
        f"### {OURS} minus each other, {classifier}\n\n{_differences(results, classifier)}"
        for classifier in ("attentive", "linear")
        if OURS in results.arms
    ]
    return "\n\n".join(blocks)


def _effort(results: Results, steps: Mapping[str, int], batch: Mapping[str, int]) -> str:
    lines = [_row("arm", "steps", "clips seen", "CPU seconds of each seed, start included"), _rule(4)]
    for arm in results.arms:
        seconds = " ".join(f"{second:.0f}" for second in results.cpu_s[arm])
        lines.append(_row(arm, f"{steps[arm]:,}", f"{steps[arm] * batch[arm]:,}", seconds))
    return "\n".join(lines)


def _accuracies(results: Results, classifier: str) -> str:
    beside = [
        title
        for title, features in BASELINES.items()
        if any(results.baseline(features, question, classifier) is not None for question in results.asked)
    ]
    lines = [_row("question", "chance", *results.arms, *beside), _rule(2 + len(results.arms) + len(beside))]
    for question in results.asked:
        cells = [results.of(arm, question, classifier) for arm in results.arms]
        cells += [results.baseline(BASELINES[title], question, classifier) for title in beside]
        lines.append(_row(question, f"{100 * results.chance[question]:.0f}", *map(_cell, cells)))
    return "\n".join(lines)


def _middle(results: Results) -> str:
    """Return how much better an earlier block answers than the last, of the first seed."""
    first = replace(results, seeds=results.seeds[:1])
    names = {name.split("/")[2] for name in first.right[first.arms[0], first.seeds[0]]}
    lines = [_row("block minus last, first seed", *first.arms), _rule(1 + len(first.arms))]
    for block in sorted(name for name in names if name.startswith("block-")):
        for question in first.asked:
            for classifier in ("attentive", "linear"):
                cells = [
                    _minus(first.of(arm, question, classifier, block), first.of(arm, question, classifier))
                    for arm in first.arms
                ]
                if any(cell is not None for cell in cells):
                    row = (_cell(cell, signed=True) for cell in cells)
                    lines.append(_row(f"{block}: {question}, {classifier}", *row))
    return "\n".join(lines)


def _differences(results: Results, classifier: str) -> str:
    others = [arm for arm in results.arms if arm != OURS]
    beside = {title: features for title, features in BASELINES.items() if features != CEILING[1]}
    lines = [_row("question", *others, *beside), _rule(1 + len(others) + len(beside))]
    for question in results.asked:
        ours = results.of(OURS, question, classifier)
        cells = [_minus(ours, results.of(arm, question, classifier)) for arm in others]
        cells += [_minus(ours, results.baseline(features, question, classifier)) for features in beside.values()]
        lines.append(_row(question, *(_cell(cell, signed=True) for cell in cells)))
    return "\n".join(lines)


def _minus(one: Shares | None, other: Shares | None) -> Shares | None:
    return None if one is None or other is None else one - other


def _cell(right_SC: Shares | None, *, signed: bool = False) -> str:
    if right_SC is None:
        return "-"
    value, low, high = (100 * share for share in interval(right_SC))
    sign = "+" if signed else ""
    return f"{value:{sign}.1f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return _row(*["---"] * columns)


def draw_curve(folders: Mapping[int, Path], arm: str, results: Results, picture: Path) -> None:
    """Draw the accuracy of direction against the clips seen, on a log axis.

    Args:
        folders: probes of checkpoints, by clips seen.
        arm: what was trained.
        results: for the untrained network and chance.
        picture: PNG to write.
    """
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), dpi=150)
    clips = sorted(folders)
    for classifier, colour in (("attentive", "tab:blue"), ("linear", "tab:orange")):
        shares = [read_right(folders[seen])[f"direction/{classifier}/{TRAINED}"] for seen in clips]
        points = 100 * np.array([interval(share[None].astype(np.float64)) for share in shares])
        axes.plot(clips, points[:, 0], "o-", color=colour, label=f"{arm}, {classifier}")
        axes.fill_between(clips, points[:, 1], points[:, 2], color=colour, alpha=0.2, linewidth=0)
        for features, style in ((UNTRAINED, ":"), ("differences", "--")):
            found = results.baseline(features, "direction", classifier)
            if found is not None:
                label = f"{features}, {classifier}"
                axes.axhline(100 * found.mean(), color=colour, linestyle=style, linewidth=1, label=label)
    axes.axhline(100 * results.chance["direction"], color="grey", linewidth=1, label="chance")
    axes.set(xscale="log", xlabel="clips seen", ylabel="direction right, %", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    options: dict[str, Any] = {"metadata": {"Software": None}}
    figure.savefig(picture, **options)
    pyplot.close(figure)
