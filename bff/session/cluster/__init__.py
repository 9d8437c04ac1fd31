"""Redis Cluster (`redis+cluster://`): which master has which keys, and how everything else goes there."""
