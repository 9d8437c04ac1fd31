"""The fields of one head, as they are asked for on the way."""

import pytest

from bff.policy.fields import Fields


@pytest.mark.parametrize(
    "name",
    [
        b"access-control-request-method",
        b"cookie",
        b"origin",
        b"sec-fetch-site",
        b"traceparent",
        b"tracestate",
        b"x-forwarded-for",
        b"x-request-id",
    ],
)
def test_each_field_that_is_asked_for_is_found(name: bytes) -> None:
    """All its values in their order: a second one is never lost, and one that is not there is none."""
    fields = Fields([(b"host", b"h"), (name, b"one"), (b"accept", b"*/*"), (name, b"two"), (name, b"")])
    assert [b"one", b"two", b""] == fields.values(name)
    assert [] == Fields([(b"host", b"h")]).values(name)


def test_a_field_that_came_once() -> None:
    """None of several is believed more than the others."""
    fields = Fields([(b"cookie", b"a"), (b"origin", b"one"), (b"origin", b"two")])
    assert (b"a", None, None) == (fields.only(b"cookie"), fields.only(b"origin"), fields.only(b"traceparent"))
