"""An intern pool: one object for all that would be equal, kept for as long as anybody uses it. Pure.

A process may have a hundred frontends whose rules differ in nothing but their origin. Calls of all of them
come in turn, and what each had of its own would push the others' out of the processor's caches.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class InternPool(Generic[T]):
    """Objects that never change, or that may be shared, by the values that they are made of."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[Hashable, T] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """Returns the object of this key, made now if there is none."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
        return known
