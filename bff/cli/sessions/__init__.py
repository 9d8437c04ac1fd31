"""`bff sessions`: lists and ends sessions, for an operator."""
