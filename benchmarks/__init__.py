"""What pruning costs, measured beside what it is added to. Run it with `make bench`."""
