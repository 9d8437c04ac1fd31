"""Subprotocols: which are well-formed, and which a backend hears of."""

import pytest

from bff.policy.websocket_subprotocols import kept, well_formed

K8S = "base64url.bearer.authorization.k8s.io."


@pytest.mark.parametrize(
    ("expected", "offered"),
    [
        (True, []),
        (True, ["chat", "v2.chat"]),
        (True, ["x" * 30_000]),
        (True, [str(number) for number in range(32)]),
        (False, [str(number) for number in range(33)]),
        (False, ["chat", "chat"]),
        (False, ["two words"]),
        (False, [""]),
        (False, ["ü"]),
    ],
)
def test_well_formed(expected: bool, offered: list[str]) -> None:
    """Tokens, each once; as long as the head may be."""
    assert expected is well_formed(offered)


@pytest.mark.parametrize(
    ("left", "offered", "dropped"),
    [
        (["a", "b"], ["a", "b"], ()),
        (["base64.binary.k8s.io"], [K8S + "dG9rZW4", "base64.binary.k8s.io"], (K8S + "*",)),
        ([], ["v1.token.websocket.jupyter.org.abc"], ("v1.token.websocket.jupyter.org.*",)),
        (["chat"], ["chat", "bearer", "eyJ.eyJ.sig"], ("bearer, *",)),
        (["chat"], ["bearer", "eyJ.eyJ.sig", "chat"], ("bearer,*",)),
        (["bearer"], ["bearer"], ("bearer, *",)),  # nothing follows: it announces nothing
        (["bearers", "x"], ["bearers", "x"], ("bearer, *",)),
        (["x"], ["token", "x"], ("token",)),
        (["token.x"], ["token.x"], ("token",)),
        (["tokenax"], ["tokenax"], ("token.x",)),
        (["c"], ["a", "b", "c"], ("a", "b")),
    ],
)
def test_kept(left: list[str], offered: list[str], dropped: tuple[str, ...]) -> None:
    """A pattern names one, or several that follow each other; all others stay, in their order."""
    assert left == kept(offered, dropped)
