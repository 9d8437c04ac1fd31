"""The closed set of audit events: each with its meaning, and its place in the Elastic Common Schema.

A new event is one name in `AuditEvent` and one entry in `EVENTS`; `python3 -m tests.docs.audit_doc` then
writes `.github/AUDIT.md` anew, and tests hold set, document and calling code together.

`audit_ecs.py` makes a document of one. Pure: no I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

AuditEvent = Literal[
    "signed_in",
    "signed_out",
    "sign_in_failed",
    "session_ended",
    "ending_not_replicated",
    "tokens_refreshed",
    "refresh_failed",
    "refresh_token_sent_again",
    "rotation_lost",
    "record_tampered",
    "csrf_rejected",
    "tokens_revoked",
    "revocation_failed",
    "rate_limited",
    "handle_rejected",
    "session_bound",
    "binding_refused",
    "binding_lost",
    "forward_auth_refused",
    "provider_signed_out",
    "logout_token_rejected",
    "security_signal_taken",
    "security_signal_rejected",
    "settings_changed",
    "settings_change_refused",
    "sign_in_ended",  # from here on: the issuer's
    "token_reused",
    "keys_rotated",
    "keys_moved",
    "account_added",
    "account_suspended",
    "account_resumed",
    "password_changed",
]

Outcome = Literal["success", "failure", "unknown"]


@dataclass(frozen=True, slots=True)
class Described:
    """The description of an event, in the document and in each line.

    Attributes:
        when: what has happened, as a sentence.
        category: ECS `event.category`.
        type: ECS `event.type`.
        outcome: ECS `event.outcome`.
        example: the arguments of a call of `audit`.
    """

    when: str
    category: tuple[str, ...]
    type: tuple[str, ...]
    outcome: Outcome
    example: Mapping[str, Any]


_SESSION, _ATTACK, _USER, _SETTINGS = ("session",), ("intrusion_detection",), ("iam",), ("configuration",)
_WHO: Mapping[str, Any] = MappingProxyType({"sub": "alice", "session": "0cd6f637684b"})
_WHERE: Mapping[str, Any] = MappingProxyType({"address": "203.0.113.7"})
_SID: Mapping[str, Any] = MappingProxyType({"sid": "08a5019c-17e1"})
_APP: Mapping[str, Any] = MappingProxyType({"client_id": "spa-bff"})

EVENTS: Final[Mapping[AuditEvent, Described]] = {
    "signed_in": Described(
        "A sign-in led to a session. The issuer's has `sid` and `client_id`, and as its reason `password`, "
        "or `again` for somebody who was signed in at it.",
        ("authentication", "session"),
        ("start",),
        "success",
        {**_WHO, **_WHERE},
    ),
    "signed_out": Described(
        "A user signed out. `provider_revoked` says whether the refresh token was revoked at the provider.",
        _SESSION,
        ("end",),
        "success",
        {**_WHO, **_WHERE, "provider_revoked": True},
    ),
    "sign_in_failed": Described(
        "A sign-in came to nothing. The reason is a word of ours; `error` is the code that the page is told, "
        "`restarted` says that it was begun again. The issuer's has `client_id`.",
        ("authentication",),
        ("start",),
        "failure",
        {**_WHERE, "reason": "oauth_error", "error": "access_denied"},
    ),
    "session_ended": Described(
        "A session ended, for the reason that its page is told. `by` is the session that ended it, where "
        "it was another one of the user's; `operator` and `note` are who ended it by `bff sessions end`, and "
        "why. One that went without the proxy is told by one process of all, within seconds: its time was up "
        "(`idle`, `max_lifetime`), or it had time left and was `deleted` by an operator's own hand, or "
        "`evicted` by a Redis short of memory (its page is told `unknown`).",
        _SESSION,
        ("end",),
        "success",
        {**_WHO, "reason": "idle", "provider_revoked": False},
    ),
    "ending_not_replicated": Described(
        "A session was ended, and no replica of Redis had confirmed it within `redis.wait_timeout`: were the "
        "master lost at that moment, the session could be back. A `session_ended` tells of the end itself.",
        _SESSION,
        ("end",),
        "unknown",
        {"session": "0cd6f637684b", "reason": "logout"},
    ),
    "tokens_refreshed": Described(
        "The tokens of a session were rotated; the reason is the cause: `ahead`, `expiry`, `unauthorized` or "
        "`manual`.",
        _SESSION,
        ("info",),
        "success",
        {**_WHO, "reason": "ahead"},
    ),
    "refresh_failed": Described(
        "A rotation brought no tokens. The session is over only where a `session_ended` follows.",
        _SESSION,
        ("info",),
        "failure",
        {**_WHO, "reason": "provider_unreachable"},
    ),
    "refresh_token_sent_again": Described(
        "A refresh token may have been sent twice: `repeated`, `resumed_lost`, `resumed_left`, `sent_late`.",
        _SESSION,
        ("info",),
        "unknown",
        {**_WHO, "reason": "repeated"},
    ),
    "rotation_lost": Described(
        "New tokens came that no session keeps.",
        _SESSION,
        ("info",),
        "failure",
        {**_WHO, "reason": "saved_by_another"},
    ),
    "record_tampered": Described(
        "A record in Redis does not open: somebody edited it, or put an older one back.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHO, **_WHERE},
    ),
    "csrf_rejected": Described(
        "A request did not come from this site, or lacked its header.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "fetch_site"},
    ),
    "tokens_revoked": Described(
        "A refresh token, or an access token where there was none, was revoked at the provider; at the "
        "issuer by a client, with `sid` and `client_id`.",
        _SESSION,
        ("info",),
        "success",
        {**_WHO, "reason": "logout"},
    ),
    "revocation_failed": Described(
        "A refresh token could not be revoked at the provider, and is good there until its own end.",
        _SESSION,
        ("info",),
        "failure",
        {**_WHO, "reason": "logout"},
    ),
    "rate_limited": Described(
        "A limit on how often was reached; the reason is its name. One event for each client and limit in "
        "ten seconds: `bff_rate_limited_total` counts all. The issuer's has `client_id`.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "login"},
    ),
    "handle_rejected": Described(
        "A session cookie was not signed by this server, or stood twice.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "not signed by this server"},
    ),
    "session_bound": Described(
        "A browser has bound its session to its device (DBSC): from now on the cookie alone opens nothing.",
        _SESSION,
        ("info",),
        "success",
        {"session": "0cd6f637684b", **_WHERE},
    ),
    "binding_refused": Described(
        "A request had a session's cookie, and not the proof of its device: `not_proved`, as with a stolen "
        "cookie, or `not_bound`, where a bound session is demanded. Or a device's proof was not "
        "accepted, by its registration or renewal: any other reason.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHO, **_WHERE, "reason": "not_proved"},
    ),
    "binding_lost": Described(
        "A browser wanted to prove its device for a session that is not bound any more: Redis has lost that "
        "write, as by a failover, or somebody has taken the field `device` out of the record.",
        _SESSION,
        ("info",),
        "failure",
        {"session": "0cd6f637684b", **_WHERE},
    ),
    "forward_auth_refused": Described(
        "A token was asked for at `/bff/forward-auth` by someone who did not prove to be the reverse proxy.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "secret_wrong"},
    ),
    "provider_signed_out": Described(
        "The provider told of a sign-out by the back channel; `sessions` is how many ended by it.",
        _SESSION,
        ("end",),
        "success",
        {"sub": "alice", **_SID, **_WHERE, "sessions": 2},
    ),
    "logout_token_rejected": Described(
        "A logout token of the back channel was not accepted.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "aud"},
    ),
    "security_signal_taken": Described(
        "The provider told of a danger to a session or an account by Shared Signals; the reason is the "
        "event, `sessions` is how many ended by it.",
        _SESSION,
        ("end",),
        "success",
        {"sub": "alice", **_SID, **_WHERE, "reason": "account-disabled", "sessions": 2},
    ),
    "security_signal_rejected": Described(
        "A security event token of Shared Signals was not accepted.",
        _ATTACK,
        ("denied",),
        "failure",
        {**_WHERE, "reason": "aud"},
    ),
    "settings_changed": Described(
        "Other settings are in force, without a restart; `settings` names them.",
        _SETTINGS,
        ("change",),
        "success",
        {"reason": "reload", "settings": ["route /api"], "generation": 2},
    ),
    "settings_change_refused": Described(
        "Settings that were read again cannot be used (`invalid`), or not be taken (`not_taken`): the former "
        "ones stay in force.",
        _SETTINGS,
        ("change",),
        "failure",
        {"reason": "invalid", "generation": 2},
    ),
    "sign_in_ended": Described(
        "Issuer: everything of one sign-in ended; `families` is how many refresh families that were.",
        _SESSION,
        ("end",),
        "success",
        {"sub": "alice", "reason": "signed_out_everywhere", **_SID, "families": 1},
    ),
    "token_reused": Described(
        "Issuer: a refresh token or a code came twice; everything of its sign-in ends.",
        _ATTACK,
        ("denied",),
        "failure",
        {"sub": "alice", "reason": "refresh_token", **_SID, **_APP},
    ),
    "keys_rotated": Described(
        "Issuer: a new signing key was published; the reason is `rotation` or `leaked`.",
        ("configuration",),
        ("change",),
        "success",
        {"reason": "rotation", "kid": "k7dP"},
    ),
    "keys_moved": Described(
        "Issuer: the signing keys of a former `url` were taken over (`bff issuer keys move`).",
        ("configuration",),
        ("change",),
        "success",
        {"former_issuer": "https://login.example.com", "issuer": "https://id.example.com", "kids": ["k7dP"]},
    ),
    "account_added": Described(
        "Issuer: an account was made.", _USER, ("user", "creation"), "success", {"sub": "alice"}
    ),
    "account_suspended": Described(
        "Issuer: an account was suspended.", _USER, ("user", "change"), "success", {"sub": "alice"}
    ),
    "account_resumed": Described(
        "Issuer: a suspension was taken back.", _USER, ("user", "change"), "success", {"sub": "alice"}
    ),
    "password_changed": Described(
        "Issuer: an account got a new password.", _USER, ("user", "change"), "success", {"sub": "alice"}
    ),
}
