"""Pruning in one shot against mask updates in the graph, exactly."""
