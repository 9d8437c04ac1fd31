"""`BlockingVerifier`: the check from threads, without an event loop."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from bff.verify import BlockingVerifier, Refusal, TokenRefusedError
from tests.verify.tokens import KEY, Documents, token, verifier


def test_threads_share_one_verifier() -> None:
    """Fifty calls from ten threads fetch the keys once; a bad token is refused as it is elsewhere."""
    documents = Documents(KEY)
    blocking = BlockingVerifier(lambda: verifier(documents))
    try:
        text = token()
        with ThreadPoolExecutor(10) as pool:
            assert {"alice"} == {claims.sub for claims in pool.map(blocking.verify, [text] * 50)}
        assert 2 == len(documents.asked)
        with pytest.raises(TokenRefusedError) as caught:
            blocking.verify(text, {"more"})
        assert (Refusal.SCOPE, 403) == (caught.value.refusal, caught.value.status)
    finally:
        blocking.close()


def test_closed_it_begins_anew() -> None:
    """Closing twice is harmless, and the next token starts another verifier."""
    documents = Documents(KEY)
    blocking = BlockingVerifier(lambda: verifier(documents))
    for _ in range(2):
        assert "alice" == blocking.verify(token()).sub
        blocking.close()
        blocking.close()
    assert 4 == len(documents.asked)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    """A server that loads the application before it forks leaves the thread in the parent."""
    blocking = BlockingVerifier(lambda: verifier(Documents(KEY)))
    assert "alice" == blocking.verify(token()).sub
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if blocking.verify(token()).sub == "alice" else 1)
        finally:
            os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    blocking.close()
