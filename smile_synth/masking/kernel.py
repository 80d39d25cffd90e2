"""The ranking of masks as one compiled loop: on a CPU many times quicker than the same ranking by tensor operations.

It gives the same masks to the last token as ``masking.sample_masks``, which serves every other device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from smile_synth.machine.compiled import entry_point, inlined
from smile_synth.masking.grid import TokenGrid
from smile_synth.recipe.pretrain import MaskKind, RegionRule

Array = npt.NDArray[Any]
# Steps of the SplitMix64 generator; see masking.mask_noise.
GOLDEN, FIRST_FACTOR, SECOND_FACTOR = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
INDEX_BITS, NOISE_BITS = 24, 31
_BINS, _BIN_SHIFT = 256, INDEX_BITS + NOISE_BITS - 8
_SHOW, _PLAIN, _TUBE, _HIDE = 0, 1, 2, 3
_KINDS: dict[MaskKind, int] = {
    "random": 0,
    "tube": 1,
    "motion": 2,
    "trajectory": 3,
    "trajectory_visible_tubelet": 4,
}
_RANDOM, _MOTION, _TRAJECTORY = 0, 2, 3


def rank_on_cpu(
    kind: MaskKind,
    grid: TokenGrid,
    boxes_BKT4: npt.NDArray[np.float32],
    *,
    start: int,
    first: int,
    hidden: int,
    visible_fraction: float,
    region: RegionRule,
    moves_BS: npt.NDArray[np.bool_],
    hidden_moving: int,
) -> npt.NDArray[np.bool_]:
    """Return one mask for every clip.

    Args:
        kind: of the masks.
        grid: the token grid.
        boxes_BKT4: NaN where an object is absent.
        start: state of the noise generator, modulo 2^64.
        first: place in the global batch of the first clip.
        hidden: tokens that every mask hides.
        visible_fraction: share of object tokens left visible by ``trajectory`` masks.
        region: which tokens a box covers.
        moves_BS: places that count as moving, for ``motion`` masks; (B, 0) for the others.
        hidden_moving: how many of those ``motion`` masks hide.

    Returns:
        bool (B, N), True where the student does not see the token.
    """
    is_masked_BN = np.empty((len(boxes_BKT4), grid.num_tokens), np.bool_)
    shape = (grid.tubelets, grid.rows, grid.columns, grid.tubelet_size, grid.patch_size)
    reach = 1 if region == "published" else 0
    _rank(
        is_masked_BN,
        boxes_BKT4,
        moves_BS,
        shape,
        _KINDS[kind],
        np.uint64(start % 2**64),
        first,
        hidden,
        hidden_moving,
        visible_fraction,
        reach,
    )
    return is_masked_BN


@inlined
def _noise(keys: Array, start: np.uint64, counter: np.uint64) -> None:  # pragma: no cover (compiled)
    """Fill ``keys`` with 31 random bits above each key's own number."""
    for j in range(len(keys)):
        x = start + (counter + np.uint64(j)) * np.uint64(GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST_FACTOR)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND_FACTOR)
        x = x ^ (x >> np.uint64(31))
        keys[j] = ((x >> np.uint64(33)) << np.uint64(INDEX_BITS)) | np.uint64(j)


@inlined
def _threshold(keys: Array, count: int, wanted: int) -> np.uint64:  # pragma: no cover (compiled)
    """Return the key that exactly ``wanted`` of the first ``count`` keys reach; 1 <= wanted <= count."""
    bins = np.zeros(_BINS, np.int32)
    for j in range(count):
        bins[keys[j] >> np.uint64(_BIN_SHIFT)] += 1
    place = _BINS - 1
    while bins[place] < wanted:
        wanted -= bins[place]
        place -= 1
    members, size = np.empty(bins[place], np.uint64), 0
    for j in range(count):
        if keys[j] >> np.uint64(_BIN_SHIFT) == np.uint64(place):
            members[size] = keys[j]
            size += 1
    members.sort()
    found: np.uint64 = members[size - wanted]
    return found


@inlined
def _draw_tube(classes: Array, place_keys: Array, tubelets: int, wanted: int) -> None:  # pragma: no cover (compiled)
    places = len(place_keys)
    lowest = _threshold(place_keys, places, wanted)
    for place in range(places):
        classes[place] = _TUBE if place_keys[place] >= lowest else _PLAIN
    for tubelet in range(1, tubelets):
        classes[tubelet * places : (tubelet + 1) * places] = classes[:places]


@inlined
def _draw_motion_tube(
    classes: Array, place_keys: Array, chosen: Array, moves: Array, tubelets: int, wanted: int, wanted_moving: int
) -> None:  # pragma: no cover (compiled)
    """Hide ``wanted_moving`` of the places that move, and of the others what is left of ``wanted``."""
    places = len(place_keys)
    for group in range(2):
        hidden = wanted_moving if group == 1 else wanted - wanted_moving
        count = 0
        for place in range(places):
            if moves[place] == (group == 1):
                chosen[count] = place_keys[place]
                count += 1
        lowest = np.uint64(2**63)
        if hidden > 0:
            lowest = _threshold(chosen, count, hidden)
        for place in range(places):
            if moves[place] == (group == 1):
                classes[place] = _TUBE if place_keys[place] >= lowest else _PLAIN
    for tubelet in range(1, tubelets):
        classes[tubelet * places : (tubelet + 1) * places] = classes[:places]


