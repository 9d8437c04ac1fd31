"""A check of real answers by the description of `/bff/*`."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.support.openapi import Operation, description, operations, resolved

_BASE = "urn:bff:openapi"
_REFUSED = 400


def operation_of(method: str, path: str) -> Operation | None:
    """The operation that answers a request, HEAD as GET; None for a path that is not described."""
    method = "get" if method == "HEAD" else method.lower()
    for template, known in operations():
        if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return template, known
    return None


def hold(answer: httpx.Response) -> None:
    """Fails unless an answer of the proxy's own endpoints is as described."""
    request = answer.request
    said = complaints(request.method, request.url.path, answer.status_code, answer.headers, answer.content)
    assert [] == said, f"{said} {answer.content!r}"


def complaints(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
    """The ways in which an answer is not as described; none for a path that is not."""
    found = operation_of(method, path)
    if found is None:
        return []
    answers = operations()[found]["responses"]
    answer = resolved(answers.get(str(status)) or answers["default"])
    if str(status) not in answers and status < 400:
        return [f"{found}: {status} is not described"]
    said = [
        f"{name}: {error.message}"
        for name, header in answer.get("headers", {}).items()
        for error in _header_errors(resolved(header), headers.get(name))
    ]
    content = answer.get("content", {})
    kind = headers.get("content-type", "").partition(";")[0]
    if not content or method == "HEAD":
        return said
    if kind not in content:
        return [*said, f"{found}: {status} as {kind!r} is not described"]
    if kind.endswith("json"):
        schema = _schema_at(found, answers, status, kind)
        said += [f"{error.json_path}: {error.message}" for error in schema.iter_errors(json.loads(body))]
    return said


@cache
def validator(pointer: str) -> Draft202012Validator:
    """A validator for the schema at a JSON pointer into the document."""
    resource: Resource[Any] = DRAFT202012.create_resource(description())
    registry: Registry[Any] = Registry().with_resource(_BASE, resource)
    return Draft202012Validator({"$ref": f"{_BASE}#{pointer}"}, registry=registry)


def _schema_at(found: Operation, answers: Mapping[str, Any], status: int, kind: str) -> Draft202012Validator:
    name = str(status) if str(status) in answers else "default"
    reference = answers[name].get("$ref")
    path, method = found
    where = reference[1:] if reference else f"/paths/{_escaped(path)}/{method}/responses/{name}"
    return validator(f"{where}/content/{_escaped(kind)}/schema")


def _escaped(part: str) -> str:
    """A part of a JSON pointer in a URI fragment."""
    return part.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _header_errors(header: Mapping[str, Any], value: str | None) -> list[Any]:
    if value is None:
        return [_Missing()] if header.get("required") else []
    return list(Draft202012Validator(header["schema"]).iter_errors(value))


class _Missing:
    message = "is missing"
