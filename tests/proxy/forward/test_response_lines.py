"""The lines of answers that are kept: by whom they are shared, for how long, and how much of them."""

import pytest

from bff.policy.header_rules import HeaderRules
from bff.policy.intern_pool import InternPool
from bff.proxy.forward import response_templates
from bff.proxy.forward.response_templates import ResponseLines, ResponseTemplates
from bff.settings.model import RouteSettings
from bff.upstream import response_parser
from tests.proxy.forward.test_response_templates import JSON, PUBLIC, RULES, answer, parsed


def test_much_content_is_not_copied() -> None:
    """Content of 16 KiB and more is a view of the bytes that came, less is bytes of its own."""
    templates = ResponseTemplates(RULES["required"])
    for size in (10, 100_000):
        data = answer(JSON, content=b"x" * size, length=b"%d" % size)
        found = templates.read(data)
        assert found is not None
        content = found[2]
        assert isinstance(content, memoryview) is (size > 10)
        assert not isinstance(content, memoryview) or content.obj is data
        assert b"x" * size == bytes(content)


def test_no_answer_is_changed_by_who_takes_it() -> None:
    """What was handed out can be added to: the next answer knows nothing of it."""
    kept = ResponseTemplates(RULES["required"])
    first = kept.read(answer(JSON))
    assert first is not None
    before = list(first[1])
    first[1].append(b"x: added\r\n")
    second = kept.read(answer(JSON))
    assert second is not None
    assert before == second[1]


@pytest.mark.requirement("P-01")
def test_routes_that_are_alike_share_lines_and_no_words_of_one_origin() -> None:
    """A line that one frontend's calls have brought is known at another; redirects and cookies are not."""
    pool: InternPool[ResponseLines] = InternPool()
    options = {"upstream": "http://backend", "keep_cookies": True}
    routes = [
        {"path": "/api", "challenges": ["Digest"]},
        {"path": "/desk/api", "challenges": ["Digest"]},
        {"path": "/desk/api", "challenges": []},
    ]
    every = [
        ResponseTemplates(
            HeaderRules.compiled(RouteSettings.model_validate({**options, **route}), PUBLIC, b"x-csrf"),
            pool=pool,
        )
        for route in routes
    ]
    assert 1 == len(pool)
    data = answer(
        JSON,
        b"Location: http://backend/orders/7",
        b"Set-Cookie: id=1; Path=/orders",
        b'WWW-Authenticate: Digest realm="x"',
    )
    first = [parsed(one.read(data)) for one in every]
    assert first == [parsed(one.read(data)) for one in every]
    found = [dict(one[1]) for one in first if one is not None]
    assert [b"/api/orders/7", b"/desk/api/orders/7", b"/desk/api/orders/7"] == [
        one[b"location"] for one in found
    ]
    paths = [one[b"set-cookie"].rpartition(b"=")[2] for one in found]
    assert [b"/api/orders", b"/desk/api/orders", b"/desk/api/orders"] == paths
    assert [True, True, False] == [b"www-authenticate" in one for one in found]
    assert {JSON, b"Content-Length: 2"} == set(every[0]._lines.known)


def test_one_that_hears_of_nonces_shares_with_none_that_does_not() -> None:
    """A nonce is no line to remember for a route with proofs, and an ordinary one for any other."""
    pool: InternPool[ResponseLines] = InternPool()
    told: list[bytes] = []
    plain = ResponseTemplates(RULES["required"], pool=pool)
    proving = ResponseTemplates(RULES["required"], told.append, pool=pool)
    data = answer(JSON, b"DPoP-Nonce: n1")
    for each in (plain, proving, plain, proving):
        assert each.read(data) is not None
    assert ([b"n1", b"n1"], 2) == (told, len(pool))


def test_what_is_remembered_is_bounded() -> None:
    """Lines that never come again do not pile up, however many and however long they are."""
    kept = ResponseTemplates(RULES["required"])
    for number in range(2 * response_templates._MOST_LINES):
        status = b"HTTP/1.1 200 %d" % number
        assert kept.read(answer(b"X-Id: %d" % number, status=status)) is not None
    for lines in (kept._lines.known, response_parser.known_statuses, response_parser._fields):
        assert 0 < len(lines) <= response_parser._MOST_LINES
    for number in range(100):
        long = b"%d" % number + b"x" * response_templates._LONGEST
        assert kept.read(answer(b"Set-Cookie: id=" + long, status=b"HTTP/1.1 200 " + long)) is not None
    assert kept.read(answer(b"Set-Cookie: id=secret")) is not None
    remembered = [*kept._lines.known, *response_parser.known_statuses, *response_parser._fields]
    assert not any(line.startswith(b"Set-Cookie") for line in remembered)  # one client's own, and a secret
    assert max(map(len, remembered)) <= response_templates._LONGEST
