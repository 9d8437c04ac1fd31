"""The reason why a peer's certificate was refused, found in the chain of an error. Pure."""


def certificate_fault(error: BaseException | None) -> str | None:
    """Returns OpenSSL's words, as "certificate has expired"; None where no certificate was refused.

    They are `ssl.SSLCertVerificationError.verify_message`, and hold nothing of the peer's but the name that
    it was asked for.
    """
    while error is not None:
        words = getattr(error, "verify_message", None)
        if isinstance(words, str):
            return words.rstrip(".")
        error = error.__cause__ or error.__context__
    return None
