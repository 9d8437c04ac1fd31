"""A session as one piece of bytes."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bff.crypto import Keyring, new_secret, session_key
from bff.session.cached_session import CachedSession
from bff.session.model import OwnToken, Refreshing, Session
from bff.session.near_cache import PREFIX
from tests.session.sample import NOW, needed, sample_session, sample_tokens

HANDLE = Keyring([new_secret()]).new_handle()

texts = st.text(max_size=40)
times = st.floats(0, 4e9)
tokens = st.builds(
    sample_tokens,
    access_token=texts,
    obtained_at=times,
    access_expires_at=st.none() | times,
    refresh_token=st.none() | st.text(min_size=1),
    refresh_expires_at=st.none() | times,
    refresh_end_moves=st.booleans(),
    proof_key=st.none() | st.just("ES256." + 43 * "A"),
)
sessions = st.builds(
    sample_session,
    key=st.just(session_key(HANDLE)),
    version=st.integers(1, 2**32 - 1),
    provider=texts,
    sub=texts,
    sid=st.none() | texts,
    created=times,
    seen=times,
    ends=times,
    tokens=tokens,
    rotations=st.integers(0, 100),
    refreshing=st.none() | st.builds(Refreshing, times, texts, lost=st.booleans()),
    exchanged=st.dictionaries(
        texts, st.builds(OwnToken, texts, times, st.none() | times, st.booleans()), max_size=3
    ),
)


@given(sessions)
def test_what_a_call_needs_comes_back(session: Session) -> None:
    """Every field that forwarding looks at is as it was, to the last bit; the rest is left out."""
    packed = CachedSession.of(HANDLE, session, NOW)
    kept = CachedSession(packed.value, b"\xff" * PREFIX + packed.entry[PREFIX:])
    assert (HANDLE, needed(session)) == (kept.found.handle, kept.found.session)
    assert (session.tokens.access_token.encode(), session.key) == (kept.token, kept.key)
    assert HANDLE.encode() == kept.value
    alike = ("quiet_until", "good_until", "bound", "token", "value", "provider", "proof_key", "version")
    assert [getattr(packed, name) for name in alike] == [getattr(kept, name) for name in alike]
    assert (session.tokens.proof_key or "") == kept.proof_key.decode()


@pytest.mark.requirement("B-08")
def test_the_rest_is_not_in_it() -> None:
    """The refresh token, the ID token and the claims are in no byte of it."""
    secret = sample_tokens(refresh_token="refresh-secret", id_token="id-secret")
    session = sample_session(tokens=secret, claims={"email": "mail-secret"}, name="name-secret")
    assert b"secret" not in CachedSession.of(HANDLE, session, NOW).entry


@given(sessions, times, times, st.integers(-(2**63), 2**63 - 1))
def test_its_use_is_noted_in_it(session: Session, good: float, seen: float, fingerprint: int) -> None:
    """`seen` and the quiet time change, never beyond the moment up to which it is good; nothing else does."""
    assume(not set(session.tokens.access_token) & set("\r\n\0"))  # the next test's
    packed = CachedSession.of(HANDLE, session, NOW, good, fingerprint)
    assert (good, fingerprint) == (packed.good_until, packed.fingerprint)
    used = CachedSession(packed.value, packed.used(seen, NOW + 60))
    assert (min(NOW + 60, good), good) == (used.quiet_until, used.good_until)
    assert (packed.token, packed.value, fingerprint) == (used.token, used.value, used.fingerprint)
    assert needed(replace(session, seen=seen)) == used.found.session


@pytest.mark.parametrize("sign", ["\r", "\n", "\0"])
def test_a_token_that_must_not_be_sent_is_never_quiet(sign: str) -> None:
    """The forwarder refuses it; the fast path leaves it to that."""
    good, bad = (
        CachedSession.of(HANDLE, sample_session(tokens=sample_tokens(access_token=f"a{one}b")), NOW, NOW)
        for one in ("", sign)
    )
    assert [NOW, -math.inf] == [one.quiet_until for one in (good, bad)]
    assert [NOW, -math.inf] == [one.good_until for one in (good, bad)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"sub": "0123456789abcdef" * 2, "sid": "s" * 36}, {"tokens": sample_tokens(refresh_token=None)}],
)
def test_it_is_small(changes: dict[str, Any]) -> None:
    """A session's own bytes come to less than 300 beside its token."""
    session = replace(sample_session(key=session_key(HANDLE)), **changes)
    packed = CachedSession.of(HANDLE, session, NOW)
    assert len(packed.entry) < len(packed.token) + 300
