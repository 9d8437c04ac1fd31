"""The description of `/bff/*`, `bff/web/openapi.yaml`, as the tests and the documentation read it."""

from functools import cache
from typing import Any

import yaml

from tests.structure.source import ROOT

PATH = ROOT / "bff" / "web" / "openapi.yaml"
_METHODS = {"get", "post", "put", "patch", "delete"}

Operation = tuple[str, str]
"""A path as the description has it, and a method in lower case."""


@cache
def description() -> dict[str, Any]:
    """The whole document."""
    found: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return found


def operations() -> dict[Operation, dict[str, Any]]:
    """All operations."""
    return {
        (path, method): operation
        for path, item in description()["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    }


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A part of the description, or the part that it refers to."""
    reference = node.get("$ref")
    if reference is None:
        return node
    found: Any = description()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    part_found: dict[str, Any] = found
    return part_found
