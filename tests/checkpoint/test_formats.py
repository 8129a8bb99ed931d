"""What stays as it is, whatever the kind of checkpoint: names, types, bytes and layout of all that is not changed."""

import errno
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, SourceError, VerificationError, fold_checkpoint, prune_model
from graph_masker.files.bundle import data_path, read_index, write_index
from graph_masker.files.changes import Addition, Changes
from graph_masker.files.copying import copy_checkpoint
from graph_masker.files.graphs import read_meta_graph
from graph_masker.files.source import CheckpointReader, find_source
from tests.checkpoint import kinds
from tests.kill.harness import hashes

STATE = {"layer/mask", "layer/threshold", "model_pruning/last_mask_update_step"}
KERNEL = "layer/kernel"


def _tensor(prefix, name, part=""):
    """Reads a tensor, or a part, by TensorFlow alone, as bytes with type and shape; also those numpy does not know."""
    kind = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()[name]
    with tf.Graph().as_default(), tf.Session() as session:
        (value,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[part], dtypes=[kind])
        found = np.asarray(session.run(value), object if kind == tf.string else None)
    content = found.tolist() if found.dtype == object else found.tobytes()
    return kind, found.shape, content


def _all(prefix):
    """Returns every tensor that is there as a whole."""
    names = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    return {name: _tensor(prefix, name) for name in names if not name.endswith("Ftrl")}


def _product(prefix, weight=KERNEL, mask="layer/mask"):
    reader = tf.train.load_checkpoint(prefix)
    with tf.Graph().as_default(), tf.Session() as session:
        value = session.run(tf.multiply(reader.get_tensor(mask), reader.get_tensor(weight)))
    return tf.as_dtype(value.dtype), value.shape, value.tobytes()


def _check_folded(src, dst):
    expected = {name: value for name, value in _all(src).items() if name not in STATE}
    expected[KERNEL] = _product(src)
    found = _all(dst)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name] == value, name


def _bytes_of(prefix):
    """Returns the bytes of every entry that has any, by key."""
    index, found = read_index(prefix), {}
    for key, entry in index.stored():
        with open(data_path(prefix, entry.shard_id, index.header.num_shards), "rb") as stream:
            stream.seek(entry.offset)
            found[key] = (entry.shard_id, entry.dtype, entry.crc32c, stream.read(entry.size))
    return found


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_all_but_the_mask_is_as_it_was(kind, tmp_path):
    src = kinds.KINDS[kind](str(tmp_path))
    result = fold_checkpoint(src, str(tmp_path / "folded"))
    _check_folded(src, result.prefix)
    (weight,) = result.weights
    mask = kinds.masked_values()["layer/mask"]
    assert (weight.entries, weight.zeros) == (mask.size, int(np.sum(mask == 0)))
    assert tf.train.latest_checkpoint(str(tmp_path)) is not None


@pytest.mark.parametrize("kind", [kind for kind in kinds.KINDS if kind != "first_format"])
def test_the_layout_is_as_it_was(kind, tmp_path):
    src = kinds.KINDS[kind](str(tmp_path))
    fold_checkpoint(src, str(tmp_path / "folded"))
    before, after = _bytes_of(src), _bytes_of(str(tmp_path / "folded"))
    changed = {key for key in before if KERNEL.encode() in key and b"Adam" not in key and b"Ftrl" not in key}
    # In the order in which they lie in their shards.
    assert list(after) == [key for key in before if not any(name.encode() in key for name in STATE)]
    for key, value in after.items():
        assert (value == before[key]) == (key not in changed), key
    shards = [
        len([name for name in os.listdir(str(tmp_path)) if name.startswith(f"{prefix}.data")])
        for prefix in (os.path.basename(src), "folded")
    ]
    assert shards[0] == shards[1]
    # They lie one behind the other.
    size = sum(os.path.getsize(str(tmp_path / name)) for name in os.listdir(str(tmp_path)) if "folded.data" in name)
    assert size == sum(len(content) for *_, content in after.values())


