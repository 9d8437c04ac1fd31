"""The interface of the readers that join questions to Redis into batches (`batch_reader.py`, `cluster/`)."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from bff.session.hash_read import Loaded, LoadedValues, SessionReads

T = TypeVar("T")

Told = Callable[[T | Exception], None]
"""Takes an answer, or the error in its place. It does not raise."""


class Batches(Protocol):
    """A reader of hashes: from one server, or from those of a cluster."""

    def load(
        self, name: bytes, *, timed: bool = False, note: bytes | None = None
    ) -> "asyncio.Future[Loaded]":
        """As `BatchReader.load`."""

    def read(self, key: str, reads: SessionReads, then: Told[LoadedValues], *, timed: bool) -> None:
        """As `BatchReader.read`."""

    def evaluate(self, name: bytes, words: bytes) -> "asyncio.Future[Any]":
        """As `BatchReader.evaluate`."""

    def run(self, name: bytes, words: bytes, then: Told[Any]) -> None:
        """As `BatchReader.run`."""

    def renew(self) -> None:
        """As `BatchReader.renew`."""

    async def aclose(self) -> None:
        """As `BatchReader.aclose`."""
