"""The session as the program sees it: made at once, and frozen however it was made."""

from dataclasses import FrozenInstanceError, fields

import pytest

from bff.session.model import OwnToken, Refreshing, Session, Tokens, new_session, new_tokens
from tests.session.sample import NOW, sample_session, sample_tokens


def _values(made: Session | Tokens) -> list[object]:
    return [getattr(made, field.name) for field in fields(made)]


def test_a_session_made_at_once_is_the_one_that_its_class_makes() -> None:
    """Each field is in its place, the ones that are not compared too."""
    usual = sample_session(
        refreshing=Refreshing(NOW, "7"),
        rotations=3,
        user_agent="Mozilla/5.0",
        address="192.0.2.1",
        frontend="shop",
        exchanged={"orders": OwnToken("o", NOW, None)},
        exchanged_seal="sealed",
        bound=True,
    )
    quick = new_session(*_values(usual))  # type: ignore[arg-type] # of all types
    assert usual == quick
    assert _values(usual) == _values(quick)
    assert repr(usual) == repr(quick)


def test_tokens_made_at_once_are_those_that_their_class_makes() -> None:
    """Likewise."""
    usual = sample_tokens(scope="openid", refresh_end_moves=False, proof_key="ES256.secret")
    quick = new_tokens(*_values(usual))  # type: ignore[arg-type] # of all types
    assert usual == quick
    assert _values(usual) == _values(quick)


def test_what_is_made_at_once_is_frozen() -> None:
    """Nobody changes a session that others look at."""
    session = new_session(*_values(sample_session()))  # type: ignore[arg-type] # of all types
    for made in (session, new_tokens(*_values(session.tokens))):  # type: ignore[arg-type] # of all types
        assert type(made) in {Session, Tokens}
        name = fields(made)[0].name
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, "another")
        with pytest.raises(FrozenInstanceError):
            delattr(made, name)
