"""The bench: how fast the proxy is beside others, and what its promises about size and time come to."""
