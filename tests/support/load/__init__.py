"""Many calls at once, and warm connections."""
