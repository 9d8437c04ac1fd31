"""A token's audience (RFC 8707, and the targets of RFC 8693) and its scope, decided without I/O.

Rule: a client gets tokens only for services that its settings name, and never more scope than it may have.
"""

from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import InvalidScopeError, OAuth2Error

MAX_TARGETS = 8


class InvalidTargetError(OAuth2Error):  # type: ignore[misc] # authlib publishes no types
    """A service that the client must not have tokens for, or a malformed name of one (RFC 8707 2)."""

    error = "invalid_target"
    description = "The requested resource or audience is not one that this client may have."


def read_resources(text: str | None) -> tuple[str, ...]:
    """Takes the values of `resource` apart: absolute URIs without fragment (RFC 8707 2)."""
    resources = tuple(dict.fromkeys((text or "").split()))
    if len(resources) > MAX_TARGETS or not all(_is_resource(resource) for resource in resources):
        raise InvalidTargetError
    return resources


def read_targets(form: Mapping[str, str]) -> tuple[str, ...]:
    """Reads the services that a request names, by `audience` and by `resource` (RFC 8693 2.1)."""
    targets = tuple(dict.fromkeys((*form.get("audience", "").split(), *read_resources(form.get("resource")))))
    if len(targets) > MAX_TARGETS:
        raise InvalidTargetError
    return targets


def choose(wanted: Collection[str], granted: Collection[str], allowed: Collection[str]) -> tuple[str, ...]:
    """Decides on the audiences of a token.

    Args:
        wanted: the audiences that this request names; none: all that were granted.
        granted: those that the authorization request named; none: all that the client may have.
        allowed: those that the client may have, the default one first.
    """
    if any(name not in (granted or allowed) or name not in allowed for name in wanted):
        raise InvalidTargetError
    return tuple(wanted) or tuple(name for name in granted if name in allowed) or tuple(allowed)[:1]


def scope_within(form: Mapping[str, str], allowed: Sequence[str]) -> str:
    """Returns the scope that a request asks for; without one all that is allowed."""
    wanted = dict.fromkeys(form["scope"].split() if "scope" in form else allowed)
    if not set(wanted) <= set(allowed):
        raise InvalidScopeError
    return " ".join(wanted)


def _is_resource(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and "#" not in text
