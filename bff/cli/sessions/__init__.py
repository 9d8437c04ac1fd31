"""`bff sessions`: who is signed in, and the end of it, for an operator."""