def test_the_checks_here_see_a_difference(tmp_path):
    """The control of the tests above."""
    for number, kind in enumerate((kinds.single, kinds.partitioned)):
        folder = tmp_path / str(number)
        folder.mkdir()
        src = kind(str(folder))
        fold_checkpoint(src, str(folder / "folded"))
        with pytest.raises(AssertionError):
            _check_folded(src, src)
        values = {
            name: tf.train.load_checkpoint(str(folder / "folded")).get_tensor(name)
            for name in _all(str(folder / "folded"))
        }
        for name, other in ((KERNEL, np.nextafter(values[KERNEL], np.float32(9))), ("global_step", np.int32(9))):
            kinds.save(str(folder / "other"), {**values, name: other})
            with pytest.raises(AssertionError, match=name):
                _check_folded(src, str(folder / "other"))


def test_a_part_whose_rest_is_nowhere(tmp_path):
    src = kinds.partitioned(str(tmp_path))
    fold_checkpoint(src, str(tmp_path / "folded"))
    part = "6 5 0,4:-"
    assert _tensor(src, "layer/kernel/Ftrl", part) == _tensor(str(tmp_path / "folded"), "layer/kernel/Ftrl", part)
    with pytest.raises(tf.errors.InvalidArgumentError, match="sufficient slices"):
        _tensor(str(tmp_path / "folded"), "layer/kernel/Ftrl")


def test_an_index_that_only_tensorflow_can_read(tmp_path, monkeypatch):
    """Of TensorFlow before 1.2: compressed. All its tensors go through TensorFlow."""
    src, original = kinds.every_type(str(tmp_path)), read_index
    monkeypatch.setattr(
        "graph_masker.files.copying.read_index", lambda prefix: None if prefix == src else original(prefix)
    )
    fold_checkpoint(src, str(tmp_path / "folded"))
    monkeypatch.undo()
    _check_folded(src, str(tmp_path / "folded"))


@pytest.mark.parametrize("kind", ["sharded", "every_type"])
def test_a_kernel_that_does_not_copy(kind, tmp_path, monkeypatch):
    src = kinds.KINDS[kind](str(tmp_path))
    fold_checkpoint(src, str(tmp_path / "sent" / "folded"))

    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    monkeypatch.setattr("graph_masker.files.copying._BUFFER", 7)
    fold_checkpoint(src, str(tmp_path / "read" / "folded"))
    assert hashes(str(tmp_path / "sent")) == hashes(str(tmp_path / "read"))


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("offset", -4, "forged: expected a complete checkpoint"),
        ("size", -4, "forged: expected a complete checkpoint"),
        ("offset", 10**9, r"forged.data-00000-of-00001: expected at least 1,000,000,\d\d\d bytes, .* found \d"),
        ("size", 10**9, r"forged.data-00000-of-00001: expected at least 1,000,000,\d\d\d bytes, .* found \d"),
        ("shard_id", 7, "forged.data-00007-of-00001: expected a file of at least .* found none"),
    ],
)
def test_an_index_that_points_nowhere(field, value, says, tmp_path):
    src = kinds.single(str(tmp_path))
    for name in (KERNEL, "layer/kernel/Adam"):
        index = read_index(src)
        setattr(index.entries[name.encode()], field, value)
        write_index(str(tmp_path / "forged"), index)
        shutil.copy(src + ".data-00000-of-00001", str(tmp_path / "forged.data-00000-of-00001"))
        with pytest.raises(SourceError, match=says):
            fold_checkpoint(str(tmp_path / "forged"), str(tmp_path / "folded"))
        assert not [item for item in os.listdir(str(tmp_path)) if "folded" in item]


