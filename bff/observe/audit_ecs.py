"""An audit event as a line of the audit stream: a document of the Elastic Common Schema. Pure."""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from bff import __version__
from bff.observe.audit_events import EVENTS

ECS_VERSION: Final = "8.17.0"
LONGEST_LINE: Final = 8 * 1024
"""Bytes of a line, its end included. What is longer loses its own fields, and says so."""

LONGEST_TEXT: Final = 512
"""Characters of one value."""

_SHORT_TEXT = 64  # characters of one value, in a line that would be too long
_KNOWN: Final = frozenset(
    {
        *("event", "timestamp", "sub", "address", "reason", "error", "request_id"),
        *("trace_id", "span_id", "audit", "logger", "level"),
    }
)


def document(record: Mapping[str, Any], *, pid: int) -> dict[str, Any]:
    """An audit event's log record, secrets masked, as a document of the Elastic Common Schema.

    Fields without a value are left out. What the schema has no field for stands under `bff`.
    """
    name: Any = record["event"]
    described = EVENTS[name]
    own = {key: value for key, value in record.items() if key not in _KNOWN}
    if own.get("session") is not None:
        own["session"] = {"id": own["session"]}
    return _without_none(
        {
            "@timestamp": record["timestamp"],
            "ecs": {"version": ECS_VERSION},
            "event": {
                "kind": "event",
                "category": list(described.category),
                "type": list(described.type),
                "action": name,
                "outcome": described.outcome,
                "reason": record.get("reason"),
                "dataset": "bff.audit",
            },
            "user": {"id": record.get("sub")},
            "source": _source(record.get("address")),
            "error": {"code": record.get("error")},
            "http": {"request": {"id": record.get("request_id")}},
            "trace": {"id": record.get("trace_id")},
            "span": {"id": record.get("span_id")},
            "service": {"name": "bff", "type": "bff", "version": __version__},
            "process": {"pid": pid},
            "bff": own,
        }
    )


def line(record: Mapping[str, Any], *, pid: int) -> bytes:
    """Returns an event as one line of JSON in ASCII, its end included, of at most `LONGEST_LINE` bytes."""
    whole = document(record, pid=pid)
    text = json.dumps(_cut(whole, LONGEST_TEXT))
    if len(text) >= LONGEST_LINE:
        text = json.dumps({**_cut(whole, _SHORT_TEXT), "bff": {"truncated": True}})
    return text.encode("ascii") + b"\n"


def _source(address: Any) -> dict[str, Any]:
    if address is None:
        return {}
    try:
        return {"ip": str(ip_address(address))}
    except ValueError:  # nobody knows it, or somebody edited the record that it comes from
        return {"address": address}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that have a value, at any depth."""
    inner = {key: _without_none(item) if isinstance(item, dict) else item for key, item in fields.items()}
    return {key: item for key, item in inner.items() if item is not None and item != {}}


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else value[: longest - 1] + "…"
    if isinstance(value, dict):
        return {key: _cut(item, longest) for key, item in value.items()}
    return [_cut(item, longest) for item in value] if isinstance(value, list) else value
