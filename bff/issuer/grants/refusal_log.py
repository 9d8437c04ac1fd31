"""The log of refused clients, with the reason for the operator.

Rule 1: no part of a credential is written. A client's name is shown if it has the form of one; a reason is a
text of ours or of authlib, cut at some length.
"""

import binascii
import difflib
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_plus

from bff.issuer.grants.clients import Client
from bff.observe.logs import get_logger

_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_LONGEST = 200  # characters of a reason
_EVERY_DAY = frozenset({"invalid_grant", "login_required"})
"""Errors without a mistake: a sign-in that is over, a silent one without a signed-in user."""

_log = get_logger("bff.issuer")


def log_refusal(error: str, reason: str, client_id: str | None, *, grant_type: str | None = None) -> None:
    """Logs the refusal of a client, with its reason."""
    tell = _log.info if error in _EVERY_DAY else _log.warning
    tell(
        "client_refused",
        error=error,
        reason=reason[:_LONGEST],
        client_id=client_id if client_id is not None and _NAME.fullmatch(client_id) else None,
        grant_type=None if grant_type is None else grant_type[:_LONGEST],
    )


def client_named(form: Mapping[str, str], authorization: str) -> str | None:
    """The client that a request says it is from: in its form, or as the user of its Basic credentials."""
    if "client_id" in form:
        return form["client_id"]
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return unquote_plus(b64decode(encoded.strip(), validate=True).decode().partition(":")[0])
    except (binascii.Error, UnicodeDecodeError):
        return None


def why_not_authenticated(
    client: Client | None, name: str | None, form: Mapping[str, str], authorization: str, known: Iterable[str]
) -> str | None:
    """The reason why client authentication failed; None for an assertion, which logs its own."""
    if "client_assertion" in form:
        return None
    if name is None:
        return "it does not say who it is"
    if client is None:
        near = difflib.get_close_matches(name, known, n=1)
        return "no such client is registered" + (f": is it {near[0]}?" if near else "")
    if not authorization and "client_secret" not in form:
        return "it brought no credentials"
    if not client.check_endpoint_auth_method("client_secret_basic", "token"):
        return "it brought a secret, and is registered with keys (private_key_jwt)"
    return "its secret is wrong"
