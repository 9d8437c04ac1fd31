"""What takes long: the benchmark and the soak scenarios."""
