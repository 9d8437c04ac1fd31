"""One object for all that would be equal."""

import gc
from weakref import ref

from bff.policy.intern_pool import InternPool


class Table:
    """Anything that can be shared."""


def test_equal_keys_lead_to_one_object_for_as_long_as_it_is_used() -> None:
    """It is made once, and made anew when nobody had it any more: frontends that are gone leave nothing."""
    pool: InternPool[Table] = InternPool()
    first = pool.of(("a", 1), Table)
    assert first is pool.of(("a", 1), Table)
    assert first is not pool.of(("a", 2), Table)
    gone = ref(first)
    del first
    gc.collect()
    assert (None, 0) == (gone(), len(pool))
    assert isinstance(pool.of(("a", 1), Table), Table)