@pytest.mark.parametrize(
    "kind", [tf.float16, tf.bfloat16, tf.float64, tf.complex64, tf.int32], ids=lambda kind: kind.name
)
def test_products_of_every_type(kind, tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        value, mask = session.run(
            [tf.cast(tf.constant([[-1.5, 2.25], [np.nan, -0.0]]), kind), tf.cast(tf.constant([[0, 1], [1, 0]]), kind)]
        )
    values = {"a/w": value, "a/mask": mask, "a/threshold": np.float32(0), "a/other": value.ravel()}
    kinds.save(str(tmp_path / "src"), values)
    fold_checkpoint(str(tmp_path / "src"), str(tmp_path / "dst"))
    assert _tensor(str(tmp_path / "dst"), "a/w") == _product(str(tmp_path / "src"), "a/w", "a/mask")
    assert _tensor(str(tmp_path / "dst"), "a/other") == _tensor(str(tmp_path / "src"), "a/other")


def test_objects_find_what_is_theirs(tmp_path):
    src = kinds.object_based(str(tmp_path))
    end, dst = "/.ATTRIBUTES/VARIABLE_VALUE", str(tmp_path / "dst")
    changes = Changes(products={f"layer/kernel{end}": f"layer/mask{end}"})
    copy_checkpoint(CheckpointReader(src), changes, dst)
    graph = "_CHECKPOINTABLE_OBJECT_GRAPH"
    assert _tensor(dst, graph) == _tensor(src, graph)
    with tf.Graph().as_default(), tf.Session() as session:
        root = tf.train.Checkpoint()
        root.layer = tf.train.Checkpoint()
        root.layer.kernel = tf.Variable(tf.zeros(kinds.SHAPE), use_resource=True, name="another")
        root.restore(dst).assert_existing_objects_matched().run_restore_ops(session)
        found = session.run(root.layer.kernel)
    values = kinds.masked_values()
    assert found.tobytes() == (values["layer/mask"] * values[KERNEL]).tobytes()
    with pytest.raises(
        SourceError, match=r"expected tensors with the names of variables, .* found those of Python objects"
    ):
        fold_checkpoint(src, str(tmp_path / "folded"))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_replacements_and_additions(kind, tmp_path):
    src, dst = kinds.KINDS[kind](str(tmp_path)), str(tmp_path / "dst")
    added = {
        "new/mask": Addition(tf.float32, (3, 4, 5), 1.0),
        "new/half": Addition(tf.bfloat16, (2,), 1.0),
        "new/threshold": Addition(tf.float64, (), 0.0),
        "new/step": Addition(tf.int32, (), -1),
        "new/empty": Addition(tf.float32, (0, 3), 1.0),
    }
    changes = Changes(
        dropped={"layer/threshold"},
        replacements={KERNEL: lambda value: np.flip(value, 0) * 2, "layer/kernel/Adam": lambda value: value + 1},
        additions=[lambda: added],
    )
    copy_checkpoint(CheckpointReader(src), changes, dst)
    before, after = _all(src), _all(dst)
    values = kinds.masked_values()
    assert after[KERNEL][2] == (np.flip(values[KERNEL], 0) * 2).tobytes()
    assert after["layer/kernel/Adam"][2] == (values["layer/kernel/Adam"] + 1).tobytes()
    assert after["new/mask"] == (tf.float32, (3, 4, 5), np.ones([3, 4, 5], "f").tobytes())
    assert after["new/half"] == (tf.bfloat16, (2,), b"\x80\x3f" * 2)
    assert after["new/threshold"] == (tf.float64, (), np.float64(0).tobytes())
    assert after["new/step"] == (tf.int32, (), np.int32(-1).tobytes())
    assert after["new/empty"] == (tf.float32, (0, 3), b"")
    assert set(after) == set(before) - {"layer/threshold"} | set(added)
    for name in set(before) - {"layer/threshold", KERNEL, "layer/kernel/Adam"}:
        assert after[name] == before[name], name


def test_new_tensors_have_the_records_that_tensorflow_writes(tmp_path):
    added = {
        "mask": Addition(tf.float32, (1000, 700), 1.0),
        "half": Addition(tf.float16, (3, 5), 1.0),
        "brain": Addition(tf.bfloat16, (2**19 + 1,), 1.0),
        "step": Addition(tf.int64, (), -1),
        "truth": Addition(tf.bool, (7,), 1),
        "empty": Addition(tf.float64, (0, 3), 1.0),
    }
    src, dst, theirs = (str(tmp_path / name) for name in ("src", "dst", "theirs"))
    _save(src, {"x": np.float32(1)})
    copy_checkpoint(CheckpointReader(src), Changes(dropped={"x"}, additions=[lambda: added]), dst)
    _save(theirs, {name: np.full(new.shape, new.fill).astype(new.dtype.as_numpy_dtype) for name, new in added.items()})
    ours, expected = _bytes_of(dst), _bytes_of(theirs)
    assert ours == expected
    records = [
        {key: (entry.dtype, entry.shape, entry.HasField("shape"), entry.size) for key, entry in index.entries.items()}
        for index in map(read_index, (dst, theirs))
    ]
    assert records[0] == records[1]
    assert read_index(dst).header == read_index(theirs).header


def _save(prefix, values):
    with tf.Graph().as_default(), tf.Session() as session:
        names, tensors = zip(*values.items())
        save = tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=list(map(tf.constant, tensors)),
        )
        session.run(save)


