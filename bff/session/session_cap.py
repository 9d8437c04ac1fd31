"""A bound on a user's sessions (`session.max_per_user`): of more than so many the oldest end.

Rule 1: it is asked after a sign-in has written its session. Of several at once the last one sees all of them,
so that in the end there are not more; each may name the same ones, which end once.
Rule 2: `created` is in whole seconds. Of those of one second the index's order decides, which is finer.
"""

from operator import itemgetter

from bff.session.end_reasons import note_of, version_in
from bff.session.hash_read import Loaded
from bff.session.model import Session
from bff.session.session_index import is_of
from bff.session.store import SessionStore


async def oldest_beyond(store: SessionStore, session: Session, most: int) -> list[str]:
    """Returns the keys of the oldest sessions of this one's user, beyond the newest `most`; never its own.

    Members of the user's index whose session is gone are taken out of it.
    """
    if await store.index.count_of_user(session.provider, session.sub) <= most:
        return []
    keys = [key for key in await store.index.of_user(session.provider, session.sub) if key != session.key]
    loaded = dict(zip(keys, await store.load_all(keys), strict=True))
    gone = [key for key, each in loaded.items() if each is None]
    if gone:
        await store.index.drop_dead(session.provider, session.sub, gone)
    others = sorted(  # stable, so that the index's order remains within a second
        (
            (_created(each), key)
            for key, each in loaded.items()
            if each is not None and _counts(session, each)
        ),
        key=itemgetter(0),
    )
    return [key for _, key in others[: max(0, len(others) + 1 - most)]]


def _created(loaded: Loaded) -> float:
    try:
        return float(loaded.fields.get("created", ""))
    except ValueError:
        return 0.0  # somebody wrote something else there: it will not open


def _counts(session: Session, loaded: Loaded) -> bool:
    return is_of(session.frontend, loaded) and _lives(loaded)


def _lives(loaded: Loaded) -> bool:
    return note_of(loaded.note, version_in(loaded.fields.get("version", "")) or 0) is None
