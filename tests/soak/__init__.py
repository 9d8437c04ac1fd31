"""What takes long: `python3 -m tests.soak --help`. The suite runs seeded samples of it."""
