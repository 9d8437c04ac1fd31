"""The demonstration: all programs on one machine, by one command."""
