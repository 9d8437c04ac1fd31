"""The form of an audit event in a stream of its own."""

import json
from typing import Any

import pytest

from bff.observe.audit_ecs import LONGEST_LINE, document, line

pytestmark = pytest.mark.requirement("B-27")
NOW = {"timestamp": "2026-05-04T09:12:33.104512Z", "logger": "bff.audit", "level": "info", "audit": True}


def told(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(line({**NOW, **fields}, pid=7))
    return made


def test_who_when_where_and_why() -> None:
    """By the schema's names; what has no value is left out, what has no name there stands under `bff`."""
    record = {"event": "session_ended", "sub": "alice", "session": "0123456789ab", "reason": "idle"}
    found = told(**record, address="192.0.2.7", provider_revoked=False, worker=2, request_id="r1", error=None)
    assert NOW["timestamp"] == found["@timestamp"]
    assert {"id": "alice"} == found["user"]
    assert {"ip": "192.0.2.7"} == found["source"]
    assert {"request": {"id": "r1"}} == found["http"]
    assert {"session": {"id": "0123456789ab"}, "provider_revoked": False, "worker": 2} == found["bff"]
    assert "error" not in found
    assert ("session_ended", "success", "idle", ["end"]) == tuple(
        found["event"][name] for name in ("action", "outcome", "reason", "type")
    )


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("2001:db8::7", {"ip": "2001:db8::7"}),
        ("unknown", {"address": "unknown"}),
        ("edited\nby hand", {"address": "edited\nby hand"}),
        (None, None),
    ],
)
def test_only_an_address_is_an_ip(address: str | None, source: dict[str, str] | None) -> None:
    """An index of addresses refuses everything else, and with it the whole event."""
    assert source == told(event="record_tampered", address=address).get("source")


def test_an_event_without_a_session_says_nothing_of_one() -> None:
    """`null` is no session."""
    assert "bff" not in told(event="account_added", sub="alice", session=None)


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 100_000, '"\\\n' * 50_000])
@pytest.mark.parametrize("field", ["sub", "reason", "error", "address", "request_id", "session", "other"])
def test_a_line_is_bounded(field: str, text: str) -> None:
    """Whatever a stranger wrote into a field, an event is one line of at most 8 KiB, and valid JSON."""
    written = line({**NOW, "event": "record_tampered", field: text}, pid=7)
    assert len(written) <= LONGEST_LINE
    assert 1 == written.count(b"\n") == written.endswith(b"\n")
    assert "record_tampered" == json.loads(written)["event"]["action"]


def test_a_line_of_long_fields_keeps_who_and_why() -> None:
    """Where all fields are long the event's own go first, and the line says so."""
    long = dict.fromkeys(("sub", "reason", "error", "address", "request_id", "a", "b", "c"), "\x01" * 600)
    written = line({**NOW, "event": "record_tampered", **long}, pid=7)
    found = json.loads(written)
    assert len(written) <= LONGEST_LINE
    assert {"truncated": True} == found["bff"]
    assert found["user"]["id"].startswith("\x01" * 63)


def test_a_document_is_made_of_the_closed_set_alone() -> None:
    """A name that is none of it is a mistake in the code."""
    with pytest.raises(KeyError):
        document({**NOW, "event": "invented"}, pid=7)
