"""The index of a checkpoint: what TensorFlow writes is read, what is written here TensorFlow reads."""

import os

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given, settings

from graph_masker.files import table
from graph_masker.files.bundle import read_index, slices_of, write_index
from tests.checkpoint import kinds


@settings(deadline=None)
@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=300), max_size=60))
def test_a_table_reads_back(items):
    wanted = sorted(items.items())
    assert table.read_table(table.write_table(wanted)) == wanted


def test_a_table_of_many_blocks():
    wanted = [(f"scope/layer{number:06d}/weights".encode(), bytes([number % 256]) * 40) for number in range(20000)]
    content = table.write_table(wanted)
    assert table.read_table(content) == wanted
    # Keys share their beginnings.
    assert len(content) < 20000 * 56


@pytest.mark.parametrize("count", [1, 15, 16, 17, 5000])
def test_tensorflow_reads_what_is_written_here(tmp_path, count):
    prefix = str(tmp_path / "made")
    kinds.save(prefix, {f"scope/layer{number:04d}/weights": np.int32(number) for number in range(count)})
    with open(prefix + ".index", "rb") as stream:
        before = stream.read()
    write_index(prefix, read_index(prefix))
    reader = tf.train.load_checkpoint(prefix)
    assert len(reader.get_variable_to_shape_map()) == count
    assert all(reader.get_tensor(f"scope/layer{number:04d}/weights") == number for number in range(count))
    with open(prefix + ".index", "rb") as stream:
        after = stream.read()
    # The same bytes, even. TensorFlow points to blocks by shorter keys than the last in them.
    blocks_end, _ = table._handle(after, len(after) - 48)
    assert after[: blocks_end.offset] == before[: blocks_end.offset]
    # Control: its own checksums are checked.
    flipped = bytearray(after)
    flipped[10] ^= 1
    with open(prefix + ".index", "wb") as stream:
        stream.write(flipped)
    with pytest.raises((tf.errors.OpError, ValueError)):
        tf.train.load_checkpoint(prefix)


@pytest.mark.parametrize("cut", [0, 1, 8, 40, 48, 60, 0.5])
def test_what_is_no_table(tmp_path, cut):
    kinds.single(str(tmp_path))
    with open(str(tmp_path / "model.ckpt-9.index"), "rb") as stream:
        content = stream.read()
    with pytest.raises(table.UnreadableTableError):
        table.read_table(content[: int(cut * len(content)) if cut == 0.5 else len(content) - cut - 1])
    assert read_index(str(tmp_path / "nothing")) is None


def test_a_compressed_block_is_left_to_tensorflow():
    content = bytearray(table.write_table([(b"key", b"value")]))
    place = content.index(b"value") + len(b"value") + 8
    assert content[place] == 0
    content[place] = 1
    with pytest.raises(table.UnreadableTableError, match="compressed"):
        table.read_table(bytes(content))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_parts_are_read_from_keys(tmp_path_factory, data):
    """Of any place and length: numbers of one byte to many."""
    prefix = os.path.join(str(tmp_path_factory.mktemp("parts")), "made")
    # Zeros are escaped in such keys.
    name = "a" + data.draw(
        st.text(st.characters(blacklist_categories=["Cs"])) | st.sampled_from(["\0", "\0\1", "b\0c"])
    )
    start = data.draw(st.sampled_from([0, 1, 62, 63, 64, 65, 127, 128, 8191, 8192, 2**20 - 1, 2**20, 2**31, 2**40]))
    length = data.draw(st.sampled_from([1, 2, 63, 64, 8191, 8192]))
    part = f"{start + length + 1} 3 {start},{length}:-"
    with tf.Graph().as_default(), tf.Session() as session:
        value = tf.zeros([length, 3])
        session.run(tf.raw_ops.SaveV2(prefix=prefix, tensor_names=[name], shape_and_slices=[part], tensors=[value]))
    index = read_index(prefix)
    ((key, _),) = index.stored()
    assert index.tensors[key] == (name, part)
    assert slices_of(part) == (slice(start, start + length), slice(None))
