"""The demonstration: everything on one machine, in one command."""
