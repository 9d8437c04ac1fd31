"""Which address is tried first."""

from bff.upstream.address_order import AddressBook

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)


def test_connections_are_spread() -> None:
    """Each begins with the next address, and each address comes once."""
    book = AddressBook(10)
    orders = [book.in_order([A, B, A, C], 0) for _ in range(4)]
    assert [[A, B, C], [B, C, A], [C, A, B], [A, B, C]] == orders
    assert [[A], []] == [book.in_order([A], 0), book.in_order([], 0)]


def test_a_failed_address_rests() -> None:
    """It comes last until it has rested; of several the one that has rested longest comes first."""
    book = AddressBook(10)
    book.failed(B, 1)
    book.failed(A, 2)
    assert [C, B, A] == book.in_order([A, B, C], 3)
    assert [B, A] == book.in_order([A, B], 4)
    assert A == book.in_order([A, B, C], 11.5)[-1]
    assert {A, B, C} == set(book.in_order([A, B, C], 13)[:3])
    assert {} == book._resting


def test_success_ends_the_rest() -> None:
    """Where a resting address took a connection after all, it is as good as the others."""
    book = AddressBook(10)
    book.failed(A, 0)
    book.worked(A)
    book.worked(B)
    assert [A, B] == book.in_order([A, B], 1)


def test_addresses_that_are_gone_are_forgotten() -> None:
    """What the resolver no longer knows takes no memory, and begins anew when it comes back."""
    book = AddressBook(10)
    book.failed(A, 0)
    book.in_order([B], 1)
    assert {} == book._resting
    assert {A, B} == {book.in_order([A, B], 2)[0] for _ in range(2)}
