"""The credential of a call: the session, or the token that goes in its place, its rules and its proofs."""