def test_a_replacement_of_another_kind_is_refused(tmp_path):
    src = kinds.single(str(tmp_path))
    for other in (lambda value: value[:-1], lambda value: value.astype(np.float64)):
        with pytest.raises(VerificationError, match=r"'layer/kernel': expected .*\(6, 5\).*float32, found"):
            copy_checkpoint(CheckpointReader(src), Changes(replacements={KERNEL: other}), str(tmp_path / "dst"))


@pytest.mark.parametrize("kind", ["single", "partitioned", "first_format"])
def test_a_source_with_one_wrong_bit(kind, tmp_path):
    """In every tensor that is kept, be it copied or computed."""
    src = kinds.KINDS[kind](str(tmp_path))
    path = (
        src
        if kind == "first_format"
        else next(str(tmp_path / name) for name in sorted(os.listdir(str(tmp_path))) if ".data-00000" in name)
    )
    with open(path, "rb") as stream:
        content = stream.read()
    places = {KERNEL: kinds.masked_values()[KERNEL][:4], "slot": kinds.masked_values()["layer/kernel/Adam"][:4]}
    for name, values in places.items():
        place = content.find(values[:4].tobytes())
        assert place >= 0, name
        with open(path, "wb") as stream:
            stream.write(content[: place + 3] + bytes([content[place + 3] ^ 1]) + content[place + 4 :])
        with pytest.raises(SourceError, match=re.escape(src) + ": expected a (complete )?checkpoint"):
            fold_checkpoint(src, str(tmp_path / "folded"))
        assert not [item for item in os.listdir(str(tmp_path)) if "folded" in item]


def _first_format(folder, sharded):
    """Saves a partitioned variable in the first format, with the .meta file; returns the value of the whole."""
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope("layer", partitioner=tf.fixed_size_partitioner(3)):
            kernel = tf.get_variable("kernel", [10, 4])
        tf.matmul(tf.placeholder(tf.float32, [2, 10]), kernel, name="outputs")
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver(write_version=tf.train.SaverDef.V1, sharded=sharded)
        saver.save(session, os.path.join(folder, "model"))
        return session.run(tf.convert_to_tensor(kernel))


def test_parts_of_the_first_format_are_read(tmp_path):
    (tmp_path / "src").mkdir()
    value = _first_format(str(tmp_path / "src"), sharded=False)
    assert CheckpointReader(str(tmp_path / "src" / "model")).tensor("layer/kernel").tobytes() == value.tobytes()
    prune_model(str(tmp_path / "src"), str(tmp_path / "dst"), PruningSpec(0.5, 0, 1))
    pruned = CheckpointReader(str(tmp_path / "dst" / "model")).tensor("layer/kernel")
    assert np.count_nonzero(pruned) == 20 and set(pruned[pruned != 0]) <= set(value.ravel())


def test_shards_of_the_first_format_are_refused_by_name(tmp_path):
    _first_format(str(tmp_path), sharded=True)
    with pytest.raises(SourceError, match=r"model-\?\?\?\?\?-of-00001: expected .* found shards of the first format"):
        find_source(str(tmp_path))


def test_other_data_in_place_of_a_graph_are_one_error_and_no_warning(tmp_path, recwarn):
    """Protobuf warns of an end where none belongs, and takes what stands before it for the whole."""
    kinds.single(str(tmp_path))
    (index,) = tmp_path.glob("*.index")
    index.rename(tmp_path / "other.meta")
    with pytest.raises(SourceError, match=r"other.meta: expected a MetaGraph, found damaged or other data"):
        read_meta_graph(str(tmp_path / "other.meta"))
    assert not [item for item in recwarn if issubclass(item.category, RuntimeWarning)]
