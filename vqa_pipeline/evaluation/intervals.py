"""How sure a mean is: 95 % intervals by drawing images with replacement.

Questions about one image are right or wrong together, so what is drawn are images, each with all of its questions; had
questions been drawn, intervals would be too narrow. Knows rows, groups of rows and numbers, not what they mean.

Sources: the cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 3.8). A mean in
[0, 1] gets Wilson's interval (JASA 22, 1927) for as many trials as would vary as much as the draws do, reduced by
Student's quantile, as surveys with clusters do it (Korn and Graubard, Survey Methodology 24, 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field
from scipy.special import ndtri, stdtrit

from vqa_pipeline.schemas import Frozen

NUM_DRAWS = 1000
FEWEST_IMAGES = 30
"""A group with fewer images says too little to be read: its interval is told, and that it is not to be relied on."""

_TAIL = 0.025
_DRAWN_AT_ONCE = 50
_DECIMALS = 6
_NOTHING = 1e-15
"""A variance that is but the rounding of sums."""

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Members = np.ndarray[Any, np.dtype[np.bool_]]


class Interval(Frozen):
    """Where the mean over all questions that might have been asked lies, with 95 % confidence."""

    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)


class ImageDraws:
    """The same random draws of images for all that is measured on the same rows, so that it can be compared."""

    def __init__(self, images: Sequence[str], num_draws: int = NUM_DRAWS, seed: int = 0) -> None:
        """`images`: that of each row. Draws depend on how many distinct ones there are and on the seed alone."""
        distinct, self._codes = np.unique(np.array(images, dtype=np.str_), return_inverse=True)
        self._order = np.argsort(self._codes, kind="stable")
        self._starts = np.searchsorted(self._codes[self._order], np.arange(len(distinct)))
        self.num_images = len(distinct)
        self._num_draws, self._seed = num_draws, seed

    def find_intervals(self, values: Numbers, members: Members) -> list[Interval]:
        """The interval of the mean of `values` over each group.

        The plain percentiles of the draws hold too little where values are nearly all 0 or 1, and nothing where all are
        the same; what is used here does not, from ten images on (tests/evaluation/test_intervals.py).

        Args:
            values: (rows,), in [0, 1].
            members: (rows, groups), which rows belong to which group; every group has one.
        """
        means = (values @ members) / members.sum(axis=0)
        variances = np.nanvar(self.draw_means(values, members), axis=0)
        num_images = self.count_images(members)
        with np.errstate(divide="ignore", invalid="ignore"):
            trials = np.where(variances > _NOTHING, means * (1 - means) / variances, num_images)
        freedom = np.maximum(1, num_images - 1)
        trials = trials * (freedom / (freedom + 1)) * (ndtri(_TAIL) / stdtrit(freedom, _TAIL)) ** 2
        return [_round(low, high) for low, high in zip(*_find_wilson(means, trials), strict=True)]

    def find_difference(self, values: Numbers, others: Numbers) -> Interval:
        """The interval of how much the mean of `values` is above that of `others`.

        Both are (rows,), in [0, 1], and of the same questions.
        """
        return self.find_shifts(values - others, np.ones((len(values), 1), bool))[0]

    def find_shifts(self, gains: Numbers, members: Members) -> list[Interval]:
        """The interval of the mean of paired differences over each group: percentiles of the draws.

        Args:
            gains: (rows,), in [-1, 1].
            members: (rows, groups), which rows belong to which group; every group has one.
        """
        drawn = self.draw_means(gains, members)
        return [_round(low, high) for low, high in np.nanquantile(drawn, [_TAIL, 1 - _TAIL], axis=0).T]

    def draw_means(self, values: Numbers, members: Members) -> Numbers:
        """The mean of `values` (rows,) over each group in each draw: (draws, groups), NaN where a draw has none."""
        sums = self._sum_by_image(values[:, None] * members)
        counts = self._sum_by_image(members.astype(np.float64))
        generator = np.random.default_rng(self._seed)
        means = np.empty((self._num_draws, members.shape[1]))
        for begin in range(0, self._num_draws, _DRAWN_AT_ONCE):
            times = self._draw(generator, min(_DRAWN_AT_ONCE, self._num_draws - begin))
            with np.errstate(invalid="ignore"):
                means[begin : begin + len(times)] = (times @ sums) / (times @ counts)
        return means

    def count_images(self, members: Members) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Distinct images of each group: (groups,)."""
        counts: np.ndarray[Any, np.dtype[np.int64]] = (self._sum_by_image(members.astype(np.float64)) > 0).sum(axis=0)
        return counts

    def _draw(self, generator: np.random.Generator, num_draws: int) -> Numbers:
        """How often each image is drawn: (draws, images)."""
        drawn = generator.integers(0, self.num_images, (num_draws, self.num_images))
        return np.stack([np.bincount(draw, minlength=self.num_images) for draw in drawn]).astype(np.float64)

    def _sum_by_image(self, rows: Numbers) -> Numbers:
        """Sums (images, groups) of (rows, groups)."""
        return np.add.reduceat(rows[self._order], self._starts, axis=0)


def _find_wilson(shares: Numbers, trials: Numbers) -> tuple[Numbers, Numbers]:
    """Wilson's interval of shares of so many trials, which need not be whole."""
    squared = ndtri(_TAIL) ** 2
    middle = (shares + squared / (2 * trials)) / (1 + squared / trials)
    spread = shares * (1 - shares) / trials + squared / (4 * trials**2)
    half = np.sqrt(squared * spread) / (1 + squared / trials)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _round(low: float, high: float) -> Interval:
    """To fewer digits than the order of additions can change."""
    return Interval(low=round(float(low), _DECIMALS), high=round(float(high), _DECIMALS))
