"""The ends of a call on the fast path: whichever it is, the call has all that it looks at."""

from unittest.mock import Mock

import pytest

from bff.credentials.session_credentials import Credentials
from bff.proxy.forward.fast_path import FastCall
from bff.proxy.forward.traced_calls import TracedFastCall
from tests.proxy.forward.test_fast_path import COOKIE, CSRF, HOST, Harness, found, raw

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Ends(Harness):
    """A proxy of which a test makes one call, and is the client, the connection and the whole call."""

    def __init__(self, calls: type[FastCall], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.client, self.whole, self.read = Mock(), Mock(), Mock()
        self.path._calls = calls
        trace = Mock(sampled=False, traceparent=SAMPLED)
        object.__setattr__(self.context, "spans", Mock(**{"call.return_value": trace}))
        monkeypatch.setattr(calls, "_whole", lambda *_: self.whole)
        monkeypatch.setattr(Credentials, "reader", lambda *_: self.read)
        for destination in self.context.destinations.values():
            destination.pool._idle = Mock()  # a connection is there

    def sent_call(self, line: bytes) -> FastCall:
        request = self.app.in_force.lines.read(raw([HOST, COOKIE, CSRF], line))
        assert request is not None
        call = self.path.begin(request, "192.0.2.1", self.client)
        assert call is not None
        call.send()
        return call

    def taken_over(self) -> tuple[int, int]:
        """The status that was passed on to the client, and the bytes to come."""
        (_, connection, status, left), _ = self.whole.take_over.call_args
        assert self.connection is connection
        self.client.fell_back.assert_called_once_with(self.whole, begun=status != 0)
        return status, left


@pytest.fixture(params=[FastCall, TracedFastCall])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ends:
    return Ends(request.param, monkeypatch)


LINES = pytest.mark.parametrize("line", [b"GET /open/x", b"GET /api/x"], ids=["anonymous", "signed"])


@LINES
@pytest.mark.parametrize("reads", [[ANSWER + b"abcd"], [ANSWER, b"abcd"], [ANSWER + b"a", b"bc", b"d"]])
def test_an_answer(ends: Ends, line: bytes, reads: list[bytes]) -> None:
    """In one read or in several; it is accounted for."""
    call = ends.sent_call(line)
    left = [call.read(data) for data in reads]
    assert 0 == left[-1]
    call.end()
    ((status, head, content),) = [one.args for one in ends.client.deliver.call_args_list]
    assert (200, len(reads) == 1) == (status, head is not None)
    parts = [one.args[2] for one in ends.client.pass_on.call_args_list]
    assert b"abcd" == b"".join([*parts, content])


@LINES
@pytest.mark.parametrize(
    ("read", "expected"), [(b"", (0, 0)), (ANSWER, (200, 4)), (ANSWER + b"abc", (200, 1))]
)
def test_a_fall_back(ends: Ends, line: bytes, read: bytes, expected: tuple[int, int]) -> None:
    """Before the answer, and within it."""
    call = ends.sent_call(line)
    if read:
        assert expected[1] == call.read(read)
    call.fall_back()
    assert expected == ends.taken_over()


@LINES
def test_an_answer_that_is_not_plain(ends: Ends, line: bytes) -> None:
    """The whole call reads it from its beginning."""
    call = ends.sent_call(line)
    assert call.read(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nabcd") is None
    call.fall_back()
    assert (0, 0) == ends.taken_over()


def test_an_interruption_while_the_session_is_read(ends: Ends) -> None:
    """The whole call begins by itself, once; the session that comes then is no more of account."""
    ends.found = None
    call = ends.sent_call(b"GET /api/x")
    (then,) = ends.read.call_args.args
    for _ in range(2):
        call.interrupt()
    then(None)
    ends.whole.begin.assert_called_once_with()
    ends.client.fell_back.assert_called_once_with(ends.whole, begun=False)
    assert [] == ends.connection.sent


def test_a_session_that_is_read_first(ends: Ends) -> None:
    """The call is sent with it, and answered; without one the whole call begins."""
    ends.found = None
    call = ends.sent_call(b"GET /api/x")
    (then,) = ends.read.call_args.args
    ends.found = found("of.the.read")
    then(ends.near(b"%b=%b" % (b"__Host-Http-bff", b"x")))
    assert b"authorization: Bearer of.the.read\r\n" in ends.connection.sent[-1]
    assert 0 == call.read(ANSWER + b"abcd")
    call.end()
    ends.client.deliver.assert_called_once()

    ends.found = None
    ends.read.reset_mock()
    ends.sent_call(b"GET /api/x")
    ends.read.call_args.args[0](None)
    ends.whole.begin.assert_called_once_with()
