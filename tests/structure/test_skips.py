"""The reasons for which a test may be skipped."""

import ast

from tests.structure.test_files import SOURCES

ALLOWED = {
    "'no Chromium'",
    "NO_NODE",
    "'no Node'",
    "'Node is too old for Vite'",
    "NO_SERVER",
    "'no redis-server here'",
    "'no redis-cli'",
    "'this server was built without TLS'",
    # Neither Debian nor the package index has it for this machine.
    "f'{package} has no wheel for this machine'",
    "'no wheel of Helm for this machine'",
    "'no systemd here'",
    "'no IPv6 on this machine'",
    "'other versions of Python learn otherwise'",
    "'SO_REUSEPORT spreads connections on Linux only'",
}
"""Chromium, Node and Redis, which a newcomer may lack, and what a machine cannot have; as source text."""


def _reason(call: ast.Call) -> str:
    named = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    return ast.unparse(named[0] if named else call.args[0])


def _skips(source: str) -> set[str]:
    """The reasons of all skips in a file."""
    return {
        _reason(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"skip", "skipif", "importorskip"}
    }


def test_a_test_is_skipped_for_no_other_reason() -> None:
    """A program that the suite can provide is never a reason: without it the test fails, and says so."""
    found = {name: _skips(text) for name, text in SOURCES.items() if name.startswith("tests/")}
    others = {name: reasons - ALLOWED for name, reasons in found.items()}
    assert {} == {name: reasons for name, reasons in others.items() if reasons}
    assert set().union(*found.values()) == ALLOWED
