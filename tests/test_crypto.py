"""Handles, sealed records, sealed cookies and proofs."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff import crypto
from bff.crypto import Keyring, decode, encode, new_secret, packed_seal, session_key, unpacked_seal

OLD, NEW = new_secret(), new_secret()
KEYRING = Keyring([NEW, OLD])


def flipped(text: str, index: int) -> str:
    """The text with the lowest bit of one character's 6 bits flipped."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:index] + alphabet[alphabet.index(text[index]) ^ 1] + text[index + 1 :]


@pytest.mark.requirement("B-18")
def test_a_handle_holds_256_random_bits() -> None:
    """Handles are 32 random bytes, never twice the same."""
    handles = {KEYRING.new_handle() for _ in range(200)}
    assert 200 == len(handles)
    assert {32} == {len(decode(handle.partition(".")[0]) or b"") for handle in handles}


@pytest.mark.requirement("B-20", "B-33")
def test_every_single_bit_of_a_handle_counts() -> None:
    """A handle with any one bit flipped is refused, the last ones, which base64 ignores, too."""
    handle = KEYRING.new_handle()
    assert handle == KEYRING.accepts(handle.encode())
    for index in range(len(handle)):
        if handle[index] != ".":
            assert KEYRING.accepts(flipped(handle, index).encode()) is None


@pytest.mark.requirement("B-33")
@pytest.mark.parametrize("extra", [b"=", b"!", b" ", b"\n", b"\xa0", b"A", b".", b"=="])
def test_a_handle_has_one_spelling(extra: bytes) -> None:
    """Nothing can be added to a handle, anywhere."""
    handle = KEYRING.new_handle().encode()
    for index in range(len(handle) + 1):
        assert KEYRING.accepts(handle[:index] + extra + handle[index:]) is None


@pytest.mark.requirement("B-20")
@given(st.binary(max_size=120))
def test_garbage_is_no_handle(value: bytes) -> None:
    """What was not made here is refused, and nothing raises."""
    assert KEYRING.accepts(value) is None


@pytest.mark.requirement("B-20")
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3), st.data())
def test_handles_are_those_of_itsdangerous(secrets: list[bytes], data: st.DataObject) -> None:
    """A handle's signature is taken exactly where itsdangerous takes it, whichever of the keys made it."""
    keyring = Keyring([encode(secret) for secret in secrets])
    maker = Keyring([encode(data.draw(st.sampled_from([*secrets, bytes(32)])))])
    handle = maker.new_handle().encode()
    assert keyring._signer.validate(handle) is (keyring.accepts(handle) is not None)


def test_record_keys_are_those_of_the_library() -> None:
    """The key of a record is HKDF's (RFC 5869) of server key and handle, under the records' own label."""
    keyring = Keyring([new_secret()])
    handle, (key,) = keyring.new_handle(), keyring._keys
    derived = crypto._derive(key.session + handle.encode(), crypto._RECORD)
    assert derived == crypto._record_key(key, handle)


def test_a_handle_of_another_server_is_refused() -> None:
    """A cookie signed by another key is nobody's."""
    assert KEYRING.accepts(Keyring([new_secret()]).new_handle().encode()) is None


def test_keys_rotate_without_ending_sessions() -> None:
    """What the former key made is accepted; the newest key makes."""
    former = Keyring([OLD])
    handle = former.new_handle()
    sealed = former.seal_record(handle, b"tokens", b"bound")
    cookie = former.seal_cookie(b"tx", b"state")
    proof = former.proof(b"logout", handle)
    assert handle == KEYRING.accepts(handle.encode())
    assert b"tokens" == KEYRING.open_record(handle, sealed, b"bound")
    assert b"state" == KEYRING.open_cookie(b"tx", cookie)
    assert KEYRING.proves(b"logout", handle, proof)
    assert former.accepts(KEYRING.new_handle().encode()) is None


