"""A session as an operator sees it, and which ones are meant."""

import pytest

from bff.session.inventory import share_done
from bff.session.operator_view import Entry, Selection, fields_of, read_entry
from tests.session.sample import NOW

FIELDS = {
    "provider": "main",
    "sub": "alice",
    "sid": "",
    "name": "Alice",
    "created": f"{NOW:.0f}",
    "seen": f"{NOW + 60:.0f}.123456",
    "ends": f"{NOW + 3600:.0f}",
    "version": "2",
    "ua": "test",
    "ip": "192.0.2.1",
    "device": "",
    "claim:email": "alice@example.com",
    "frontend": "",
}


def entry(**changes: str) -> Entry:
    made = read_entry("0" * 64, [(FIELDS | changes)[name] for name in fields_of(["email"])], ["email"])
    assert made is not None
    return made


@pytest.mark.requirement("S-05")
def test_no_secret_is_asked_for() -> None:
    """The fields are the readable ones: neither the sealed tokens nor those for single backends."""
    assert set(FIELDS) == set(fields_of(["email"]))


def test_an_entry_is_read_as_it_stands() -> None:
    """Numbers where they are, the proof behind `seen` left out, empty fields as nothing."""
    made = entry()
    assert (NOW, NOW + 60, NOW + 3600, 2) == (made.created, made.seen, made.ends, made.version)
    assert (None, {"email": "alice@example.com"}) == (made.sid, made.claims)
    assert [False, True] == [made.bound, entry(device="{} proof").bound]
    assert "0" * 12 == made.id
    assert read_entry("0" * 64, [None] * len(FIELDS), ["email"]) is None


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-", "1e999"])
def test_a_time_that_is_none_is_in_no_range(text: str) -> None:
    """A record that somebody wrote into is neither old nor new."""
    odd = entry(created=text, seen=text)
    assert (None, None) == (odd.created, odd.seen)
    for selection in (Selection(begun_before=NOW), Selection(begun_after=NOW), Selection(idle_for=0)):
        assert not selection.takes(odd, NOW)
    assert Selection(sub="alice").takes(odd, NOW)


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(), True),
        (Selection(sub="alice"), True),
        (Selection(sub="Alice"), False),
        (Selection(sub="alice", provider="other"), False),
        (Selection(claim=("email", "ALICE@example.com")), True),
        (Selection(claim=("email", "")), False),
        (Selection(claim=("phone", "1")), False),
        (Selection(claim=("name", "alice")), True),
        (Selection(begun_before=NOW), False),
        (Selection(begun_before=NOW + 1), True),
        (Selection(begun_after=NOW), True),
        (Selection(begun_after=NOW + 1), False),
        (Selection(idle_for=40), True),
        (Selection(idle_for=41), False),
    ],
)
def test_everything_that_is_given_must_apply(selection: Selection, taken: bool) -> None:
    """Each condition by itself, at its edge."""
    assert taken is selection.takes(entry(), NOW + 100)


def test_how_much_of_a_scan_is_done() -> None:
    """SCAN's cursor counts with its bits reversed, through as many places as the table has."""
    places = 8
    cursors = [int(f"{place:03b}"[::-1], 2) for place in range(1, places)]
    assert [place / places for place in range(1, places)] == [share_done(cursor, 7) for cursor in cursors]
    assert 1.0 == share_done(0, 7)
    assert 0 < share_done(1 << 30, 3) < 1, "a table that is larger than its names need"
