"""Files as they lie on disk: found and read (source, graphs, checks), written whole or not at all (writing,
destination, documents), and the formats of a checkpoint (table, checksums, bundle; changes, computing, copying) and of
protocol buffers (wire).
"""
