"""RSA keys of tests: each is made once in a process, for that takes a tenth of a second."""

from functools import cache

from joserfc.jwk import KeyParameters, RSAKey


def rsa_key(parameters: KeyParameters | None = None, number: int = 0) -> RSAKey:
    """Returns a key of 2048 bits with these parameters; keys of different numbers are different keys."""
    return RSAKey.import_key(_made(number), parameters)


@cache
def _made(number: int) -> bytes:
    del number
    return RSAKey.generate_key(2048).as_pem(private=True)
