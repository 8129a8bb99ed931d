"""Training programs that know nothing of pruning, each as people write them. `graph-masker run` runs them."""
