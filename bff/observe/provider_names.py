"""The names of providers in metrics: told where there are several, as no label where there is one."""

from collections.abc import Sequence


class ProviderNames:
    """The names of the providers of a process, which change while it runs."""

    def __init__(self) -> None:
        self._names: Sequence[str] = ()

    def take(self, names: Sequence[str]) -> None:
        """Takes the names of all providers."""
        self._names = tuple(names)

    def labels(self) -> Sequence[str]:
        """Returns the labels of all of them."""
        return self._names if len(self._names) > 1 else ("",)

    def label(self, name: str) -> str:
        """Returns the label of one."""
        return name if len(self._names) > 1 else ""
