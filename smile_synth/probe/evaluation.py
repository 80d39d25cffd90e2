"""Putting questions to frozen features: clips, features, classifiers, scores, in that order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from smile_synth.probe.attentive import fit_attentive, num_epochs
from smile_synth.probe.classifiers import Examples, Fitted, fit_linear, fit_neighbours, group_labels, group_means
from smile_synth.probe.clips import (
    ClipSource,
    StoreClips,
    assets_drawn,
    cached_store,
    check_nothing_shared,
    probe_dataset,
)
from smile_synth.probe.features import Extractor, FeatureTable, compute_features
from smile_synth.probe.labels import Answers, answers_to, check_label, question_text
from smile_synth.probe.results import DIFFERENCES, TRAINED, UNTRAINED, ProbeResults, QuestionResult, Reading
from smile_synth.probe.supervised import SupervisedNetwork
from smile_synth.probe.videos import video_question
from smile_synth.progress import track
from smile_synth.randomness import stream
from smile_synth.recipe.dataset import CanvasParams
from smile_synth.recipe.probe import ORDER, ClassifierName, ProbeParams, QuestionParams
from smile_synth.score import Interval, Score, chance_level, difference, score
from smile_synth.store import Store

END_TO_END = "end-to-end"


@dataclass(frozen=True)
class ProbePlace:
    """Where a probe works, apart from what it asks.

    Args:
        features: folder in which features are kept.
        clips: folder in which rendered clips are kept; several runs may share it.
        recipe_folder: what relative paths of the parameters start from.
        device: where networks and attentive pooling run.
        workers: processes that render clips, threads that decode videos.
        pretraining_assets: digest -> name of the images that the model was pretrained on, as far as known.
        notes: what a reader must know besides the metrics.
        shown_on: where progress is shown; None means standard error.
    """

    features: Path
    clips: Path
    recipe_folder: Path
    device: torch.device
    workers: int = 2
    pretraining_assets: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shown_on: TextIO | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """What one question is asked about: clips and right answers of both parts.

    Args:
        question: as in the recipe.
        text: what is asked, for people.
        train, test: clips.
        train_answers, test_answers: by number of the group.
    """

    question: QuestionParams
    text: str
    train: ClipSource
    test: ClipSource
    train_answers: Answers
    test_answers: Answers


def probe_features(
    extractors: Sequence[Extractor],
    params: ProbeParams,
    canvas: CanvasParams,
    place: ProbePlace,
    *,
    checkpoint: str,
    supervised: SupervisedNetwork | None = None,
) -> ProbeResults:
    """Ask every question of every kind of features.

    Args:
        extractors: kinds of features; the one named ``trained`` is what is probed.
        params: questions and classifiers.
        canvas: size of the clips, as the network takes them.
        place: folders and device.
        checkpoint: what is probed, as the user named it.
        supervised: the network that is trained on the answers themselves, if any.

    Returns:
        All readings.

    Raises:
        ProbeError: a question does not fit its clips.
        VideoError: a video cannot be read.
    """
    began_s = time.monotonic()
    materials, notes = prepare_materials(params, canvas, place)
    results = ask_all(materials, extractors, params, place, checkpoint=checkpoint, supervised=supervised)
    return replace(results, notes=(*place.notes, *notes), seconds=time.monotonic() - began_s)


def ask_all(
    materials: Sequence[Material],
    extractors: Sequence[Extractor],
    params: ProbeParams,
    place: ProbePlace,
    *,
    checkpoint: str,
    supervised: SupervisedNetwork | None = None,
) -> ProbeResults:
    """Ask every question of every kind of features, clips and right answers being there.

    Args:
        materials: from ``prepare_materials``.
        extractors, params, place, checkpoint, supervised: as in ``probe_features``.
    """
    began_s = time.monotonic()
    questions = []
    for material in materials:
        train_tables, test_tables = (
            compute_features(
                extractors,
                clips,
                place.features,
                batch_size=params.batch_size,
                with_tokens="attentive" in params.classifiers,
                shown_on=place.shown_on,
            )
            for clips in (material.train, material.test)
        )
        question = _ask(material, extractors, train_tables, test_tables, params, place)
        if supervised is not None:
            reading = _ask_supervised(material, supervised, params, place)
            question = replace(question, readings=(*question.readings, reading))
        questions.append(question)
    return ProbeResults(
        checkpoint=checkpoint,
        questions=tuple(questions),
        seconds=time.monotonic() - began_s,
        params=params.model_dump(mode="json"),
    )


def prepare_materials(params: ProbeParams, canvas: CanvasParams, place: ProbePlace) -> tuple[list[Material], list[str]]:
    """Render or list the clips of every question and find the right answers.

    Returns:
        One material a question, and notes for the reader.

    Raises:
        ProbeError: a label is missing, a class has too few clips, or training and test clips share something.
    """
    stores = {source: _stores(params, source, canvas, place) for source in params.sources}
    notes = [
        note
        for source, (_, test) in stores.items()
        if (note := _shared_with_pretraining(source, test, place.pretraining_assets))
    ]
    materials = []
    for question in params.questions:
        if question.videos is not None:
            materials.append(_video_material(question, params, canvas, place))
        else:
            materials.append(_store_material(question, params, *stores[question.source]))
    return materials, notes


def _stores(params: ProbeParams, source: str, canvas: CanvasParams, place: ProbePlace) -> tuple[Store, Store]:
    train, test = (probe_dataset(params, source, part, canvas, place.recipe_folder) for part in ("train", "test"))
    for question in params.questions:
        if question.source == source:
            check_label(question, train.label_specs)
    train_store = cached_store(train, f"{source}-train", place.clips, workers=place.workers)
    test_store = cached_store(test, f"{source}-test", place.clips, workers=place.workers)
    check_nothing_shared(source, train_store, test_store)
    return train_store, test_store


def _shared_with_pretraining(source: str, test: Store, pretraining: Mapping[str, str]) -> str:
    drawn = assets_drawn(test)
    shared = sorted(drawn[digest] for digest in set(drawn) & set(pretraining))
    if not shared:
        return ""
    return (
        f"note: {len(shared)} of {len(drawn)} images in the test clips of {source!r}, such as {shared[0]!r}, were seen "
        "in pretraining; pretrain with dataset.assets.split=pretrain to keep them apart"
    )


def _store_material(question: QuestionParams, params: ProbeParams, train: Store, test: Store) -> Material:
    answers = answers_to(question, train, test, min_clips_per_class=params.min_clips_per_class)
    clips = [
        StoreClips(store, f"{question.source}-{part}", is_reversed)
        for store, part, is_reversed in zip(
            (train, test),
            ("train", "test"),
            [part.labels == 1 if question.label == ORDER else None for part in answers],
            strict=True,
        )
    ]
    return Material(question, question_text(question, train.label_specs), clips[0], clips[1], *answers)


def _video_material(question: QuestionParams, params: ProbeParams, canvas: CanvasParams, place: ProbePlace) -> Material:
    train, test, train_answers, test_answers = video_question(
        question,
        canvas,
        place.recipe_folder,
        workers=place.workers,
        min_clips_per_class=params.min_clips_per_class,
    )
    return Material(question, "which class of video?", train, test, train_answers, test_answers)


def _ask(
    material: Material,
    extractors: Sequence[Extractor],
    train_tables: Mapping[str, FeatureTable],
    test_tables: Mapping[str, FeatureTable],
    params: ProbeParams,
    place: ProbePlace,
) -> QuestionResult:
    readings: list[Reading] = []
    for classifier in params.classifiers:
        askable = [e for e in extractors if classifier != "attentive" or e.has_tokens]
        epochs = num_epochs(params.attentive) if classifier == "attentive" else 1
        with track(
            epochs * len(askable), f"fit {classifier} for {material.question.name}", "epochs", place.shown_on
        ) as bar:
            for extractor in askable:
                train = examples(material.train, material.train_answers, train_tables[extractor.name], classifier)
                test = examples(material.test, material.test_answers, test_tables[extractor.name], classifier)
                fitted = _fit(classifier, train, params, material.question.name, place.device, bar.advance)
                readings.append(_reading(extractor, classifier, fitted, train, test, params, material.question.name))
    train_labels, test_labels = (
        answers.labels[answers.labels >= 0] for answers in (material.train_answers, material.test_answers)
    )
    return QuestionResult(
        name=material.question.name,
        text=material.text,
        classes=material.train_answers.classes,
        num_train=len(train_labels),
        num_test=len(test_labels),
        chance=chance_level(train_labels, test_labels),
        readings=tuple(_with_gains(readings, params, material.question.name)),
    )


def _ask_supervised(
    material: Material, supervised: SupervisedNetwork, params: ProbeParams, place: ProbePlace
) -> Reading:
    """Return how well the network answers that is trained on the answers themselves."""
    name = material.question.name
    rng = stream(params.seed, f"probe-fit/{name}/{END_TO_END}")
    with track(params.supervised.epochs, f"train for {name}", "epochs", place.shown_on) as bar:
        fitted = supervised.fit(material.train, material.train_answers, rng=rng, advance=bar.advance)
    labels = material.test_answers.labels[material.test.groups]
    fits = labels >= 0
    probabilities = fitted(material.test)[fits]
    test = Examples(probabilities, labels[fits], material.test.groups[fits])
    answers = group_means(probabilities, test.groups).argmax(axis=1)
    rng = stream(params.seed, f"probe-bootstrap/{name}")
    result = score(answers, group_labels(test), probabilities.shape[1], resamples=params.resamples, rng=rng)
    return Reading("supervised", "same network trained on the answers", END_TO_END, supervised.num_inputs, result)


def examples(clips: ClipSource, answers: Answers, table: FeatureTable, classifier: ClassifierName) -> Examples:
    """Return the examples that a question fits: pooled features, or tokens for attentive pooling."""
    features = table.tokens if classifier == "attentive" else table.pooled
    labels, scenes = answers.labels[clips.groups], clips.scenes
    fits = labels >= 0
    if fits.all():
        # Tokens stay on disk.
        return Examples(features, labels, clips.groups, scenes)
    return Examples(features, labels, clips.groups, scenes).part(fits)


def _fit(
    classifier: ClassifierName,
    train: Examples,
    params: ProbeParams,
    question: str,
    device: torch.device,
    advance: Callable[[int], None],
) -> Fitted:
    # The same stream for every kind of features: they are compared on the same validation part.
    rng = stream(params.seed, f"probe-fit/{question}/{classifier}")
    if classifier == "attentive":
        share = params.validation_share
        return fit_attentive(train, params.attentive, share=share, rng=rng, device=device, advance=advance)
    if classifier == "linear":
        fitted = fit_linear(train, params.linear, share=params.validation_share, rng=rng)
    else:
        fitted = fit_neighbours(train, params.knn)
    advance(1)
    return fitted


def _reading(
    extractor: Extractor,
    classifier: ClassifierName,
    fitted: Fitted,
    train: Examples,
    test: Examples,
    params: ProbeParams,
    question: str,
) -> Reading:
    answers = group_means(fitted.probabilities(test.features), test.groups).argmax(axis=1)
    num_classes = int(train.labels.max()) + 1
    rng = stream(params.seed, f"probe-bootstrap/{question}")
    result: Score = score(answers, group_labels(test), num_classes, resamples=params.resamples, rng=rng)
    numbers = int(np.prod(train.features.shape[1:]))
    return Reading(extractor.name, extractor.title, classifier, numbers, result, fitted.chosen)


def _with_gains(readings: Sequence[Reading], params: ProbeParams, question: str) -> list[Reading]:
    """Add to the trained model's readings how far they lie above the untrained network and frame differences."""
    scores = {(r.features, r.classifier): r.score for r in readings}

    def gain(reading: Reading, base: Score | None) -> Interval | None:
        if base is None:
            return None
        rng = stream(params.seed, f"probe-gain/{question}")
        return difference(reading.score, base, resamples=params.resamples, rng=rng)

    return [
        replace(
            reading,
            over_untrained=gain(reading, scores.get((UNTRAINED, reading.classifier))),
            over_differences=gain(
                reading, scores.get((DIFFERENCES, reading.classifier), scores.get((DIFFERENCES, "linear")))
            ),
        )
        if reading.features == TRAINED
        else reading
        for reading in readings
    ]