@inlined
def _mark_objects(
    classes: Array, boxes_KT4: Array, shape: tuple[int, int, int, int, int], reach: int
) -> None:  # pragma: no cover (compiled)
    tubelets, rows, columns, frames, patch = shape
    size = np.float32(patch)
    for k in range(len(boxes_KT4)):
        for tubelet in range(tubelets):
            left = top = np.float32(np.inf)
            right = bottom = np.float32(-np.inf)
            for t in range(tubelet * frames, (tubelet + 1) * frames):
                box = boxes_KT4[k, t]
                # Comparisons with NaN are false, so that an absent object changes nothing.
                left = box[0] if box[0] < left else left
                top = box[1] if box[1] < top else top
                right = box[2] if box[2] > right else right
                bottom = box[3] if box[3] > bottom else bottom
            if not (left < np.inf and top < np.inf and right > -np.inf and bottom > -np.inf):
                continue
            row_stop = int(min(max(np.ceil(bottom / size) + reach, 0), rows))
            column_stop = int(min(max(np.ceil(right / size) + reach, 0), columns))
            for row in range(int(min(max(np.floor(top / size), 0), rows)), row_stop):
                start = (tubelet * rows + row) * columns
                for column in range(int(min(max(np.floor(left / size), 0), columns)), column_stop):
                    classes[start + column] = _HIDE


@inlined
def _show_some(classes: Array, keys: Array, chosen: Array, fraction: float) -> None:  # pragma: no cover (compiled)
    count = _gather(classes, keys, chosen, _HIDE)
    shown = int(count * fraction + 1e-9)
    if shown == 0:
        return
    lowest_hidden = np.uint64(2**63)
    if shown < count:
        lowest_hidden = _threshold(chosen, count, count - shown)
    for j in range(len(classes)):
        if classes[j] == _HIDE and keys[j] < lowest_hidden:
            classes[j] = _SHOW


@inlined
def _show_tubelet(classes: Array, start: int, stop: int) -> None:  # pragma: no cover (compiled)
    for j in range(start, stop):
        if classes[j] == _HIDE:
            classes[j] = _SHOW


@inlined
def _count(classes: Array, wanted: int) -> int:  # pragma: no cover (compiled)
    count = 0
    for j in range(len(classes)):
        count += classes[j] == wanted
    return count


@inlined
def _gather(classes: Array, keys: Array, chosen: Array, wanted: int) -> int:  # pragma: no cover (compiled)
    """Copy the keys of a class to the front of ``chosen`` and return how many there are."""
    count = 0
    for j in range(len(classes)):
        # Written always, counted when it belongs: no branch to mispredict.
        chosen[count] = keys[j]
        count += classes[j] == wanted
    return count


@inlined
def _hide_top(
    is_masked: Array, classes: Array, keys: Array, chosen: Array, hidden: int
) -> None:  # pragma: no cover (compiled)
    split = _HIDE
    count = _count(classes, split)
    while count < hidden:
        hidden -= count
        split -= 1
        count = _count(classes, split)
    if count == hidden:
        for j in range(len(classes)):
            is_masked[j] = classes[j] >= split
        return
    _gather(classes, keys, chosen, split)
    lowest = _threshold(chosen, count, hidden)
    for j in range(len(classes)):
        is_masked[j] = (classes[j] > split) | ((classes[j] == split) & (keys[j] >= lowest))


@entry_point("void(b1[:,::1], f4[:,:,:,::1], b1[:,::1], UniTuple(i8,5), i8, u8, i8, i8, i8, f8, i8)")
def _rank(
    is_masked_BN: Array,
    boxes_BKT4: Array,
    moves_BS: Array,
    shape: tuple[int, int, int, int, int],
    kind: int,
    start: np.uint64,
    first: int,
    hidden: int,
    hidden_moving: int,
    visible_fraction: float,
    reach: int,
) -> None:  # pragma: no cover (compiled)
    tubelets, rows, columns, _, _ = shape
    places = rows * columns
    tokens = tubelets * places
    keys, place_keys = np.empty(tokens, np.uint64), np.empty(places, np.uint64)
    classes, chosen = np.empty(tokens, np.uint8), np.empty(tokens, np.uint64)
    for clip in range(len(is_masked_BN)):
        counter = np.uint64((first + clip) * (tokens + places + 1))
        _noise(keys, start, counter)
        classes[:] = _PLAIN
        if kind != _RANDOM:
            _noise(place_keys, start, counter + np.uint64(tokens))
            if kind == _MOTION:
                wanted = hidden // tubelets
                _draw_motion_tube(classes, place_keys, chosen, moves_BS[clip], tubelets, wanted, hidden_moving)
            else:
                _draw_tube(classes, place_keys, tubelets, hidden // tubelets)
        if kind >= _TRAJECTORY:
            _mark_objects(classes, boxes_BKT4[clip], shape, reach)
            if kind == _TRAJECTORY:
                _show_some(classes, keys, chosen, visible_fraction)
            else:
                last = np.empty(1, np.uint64)
                _noise(last, start, counter + np.uint64(tokens + places))
                tubelet = int((last[0] >> np.uint64(INDEX_BITS)) % np.uint64(tubelets))
                _show_tubelet(classes, tubelet * places, (tubelet + 1) * places)
        _hide_top(is_masked_BN[clip], classes, keys, chosen, hidden)
