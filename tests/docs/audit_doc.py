"""Writes `.github/AUDIT.md` from the set of audit events: `python3 -m tests.docs.audit_doc`."""

import json
from pathlib import Path
from typing import Any

from bff.observe.audit_ecs import ECS_VERSION, LONGEST_TEXT, document
from bff.observe.audit_events import EVENTS
from tests.structure.source import ROOT

PATH = ROOT / ".github" / "AUDIT.md"
TIME = "2026-05-04T09:12:33.104512Z"
PID = 4711
VERSION = "1.0.0"

HEAD = f"""# Audit events

Who did what, when, where from and why: a closed set of events, that alerts can be written against. An event
keeps its name; a new one is added here first. None ever holds a token, a session cookie, an authorization
code, a password or a key: a session is named by 12 characters of its Redis key, which open nothing.

`log.audit` says where they go. In a file and in syslog an event is one JSON object a line, with the field
names of the [Elastic Common Schema](https://www.elastic.co/docs/reference/ecs) {ECS_VERSION}. On standard
error (`"stderr"`, the default) it is a log line like all others, `"audit": true`, with the names in the last
column: one stream has one shape, and `event` cannot be a text in one line and an object in the next. The
issuer (`bff issuer`) writes its own events, in the second half of the list, to standard error alone.

ECS rather than OCSF: its fields are names and words, so that a line can be read, and found with `grep` and
`jq`, without a table of numbers, and all its fields are optional. OCSF's classes for these events require a
user, whom a refused request does not have, and number class, activity and type.

| field | holds | on standard error |
|---|---|---|
| `@timestamp` | when, in UTC (RFC 3339) | `timestamp` |
| `event.action` | the event's name | `event` |
| `event.category`, `event.type` | what kind it is | |
| `event.outcome` | how it went: `success`, `failure`, `unknown` | |
| `event.reason` | why, in a word of ours | `reason` |
| `event.kind`, `event.dataset`, `ecs.version` | `event`, `bff.audit`, `{ECS_VERSION}` | |
| `user.id` | who: the `sub` at the provider | `sub` |
| `source.ip` | the client's address, as trusted proxies tell it; `source.address`: it is none | `address` |
| `error.code` | the code that the page is told | `error` |
| `http.request.id` | the request's id, where one is bound | `request_id` |
| `service.name`, `service.type`, `service.version` | `bff`, `bff`, the version | |
| `process.pid` | the process that writes | |
| `bff.session.id` | the session, by 12 characters | `session` |
| `bff.worker` | the worker's number, where there are several | `worker` |
| `bff.frontend` | the frontend's name, where there are several; `default`: the one without | `frontend` |
| `bff.provider` | the provider's name, where there are several | `provider` |
| `bff.…` | what else an event has to say, as its description tells | the same name |

A field without a value is left out. Texts longer than {LONGEST_TEXT} characters are cut, and a line that
would be longer than 8 KiB keeps what is not under `bff`, and says `"bff": {{"truncated": true}}`. Syslog's
facility is `authpriv`, its severity `warning` for failures and `notice` for all others.
"""


def example(event: Any) -> dict[str, Any]:
    """The example of an event, as a file would hold it."""
    record = {"event": event, "timestamp": TIME, **EVENTS[event].example}
    found = document(record, pid=PID)
    found["service"]["version"] = VERSION
    return found


def text() -> str:
    """The whole document."""
    parts = [HEAD]
    for event, described in EVENTS.items():
        parts += [f"## `{event}`\n", f"{described.when}\n", f"```json\n{json.dumps(example(event))}\n```\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    Path(PATH).write_text(text(), encoding="utf-8")
