"""The Redis form of a session."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bff.crypto import Keyring, new_secret, session_key
from bff.session.model import OwnToken, Refreshing, Session, Tokens
from bff.session.record import (
    FIELDS,
    decode_record,
    decode_values,
    encode_exchanged,
    encode_record,
    format_device,
    record_of,
    rounded,
    values_of,
)
from tests.session.sample import NOW, sample_session, sample_tokens

KEYRING = Keyring([new_secret()])
HANDLE = KEYRING.new_handle()
SESSION = sample_session(key=session_key(HANDLE))


def encoded(session: Session = SESSION) -> dict[str, str]:
    return encode_record(session, HANDLE, KEYRING)


def test_a_record_reads_back_as_it_was_written() -> None:
    """Every field survives, the marker and missing ones too."""
    assert SESSION == decode_record(SESSION.key, encoded(), HANDLE, KEYRING)
    other = rounded(
        replace(SESSION, sid=None, refreshing=Refreshing(NOW, "7"), created=NOW + 0.12345, rotations=3)
    )
    assert other == decode_record(other.key, encoded(other), HANDLE, KEYRING)
    lost = replace(SESSION, refreshing=Refreshing(NOW, "host/7", lost=True))
    assert lost == decode_record(lost.key, encoded(lost), HANDLE, KEYRING)


@pytest.mark.requirement("P-03")
def test_the_key_of_bound_tokens_is_sealed() -> None:
    """It comes back with the tokens, and is readable nowhere; without one a former version opens it."""
    bound = replace(SESSION, tokens=sample_tokens(proof_key="ES256.secret"))
    bound = replace(bound, exchanged={"orders": OwnToken("o", NOW, None, bound=True)})
    record = {**encoded(bound), "exchanged": encode_exchanged(bound, HANDLE, KEYRING)}
    assert bound == decode_record(bound.key, record, HANDLE, KEYRING)
    assert "ES256" not in str(record) + repr(bound)
    plain = replace(SESSION, exchanged={"orders": OwnToken("o", NOW, None)})
    sealed = {**encoded(plain), "exchanged": encode_exchanged(plain, HANDLE, KEYRING)}
    opened = [_opened(sealed, "tokens", b""), _opened(sealed, "exchanged", b" exchanged")]
    assert "proof_key" not in opened[0]["tokens"]
    assert {"access_token", "obtained_at", "expires_at"} == set(opened[1]["orders"])


def _opened(record: dict[str, str], field: str, label: bytes) -> Any:
    """What is sealed in one field, as a former version reads it."""
    bound = [
        SESSION.key,
        *(record[name] for name in ("version", "provider", "sub", "sid", "created", "ends")),
    ]
    plaintext = KEYRING.open_record(HANDLE, record[field], json.dumps(bound).encode() + label)
    assert plaintext is not None
    return json.loads(plaintext)


def test_readable_claims_stand_beside_the_sealed_ones() -> None:
    """Those that are named and kept, if they are text, cut where they are long; nothing hangs on them."""
    claims = {"email": "a" * 300, "groups": ["staff"], "phone": "1"}
    record = encode_record(replace(SESSION, claims=claims), HANDLE, KEYRING, ("email", "groups", "nickname"))
    assert {"claim:email": "a" * 256} == {
        name: value for name, value in record.items() if name.startswith("claim:")
    }
    assert "claim:email" not in encoded(), "none is named"
    opened = decode_record(SESSION.key, {**record, "claim:email": "edited"}, HANDLE, KEYRING)
    assert opened is not None
    assert claims == opened.claims


@pytest.mark.requirement("B-08")
def test_the_operator_sees_who_and_when_and_no_token() -> None:
    """Nothing in the record opens an account."""
    record = encoded()
    assert ("alice", "Alice", "main", "test") == (
        record["sub"],
        record["name"],
        record["provider"],
        record["ua"],
    )
    everything = " ".join(record.values())
    for secret in ("access-1", "refresh-1", "id-token-1", "alice@example.com", HANDLE):
        assert secret not in everything


@pytest.mark.requirement("B-31")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "2"),
        ("ends", f"{NOW + 999999:.3f}"),
        ("created", "0.000"),
        ("sub", "bob"),
        ("sid", "sid-2"),
        ("sid", ""),
        ("provider", "other"),
        ("tokens", ""),
        ("seen", "never"),
        ("seen", "inf"),
        ("refreshing", "soon me"),
    ],
)
def test_an_edited_record_does_not_open(field: str, value: str) -> None:
    """Who can write Redis cannot swap, prolong or re-assign a session."""
    assert decode_record(SESSION.key, encoded() | {field: value}, HANDLE, KEYRING) is None


@pytest.mark.requirement("B-31")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [7, b"\xff"])
def test_values_that_are_no_text_of_ours_do_not_open(field: str, value: Any) -> None:
    """They raise nothing; the fields for people alone may hold whatever bytes there are."""
    values = list(values_of(encoded()))
    values[FIELDS.index(field)] = value
    opened = decode_values(SESSION.key, values, HANDLE, KEYRING)
    assert (opened is not None) is (field in {"name", "ua", "ip", "frontend"} and value == b"\xff")


@pytest.mark.requirement("B-31")
def test_old_tokens_cannot_be_put_back() -> None:
    """The tokens of an earlier version do not open under a later one, nor those of another session."""
    old = encoded()
    new = encoded(replace(SESSION, version=2, tokens=sample_tokens(access_token="access-2")))
    assert decode_record(SESSION.key, new | {"tokens": old["tokens"]}, HANDLE, KEYRING) is None
    assert decode_record("1" * 64, old, HANDLE, KEYRING) is None
    assert decode_record(SESSION.key, {}, HANDLE, KEYRING) is None


def test_tokens_that_are_no_earlier_version_s_do_not_open() -> None:
    """Fields that had not been thought of yet are left out; one that nobody knows is a later version's."""
    known = {"access_token": "a", "obtained_at": NOW, "access_expires_at": None}
    assert Tokens("a", NOW, None) == _decoded({"tokens": known, "claims": {}, "rotations": 0})
    unknown = {**known, "colour": "blue"}
    assert _decoded({"tokens": unknown, "claims": {}, "rotations": 0}) is None
    del known["obtained_at"]
    assert _decoded({"tokens": known, "claims": {}, "rotations": 0}) is None