@pytest.mark.requirement("B-31")
def test_a_sealed_record_opens_only_as_it_was() -> None:
    """Another handle, other bindings, or any changed character: it does not open."""
    handle = KEYRING.new_handle()
    sealed = KEYRING.seal_record(handle, b"tokens", b"bound")
    assert b"tokens" == KEYRING.open_record(handle, sealed, b"bound")
    assert KEYRING.open_record(KEYRING.new_handle(), sealed, b"bound") is None
    assert KEYRING.open_record(handle, sealed, b"Bound") is None
    for index in range(len(sealed)):
        changed = sealed[:index] + ("A" if sealed[index] != "A" else "B") + sealed[index + 1 :]
        assert KEYRING.open_record(handle, changed, b"bound") is None
    assert KEYRING.open_record(handle, "", b"bound") is None


@pytest.mark.requirement("B-31")
def test_a_raw_record_opens_only_as_it_was() -> None:
    """Another handle, other bindings, or any changed bit: it does not open; text and bytes are the same."""
    handle = KEYRING.new_handle()
    sealed = KEYRING.seal_record(handle, b"tokens", b"bound", raw=True)
    held = packed_seal(sealed)
    assert (sealed, 1 + 4 + 12 + 6 + 16) == (unpacked_seal(held), len(held))
    assert b"tokens" == KEYRING.open_record(handle, sealed, b"bound")
    assert b"tokens" == KEYRING.open_record_bytes(handle, held, b"bound")
    assert KEYRING.open_record_bytes(KEYRING.new_handle(), held, b"bound") is None
    assert KEYRING.open_record_bytes(handle, held, b"Bound") is None
    for index in range(len(held)):
        changed = held[:index] + bytes([held[index] ^ 1]) + held[index + 1 :]
        assert KEYRING.open_record_bytes(handle, changed, b"bound") is None
        assert KEYRING.open_record_bytes(handle, held[:index], b"bound") is None
    assert KEYRING.open_cookie(b"bound", sealed) is None


def test_the_formats_have_keys_of_their_own() -> None:
    """A record of one format does not open as one of the other, whatever its beginning says."""
    handle = KEYRING.new_handle()
    kid = KEYRING.kids[0]
    plain, raw = (KEYRING.seal_record(handle, b"tokens", b"bound", raw=raw) for raw in (False, True))
    data = {sealed[0]: sealed.rpartition(".")[2] for sealed in (plain, raw)}
    assert b"tokens" == KEYRING.open_record(handle, f"1.{kid}.{data['1']}", b"bound")
    assert b"tokens" == KEYRING.open_record(handle, f"2.{kid}.{data['2']}", b"bound")
    assert KEYRING.open_record(handle, f"1.{kid}.{data['2']}", b"bound") is None
    assert KEYRING.open_record(handle, f"2.{kid}.{data['1']}", b"bound") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2.",
        "2.x",
        "2.0a0b0c0d",
        "2.0a0b0c0d.",
        "2.0a0bxxxx.AA",
        "2.0A0b0c0d.AA",
        "2.0a0b0c0d.!",
        "2.0a0b0c0d.é",
        "3.0a0b0c0d.AA",
    ],
)
def test_what_is_no_seal_stays_as_it_is(text: str) -> None:
    """It does not open, and nothing raises."""
    assert text.encode() == packed_seal(text)
    assert KEYRING.open_record(KEYRING.new_handle(), text, b"bound") is None


def test_server_key_and_redis_open_nothing_without_the_cookie() -> None:
    """The key of a record takes the handle to derive: the server's key alone is not enough."""
    handle = KEYRING.new_handle()
    for raw in (False, True):
        sealed = KEYRING.seal_record(handle, b"tokens", b"bound", raw=raw)
        assert KEYRING.open_record("", sealed, b"bound") is None
        assert KEYRING.open_record(session_key(handle), sealed, b"bound") is None


def test_sealed_cookies_are_for_one_purpose_and_never_alike() -> None:
    """A cookie sealed for one purpose does not open for another; two of the same content differ."""
    first, second = KEYRING.seal_cookie(b"tx", b"same"), KEYRING.seal_cookie(b"tx", b"same")
    assert first != second
    assert b"same" == KEYRING.open_cookie(b"tx", first)
    assert KEYRING.open_cookie(b"logout", first) is None
    assert KEYRING.open_cookie(b"tx", first[:-1]) is None


