"""What pruning costs in accuracy: a large sparse net beside small dense ones, trained alike on real digits."""