def _decoded(secret: Any) -> Tokens | None:
    """The tokens of a record in which this is sealed."""
    record = encoded()
    bound = [
        SESSION.key,
        *(record[name] for name in ("version", "provider", "sub", "sid", "created", "ends")),
    ]
    plaintext = json.dumps(secret).encode()
    record["tokens"] = KEYRING.seal_record(HANDLE, plaintext, json.dumps(bound).encode())
    session = decode_record(SESSION.key, record, HANDLE, KEYRING)
    return None if session is None else session.tokens


@pytest.mark.parametrize("proof_key", [None, "ES256.secret"])
def test_a_raw_record_reads_back_as_it_was_written(proof_key: str | None) -> None:
    """Every field survives, a text of it as well; what a later version has put in beside does not open."""
    tokens = sample_tokens(proof_key=proof_key, refresh_end_moves=False, scope="a b")
    session = replace(SESSION, tokens=tokens, sid=None, rotations=3)
    record = encode_record(session, HANDLE, KEYRING, raw=True)
    assert session == decode_record(session.key, record, HANDLE, KEYRING)
    assert record == record_of(values_of(record))
    secret = _opened(record, "tokens", b"")
    assert (8 if proof_key is None else 9) == len(secret["tokens"])
    assert [None, None] == [_decoded({**secret, "tokens": each}) for each in (["a"], [*range(10)])]


@pytest.mark.parametrize(
    "sub", ['a", "b', '"', "\\", "\\u0041", "\n", "\x7f", "\x1f", "Ünïcödé", "\ud800", "", "a b", "🍵"]
)
def test_the_fields_that_the_seal_is_bound_to_are_a_json_array(sub: str) -> None:
    """Whatever stands in them, and as the standard library writes it: earlier records open."""
    session = replace(SESSION, sub=sub)
    record = encoded(session)
    bound = [
        session.key,
        *(record[name] for name in ("version", "provider", "sub", "sid", "created", "ends")),
    ]
    assert KEYRING.open_record(HANDLE, record["tokens"], json.dumps(bound).encode()) is not None
    assert session == decode_record(session.key, record, HANDLE, KEYRING)


def test_fields_do_not_change_places() -> None:
    """Two records whose fields differ are never bound to the same text."""
    record = encoded(replace(SESSION, provider="a", sub='b", "c'))
    assert decode_record(SESSION.key, record, HANDLE, KEYRING) is not None
    moved = {**record, "provider": 'a", "b', "sub": "c"}
    assert decode_record(SESSION.key, moved, HANDLE, KEYRING) is None


def test_reads_ask_for_every_field_that_a_session_is_made_of() -> None:
    """A record without its readable claims is the same session; every other field is asked for."""
    full = replace(
        SESSION, frontend="shop", refreshing=Refreshing(NOW, "7"), exchanged={"a": OwnToken("o", NOW, None)}
    )
    record = encode_record(full, HANDLE, KEYRING, readable=["email"])
    record["exchanged"] = encode_exchanged(full, HANDLE, KEYRING)
    record["device"] = format_device(full.key, "key", KEYRING)
    assert set(FIELDS) == {name for name in record if not name.startswith("claim:")}
    read = {name: record[name] for name in FIELDS}
    assert replace(full, bound=True) == decode_record(full.key, read, HANDLE, KEYRING)


def test_the_values_that_redis_answers_make_the_record_again() -> None:
    """Each of the fields in its place; a field that there is not is none of the record's."""
    full = {name: f"the {name}" for name in FIELDS}
    assert full == record_of([f"the {name}".encode() for name in FIELDS])
    for missing in FIELDS:
        rest = {name: value for name, value in full.items() if name != missing}
        assert rest == record_of(values_of(rest))
    assert {} == record_of([None] * len(FIELDS))
