"""The page of `bff/web/openapi.yaml`: each operation with its parameters and answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.docs.settings_doc import escaped
from tests.support.openapi import operations, resolved


def text() -> str:
    """The generated part of the page."""
    return "\n\n".join(
        part
        for (path, method), operation in operations().items()
        for part in _operation(path, method, operation)
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {method.upper()} `{path}` {{ #{operation['operationId']} }}"
    yield " ".join(escaped(operation[name]) for name in ("summary", "description") if name in operation)
    parameters = [resolved(each) for each in operation.get("parameters", [])]
    if parameters:
        rows = [f"| `{each['name']}` | {each['in']} | {_told(each)} |" for each in parameters]
        yield "\n".join(["| parameter | in | |", "|---|---|---|", *rows])
    answers = ((status, resolved(answer)) for status, answer in operation["responses"].items())
    rows = [
        f"| {status.replace('default', 'else')} | {_kinds(answer)} | {escaped(answer['description'])} |"
        for status, answer in answers
    ]
    yield "\n".join(["| status | content | |", "|---|---|---|", *rows])


def _told(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    values = " or ".join(f"`{value}`" for value in schema.get("enum", ()))
    default = f"Default `{schema['default']}`" if "default" in schema else ""
    return ". ".join(
        part.rstrip(".") for part in (escaped(parameter.get("description", "")), values, default) if part
    )


def _kinds(answer: Mapping[str, Any]) -> str:
    return ", ".join(_kind(kind, said) for kind, said in answer.get("content", {}).items())


def _kind(kind: str, said: Mapping[str, Any]) -> str:
    schema = said["schema"]
    names = [each["$ref"].rpartition("/")[2] for each in schema.get("oneOf", [schema]) if "$ref" in each]
    return f"`{kind}`" + (f" ({' or '.join(names)})" if names else "")
