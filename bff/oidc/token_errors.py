"""The meaning of a token endpoint's answer that brings no tokens: a closed set. Pure.

Rule 1: `invalid_grant` means that the grant is gone. `invalid_client`, 429 and 5xx are about everybody. Every
other refusal is about this one grant, until several sessions meet it (`bff/refresh/refusals.py`).
Rule 2: a 2xx with an `error` is that error, in spite of its status.
Rule 3: nothing of an answer gets into a message but its status; the log gets the error code, and a
description from which all is taken out that was sent or looks like a token.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bff.errors import ProviderUnavailableError
from bff.oidc.http import AnswerLateError, AnswerLostError
from bff.oidc.requests import Client, changed_by_encoding

_CODE = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_TOKEN_LIKE = re.compile(r"(?![a-z_.-]+(?![A-Za-z0-9_.~+/=-]))[A-Za-z0-9_.~+/=-]{20,}")  # more than words
_MAX_DESCRIPTION = 200
_SHORT = 4
_DESCRIPTIONS = ("error_description", "detail", "message", "msg", "title")
_OK: Final = range(200, 300)
_FAILED: Final = range(500, 600)
_REDIRECTED: Final = range(300, 400)
_NOT_SPENT: Final = 503  # it says that it did nothing; any other 5xx may have come after the work
_TOO_MANY: Final = 429
_GATEWAY_TIMEOUT: Final = 504
ABOUT_PROOF = frozenset({"use_dpop_nonce", "invalid_dpop_proof"})
"""Refusals of a proof of possession (RFC 9449 5, 8): for a clock or a nonce, and no user's fault."""

_FOR_A_WHILE = frozenset({"server_error", "slow_down", "temporarily_unavailable"}) | ABOUT_PROOF
_STATUS_FOR_A_WHILE = frozenset({408, 425})
_USER_NEEDED = frozenset({"insufficient_user_authentication", "unmet_authentication_requirements"})
_NOT_THE_USERS = frozenset({"client_authentication_required"})
_ABOUT_THE_CLIENT = frozenset(
    {"invalid_client", "unauthorized_client", "invalid_redirect_uri", "redirect_uri_mismatch"}
)
_MAY_HELP = (
    "id or secret of the client has characters that client_secret_basic form-encodes (RFC 6749 2.3.1), and "
    'not every provider decodes them: client_auth = "client_secret_post" may help'
)


@dataclass(frozen=True, slots=True)
class InvalidGrant:
    """The provider no longer accepts this code or refresh token (RFC 6749 5.2)."""


@dataclass(frozen=True, slots=True)
class SignInRequired:
    """The provider wants to see the user (OpenID Connect Core 3.1.2.6) before it gives out tokens again."""


class RefusedError(ProviderUnavailableError):
    """The provider answered without the result; the token or code that it was sent is not spent.

    `kind` tells refusals apart that are not the same: status and error code.
    """

    def __init__(self, message: str, retry_after: float | None = None, *, kind: str = "") -> None:
        super().__init__(message, retry_after)
        self.kind = kind


class BusyError(RefusedError):
    """The provider asks to wait (429)."""


class FailedError(RefusedError):
    """The provider has trouble of its own (503)."""


class ClientRefusedError(RefusedError):
    """The provider does not accept this client (`invalid_client`): secret, key or id is wrong."""


class GrantRefusedError(RefusedError):
    """The provider works, and refused this one grant: others may fare better.

    A policy that shuts this user out looks like that, and a dead token at a provider with words of its own.
    `passing`: the answer says itself that it is so for a while only.
    """

    passing = False


class PassingError(GrantRefusedError):
    """The provider refused this one for a while."""

    passing = True


class BadRequestError(GrantRefusedError):
    """The request itself is bad: a token exchange says so of its subject, too (RFC 8693 2.2.2)."""


def parse_error_code(document: Any) -> str | None:
    """The `error` of RFC 6749 5.2, if it looks like one."""
    code = document.get("error") if isinstance(document, Mapping) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def refuses_client(document: Any) -> bool:
    """Returns True if a refusal at a sign-in is about the client: its secret, rights, or redirect URI.

    The user cannot mend that. RFC 9126 2.3 leaves the code for a wrong redirect URI open.
    """
    code = parse_error_code(document)
    if code == "invalid_request":
        return "redirect" in (parse_error_description(document) or "").lower()
    return code in _ABOUT_THE_CLIENT


def parse_error_description(document: Any, sent: Collection[str] = ()) -> str | None:
    """The answer's own words about its error, fit for a log: short, printable, without the values `sent`."""
    if not isinstance(document, Mapping):
        return None
    texts = (document.get(name) for name in _DESCRIPTIONS)
    text = next((text for text in texts if isinstance(text, str) and text), None)
    if text is None:
        return None
    for value in sorted(sent, key=len, reverse=True):
        if len(value) >= _SHORT:  # a shorter one is no secret, and in every other word
            text = text.replace(value, "[…]")
    printable = "".join(char if char.isprintable() else " " for char in text[: 20 * _MAX_DESCRIPTION])
    return _TOKEN_LIKE.sub("[…]", printable)[:_MAX_DESCRIPTION]


def says_error(status: int, document: Any) -> bool:
    """Returns True if an answer is a refusal: by its status, or a 2xx that holds an `error` and no token."""
    if status not in _OK:
        return True
    return isinstance(document, Mapping) and bool(document.get("error")) and not document.get("access_token")


def refusal(
    status: int, document: Any, retry_after: float | None
) -> InvalidGrant | SignInRequired | ProviderUnavailableError:
    """The meaning of a refusal of the token endpoint."""
    code = parse_error_code(document)
    message = f"the provider's token endpoint answered {status}"
    if status in _FAILED:
        if status == _NOT_SPENT:
            return FailedError(message, retry_after, kind=str(status))
        lost = AnswerLateError if status == _GATEWAY_TIMEOUT else AnswerLostError
        return lost(message, status=status)
    kind = f"{status} {code}"
    if status == _TOO_MANY:
        return BusyError(message, retry_after, kind=kind)
    if code == "invalid_grant" or (code is not None and _needs_user(code)):
        return InvalidGrant() if code == "invalid_grant" else SignInRequired()
    return _refused_kind(status, code)(message, kind=kind)


def _refused_kind(status: int, code: str | None) -> type[RefusedError]:
    if code == "invalid_client":
        return ClientRefusedError
    if code in _FOR_A_WHILE or status in _STATUS_FOR_A_WHILE or status in _REDIRECTED:
        return PassingError
    return BadRequestError if code == "invalid_request" else GrantRefusedError


def _needs_user(code: str) -> bool:
    """`interaction_required`, `login_required`, `consent_required`, `mfa_required` and the like."""
    return code in _USER_NEEDED or (code.endswith("_required") and code not in _NOT_THE_USERS)


def told(status: int, document: Any, *, client: Client, sent: Collection[str] = ()) -> dict[str, object]:
    """Returns a refusal's text for the log; with a hint where the form of authentication may be the cause."""
    code = parse_error_code(document)
    fields: dict[str, object] = {"status": status, "error": code}
    if description := parse_error_description(document, {*sent, client.secret, client.assertion}):
        fields["description"] = description
    if code == "invalid_client" and changed_by_encoding(client):
        fields["hint"] = _MAY_HELP
    return fields
