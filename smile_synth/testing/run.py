"""The generator contract run as a whole: a verdict for every check, and the speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from smile_synth.errors import GeneratorError, SmileSynthError
from smile_synth.generator.deadline import DeadlineError, deadline
from smile_synth.generator.faults import faults_of, said
from smile_synth.params import first_problem
from smile_synth.render import render
from smile_synth.scene import Canvas
from smile_synth.testing.contract import CHECKS, Check, ContractBroken, Subject

SECONDS_PER_CHECK = 60.0
WARM_UP_CLIPS = 8
MEASURED_SECONDS = 1.5
FULL_SIZE = Canvas(224, 224, 16)


@dataclass(frozen=True)
class Verdict:
    """What one check found.

    Args:
        what: what a sound generator does.
        problem: why this one does not; empty where it does.
    """

    what: str
    problem: str


def run_checks(subject: Subject) -> Iterator[Verdict]:
    """Yield a verdict for every check of the contract.

    Raises:
        GeneratorError: there is no such generator, or its parameters are not valid, so that nothing can be checked.
    """
    with faults_of(subject.name, "cannot be checked", seconds=SECONDS_PER_CHECK):
        try:
            subject.cls.Params.model_validate(dict(subject.params))
        except ValidationError as error:
            raise GeneratorError(
                first_problem(error, subject.cls.Params, where=f"parameters of {subject.cls.__name__}")
            ) from error
    for check in CHECKS:
        yield Verdict((check.__doc__ or check.__name__).strip(), _problem(check, subject))


def measure_speed(subject: Subject) -> str:
    """Return one line on how fast clips of 16 x 224 x 224 are sampled and rendered on one core.

    Raises:
        GeneratorError: the generator fails at this size, or is too slow to be measured.
    """
    with faults_of(subject.name, f"fails on clips of {FULL_SIZE}", seconds=SECONDS_PER_CHECK):
        return _measured_speed(subject)


def _measured_speed(subject: Subject) -> str:
    generator = subject.build(FULL_SIZE)
    for clip in range(WARM_UP_CLIPS):
        render(subject.scene(generator, clip))
    sampling = rendering = 0.0
    clips = 0
    while sampling + rendering < MEASURED_SECONDS:
        start = time.process_time()
        scene = subject.scene(generator, WARM_UP_CLIPS + clips)
        between = time.process_time()
        render(scene)
        rendering += time.process_time() - between
        sampling += between - start
        clips += 1
    speed, sample_ms, render_ms = clips / (sampling + rendering), 1e3 * sampling / clips, 1e3 * rendering / clips
    advice = "; sampling costs more than rendering: look there first" if sampling > rendering else ""
    return (
        f"speed: {speed:.0f} clips/s on one core at 16 x 224 x 224 "
        f"(sampling {sample_ms:.1f} ms, rendering {render_ms:.1f} ms{advice})"
    )


def _problem(check: Check, subject: Subject) -> str:
    try:
        with deadline(SECONDS_PER_CHECK):
            check(subject)
    except (ContractBroken, SmileSynthError, DeadlineError) as error:
        return str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plug-in raises is the verdict on it
        return said(error)
    return ""
