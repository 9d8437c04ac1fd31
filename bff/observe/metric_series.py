"""The series of one metric: looked up by their label values, and bounded in number."""

from collections import Counter as Count
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

MAX_SERIES: Final = 1000
"""Label combinations that one metric may have; further ones are counted as `other`."""

M = TypeVar("M", Counter, Gauge, Histogram)


class Series(Generic[M]):
    """The children of one metric: one dictionary access when known.

    With `of_each` the first label is a frontend's name: each frontend has the bound for itself, and their
    number has it, too.
    """

    def __init__(self, metric: M, *, of_each: bool = False) -> None:
        self._metric: M = metric
        self._children: dict[tuple[str, ...], M] = {}
        self._of_each = of_each
        self._counts: Count[str] = Count()

    def __getitem__(self, labels: tuple[str, ...]) -> M:
        child = self._children.get(labels)
        return self._added(labels) if child is None else child

    def _added(self, labels: tuple[str, ...]) -> M:
        first = labels[0] if self._of_each else ""
        if first not in self._counts and len(self._counts) >= MAX_SERIES:
            first, labels = "other", ("other", *labels[1:])
        if self._counts[first] >= MAX_SERIES:
            kept = labels[: int(self._of_each)]
            labels = kept + tuple(label and "other" for label in labels[len(kept) :])
        known = self._children.get(labels)
        if known is None:
            self._counts[first] += 1
            known = self._children[labels] = self._metric.labels(*labels)
        return known

    def prepare(self, values: Iterable[tuple[str, ...]]) -> None:
        """Makes series appear with 0: a rate over a series that springs up at 1 misses the first event."""
        for labels in values:
            self[labels]
