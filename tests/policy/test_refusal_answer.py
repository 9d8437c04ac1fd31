"""The answer to a request that the connection itself refuses."""

import json

import pytest

from bff.errors import Problem
from bff.policy.refusal_answer import refusal_answer
from bff.policy.request_refusal import Refusal

PERSON = b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n\r\n"
QUESTION = b"GET /bff/forward-auth?refusal=401 HTTP/1.1\r\n\r\n"


def refused(head: bytes) -> Refusal:
    refusal = Refusal(Problem.BAD_REQUEST, "no host header")
    refusal.head = head
    return refusal


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", b"\x16\x03\x01"])
def test_a_program_gets_a_document(head: bytes) -> None:
    """It has the problem's code and the detail, whatever there is of a head."""
    status, headers, body = refusal_answer(refused(head))
    told = json.loads(body)
    assert (400, "no host header", Problem.BAD_REQUEST.code) == (status, told["detail"], told["code"])
    assert (b"content-type", b"application/problem+json") in headers


def test_a_person_gets_a_page() -> None:
    """A browser that navigates has no use for a document."""
    status, _, body = refusal_answer(refused(b"GET /x HTTP/1.1\r\n" + PERSON))
    assert 400 == status
    assert body.startswith(b"<!doctype html>")


def test_the_answer_to_a_head_has_no_content() -> None:
    """Its fields are those of the answer to a GET."""
    of_get = refusal_answer(refused(b"GET / HTTP/1.1\r\n\r\n"))
    assert (*of_get[:2], b"") == refusal_answer(refused(b"HEAD / HTTP/1.1\r\n\r\n"))


def test_a_question_of_nginx_gets_a_401() -> None:
    """The document keeps the true code."""
    status, _, body = refusal_answer(refused(QUESTION))
    assert 401 == status
    assert Problem.BAD_REQUEST.code == json.loads(body)["code"]
