"""The fixtures of the flow tests serve here too."""

from tests.flow.conftest import both_fronts

__all__ = ["both_fronts"]
