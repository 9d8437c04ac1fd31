"""The commands that read a session, and the meaning of what comes back."""

import pytest

from bff.errors import StoreUnavailableError
from bff.session.hash_read import Loaded, LoadedValues, SessionReads, commands, outcome, values_outcome
from bff.session.record import FIELDS

KEY = "0f" * 32


@pytest.mark.parametrize("timed", [True, False])
def test_prepared_commands_are_the_same(timed: bool) -> None:
    """Byte by byte those that are put together from the two names."""
    reads = SessionReads("shop")
    names = (f"shop:session:{KEY}".encode(), f"shop:ended:{KEY}".encode())
    assert names == reads.names(KEY)
    assert commands(*names, timed=timed) == reads.words(KEY, timed=timed)


def test_values_and_fields_say_the_same() -> None:
    """One answer, read as values and by names."""
    values = [None if name == "device" else f"the {name}".encode() for name in FIELDS]
    fields = {name: f"the {name}" for name in FIELDS if name != "device"}
    assert LoadedValues(values, 1.5, "idle") == values_outcome([values, 1500, "idle"])
    assert Loaded(fields, 1.5, "idle") == outcome([values, 1500, "idle"])
    assert Loaded({}, None) == outcome([values, -2, "idle"])


@pytest.mark.parametrize("answer", ["text", [], [b"1"], [1] * len(FIELDS), [[]] * len(FIELDS)])
def test_an_odd_answer_is_an_outage(answer: object) -> None:
    """What is no answer to this question says nothing of the session."""
    assert isinstance(outcome([answer, None, None]), StoreUnavailableError)
