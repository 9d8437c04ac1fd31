"""RSA keys of tests: each is made once in a process, for that takes a tenth of a second."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from joserfc.jwk import KeyParameters, RSAKey


def rsa_key(parameters: KeyParameters | None = None, number: int = 0) -> RSAKey:
    """Returns a key of 2048 bits with these parameters; keys of different numbers are different keys."""
    return RSAKey.import_key(_made(number), parameters)


@cache
def _made(number: int) -> RSAPrivateKey:
    """The key itself: a PEM would be checked at each reading, which takes as long as to make a key."""
    del number
    return generate_private_key(65537, 2048)
