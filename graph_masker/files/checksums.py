"""CRC-32C as checkpoints hold it."""

# Stored checksums are rotated and moved by this, since checksums of data that holds checksums are weak.
_MASK_DELTA = 0xA282EAD8


def masked(crc: int) -> int:
    """Returns a checksum as it is stored."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
