"""The targets that a sign-in may lead to, and the parameters that a page may ask for. Pure.

Rule 1: `return_to` is a path on this origin, by the reading of browsers, of reverse proxies that decode,
and of those that normalise; where they could disagree, it is refused (O-04).
Rule 2: it never lies under `/bff` or a configured route: login would otherwise turn a foreign page's link
into a same-origin request with the user's cookie.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from urllib.parse import unquote_to_bytes

MAX_RETURN_TO = 1024
MAX_PARAM = 512
_MAX_ROUNDS = 4  # text still encoded after that many decodings is meant to deceive
_VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PROMPTS = frozenset({"none", "login", "consent", "select_account", "create"})
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def check_return_to(value: str, covered: Callable[[bytes], bool]) -> str | None:
    """Returns the value if it is a safe place to send a browser on this origin, else None.

    Visible ASCII only, as `location.pathname + location.search + location.hash` gives it, and at most
    1,024 bytes. A query may hold anything, encoded; a fragment is kept, because pages route by it and no
    server ever sees it. `covered` is `RouteTable.covers`: whether a path belongs to a configured route.
    """
    if not 0 < len(value) <= MAX_RETURN_TO or not _VISIBLE.fullmatch(value) or "\\" in value:
        return None
    if not value.startswith("/"):
        return None
    path = re.split(r"[?#]", value, maxsplit=1)[0]
    readings = _readings(path)
    if readings is None:
        return None
    if any(not _is_plain(reading) or _is_taken(reading, covered) for reading in readings):
        return None
    return value


def error_code(code: str) -> str:
    """A provider's error code as a page and a log may see it; `server_error` for text of another form."""
    return code if _ERROR_CODE.fullmatch(code) else "server_error"


def with_error(return_to: str, code: str) -> str:
    """`return_to` with `bff_error=<code>` in its query, an older one replaced (O-12)."""
    rest, hash_mark, fragment = return_to.partition("#")
    path, _, query = rest.partition("?")
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != "bff_error"]
    return f"{path}?{'&'.join([*kept, f'bff_error={error_code(code)}'])}{hash_mark}{fragment}"


def login_params(query: Iterable[tuple[str, str]], allowed: Collection[str]) -> dict[str, str] | None:
    """Returns the parameters of a login request that go on to the provider; None if one is malformed.

    Names that are not allowed are left out without a word: a page may have its own reasons for them.
    """
    params: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            continue
        if name in params or not 0 < len(value) <= MAX_PARAM or not value.isprintable():
            return None
        if name == "max_age" and not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
            return None
        if name == "prompt" and not _is_prompt(value):
            return None
        params[name] = value
    return params


def named_details(query: Iterable[tuple[str, str]], known: Collection[str]) -> str | None:
    """Returns the name of the authorization details that a login request asks for; "" if it asks for none.

    None for a name that the settings do not have, and for two.
    """
    names = [value for name, value in query if name == "authorization_details"]
    if not names:
        return ""
    return names[0] if len(names) == 1 and names[0] in known else None


def _is_prompt(value: str) -> bool:
    """OpenID Connect Core 3.1.2.1: known words, and `none` only by itself."""
    words = value.split(" ")
    return (
        set(words) <= _PROMPTS
        and len(words) == len(set(words))
        and (words == ["none"] or "none" not in words)
    )


def _readings(path: str) -> list[str] | None:
    """The path as it stands, and as it reads each time somebody decodes it; None if that has no end."""
    readings = [path]
    raw = path.encode("ascii")
    if _BAD_ESCAPE.search(raw):
        return None
    for _ in range(_MAX_ROUNDS):
        decoded = unquote_to_bytes(raw)
        if decoded == raw:
            return readings
        try:
            text = decoded.decode("utf-8")
        except UnicodeDecodeError:
            return None  # overlong forms of `/` and `.` among them
        # Some read a full-width solidus as a solidus.
        readings += [text, unicodedata.normalize("NFKC", text)]
        raw = decoded
    return None


def _is_plain(path: str) -> bool:
    if "//" in path or "\\" in path:
        return False
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in path):
        return False
    # A parameter (`/..;x/`) is dropped by some before dots are resolved.
    return not any(segment.partition(";")[0] in (".", "..") for segment in path.split("/"))


def _is_taken(path: str, covered: Callable[[bytes], bool]) -> bool:
    own = re.sub(r";[^/]*", "", path).lower()
    return own == "/bff" or own.startswith("/bff/") or covered(path.encode())