def test_proofs_are_for_one_purpose_and_value() -> None:
    """A proof fits its own purpose and value only."""
    proof = KEYRING.proof(b"logout", "handle")
    assert KEYRING.proves(b"logout", "handle", proof)
    assert not KEYRING.proves(b"logout", "handle2", proof)
    assert not KEYRING.proves(b"other", "handle", proof)
    assert not KEYRING.proves(b"logout", "handle", "é")


def test_the_redis_key_is_a_hash_of_the_handle() -> None:
    """Who reads the key cannot make the cookie."""
    handle = KEYRING.new_handle()
    assert hashlib.sha256(handle.encode()).hexdigest() == session_key(handle)


@pytest.mark.parametrize("keys", [[], ["short"], [encode(b"x" * 31)], [NEW, "not base64!"]])
def test_weak_keys_are_refused(keys: list[str]) -> None:
    """A key that is not 32 bytes is a mistake, not a key."""
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(keys)


@given(st.binary(max_size=64))
def test_decode_undoes_encode(data: bytes) -> None:
    """Base64url without padding, there and back."""
    assert data == decode(encode(data))


@given(st.text(alphabet="AQgwBz09+/-_= \n!é", max_size=9) | st.text(max_size=9))
def test_base64url_has_one_spelling(text: str) -> None:
    """Whatever decodes is what `encode` makes of it: no padding, line end, unused bit, other sign."""
    data = decode(text)
    assert data is None or text == encode(data)


def test_each_last_character_with_unused_bits_is_refused() -> None:
    """Of the 64 characters behind a whole group those alone are taken that leave the unused bits zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    taken = {
        length: sum(decode("A" * (length - 1) + last) is not None for last in alphabet)
        for length in range(1, 9)
    }
    assert {1: 0, 2: 4, 3: 16, 4: 64, 5: 0, 6: 4, 7: 16, 8: 64} == taken


# Keys that change


@pytest.mark.requirement("S-09")
def test_unknown_means_a_look_at_newer_keys() -> None:
    """What another process has made with a key that is not known here yet is known after one look."""
    third = Keyring([NEW, OLD])
    handle, sealed = third.new_handle(), third.seal_cookie(b"use", b"content")
    proof, tag = third.proof(b"use", "value"), third.tag(b"use", b"value")
    record = third.seal_record(handle, b"tokens", b"bound")
    raw = third.seal_record(handle, b"tokens", b"bound", raw=True)

    def behind() -> Keyring:
        keyring = Keyring([OLD])

        def ask() -> bool:
            keyring.replace([NEW, OLD])
            return True

        keyring.ask = ask
        return keyring

    assert handle == behind().accepts(handle.encode())
    assert b"content" == behind().open_cookie(b"use", sealed)
    assert b"tokens" == behind().open_record(handle, record, b"bound")
    assert b"tokens" == behind().open_record(handle, raw, b"bound")
    assert behind().proves(b"use", "value", proof)
    assert behind().tagged(b"use", b"value", tag)
    assert Keyring([OLD]).accepts(handle.encode()) is None
    assert Keyring([OLD]).open_record(handle, record, b"bound") is None


@pytest.mark.requirement("S-09")
def test_what_is_known_asks_for_nothing() -> None:
    """Nor does what has not even the form of a handle."""
    keyring = Keyring([NEW, OLD])
    asked: list[bool] = []

    def ask() -> bool:
        asked.append(True)
        return False

    keyring.ask = ask
    assert keyring.accepts(Keyring([OLD]).new_handle().encode())
    assert keyring.accepts(b"garbage") is None
    assert [] == asked
    assert keyring.accepts(Keyring([new_secret()]).new_handle().encode()) is None
    assert [True] == asked


@pytest.mark.requirement("S-09")
def test_bad_keys_replace_nothing() -> None:
    """The keys stay as they were."""
    keyring = Keyring([NEW])
    with pytest.raises(ValueError, match="32 bytes"):
        keyring.replace(["short"])
    assert Keyring([NEW]).kids == keyring.kids
