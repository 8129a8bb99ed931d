"""fold_checkpoint: exact, complete or absent, and clear about bad input."""

import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import CONV, DENSE, SPEC, batches, plain_model_fn, read_all, run_config
from graph_masker import DestinationError, SourceError, VerificationError, auto_mask, fold_checkpoint
from graph_masker.files import copying
from tests.helpers.folders import files_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model directory trained to its target; tests copy it before they change it."""
    model_dir = str(tmp_path_factory.mktemp("trained") / "model")
    with tf.Graph().as_default():
        estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), model_dir, run_config())
        estimator.train(batches(), steps=8)
    return model_dir


def _save(path, values):
    """Writes a checkpoint that holds exactly `values`."""
    with tf.Graph().as_default(), tf.Session() as session:
        variables = {name: tf.Variable(value, name=name.replace("/", "_")) for name, value in values.items()}
        session.run(tf.global_variables_initializer())
        return tf.train.Saver(variables).save(session, str(path), write_meta_graph=False)


def test_folded_directory_holds_the_products_and_every_other_tensor(trained, tmp_path):
    before = files_of(trained)
    result = fold_checkpoint(trained, str(tmp_path / "folded"))
    assert files_of(trained) == before
    assert (
        tf.train.latest_checkpoint(str(tmp_path / "folded")) == result.prefix == str(tmp_path / "folded/model.ckpt-8")
    )
    masked, folded = read_all(trained), read_all(result.prefix)
    state = {name for name in masked if name.endswith(("mask", "threshold", "last_mask_update_step"))}
    assert set(result.dropped) == state == set(masked) - set(folded)
    assert len(state) == 5
    for name, value in folded.items():
        expected = masked[name.replace("kernel", "mask")] * masked[name] if name in (CONV, DENSE) else masked[name]
        assert value.tobytes() == expected.tobytes(), name
    assert {weight.variable: weight.zeros for weight in result.weights} == {CONV: 54, DENSE: 144}
    assert result.sparsity == 0.75


def test_folded_checkpoint_gives_the_masked_outputs_in_the_original_model(trained, tmp_path):
    fold_checkpoint(trained, str(tmp_path / "folded"))

    def logits(model_fn, model_dir):
        estimator = tf.estimator.Estimator(model_fn, str(model_dir), run_config())
        return next(iter(estimator.predict(batches(), yield_single_examples=False)))["logits"]

    masked = logits(auto_mask(plain_model_fn, SPEC), trained)
    assert masked.tobytes() == logits(plain_model_fn, tmp_path / "folded").tobytes()
    # Negative control: the raw weights, unfolded, give other outputs.
    assert masked.tobytes() != logits(plain_model_fn, trained).tobytes()


def test_other_tools_find_the_result(trained, tmp_path):
    folder = str(tmp_path / "folded")
    prefix = fold_checkpoint(trained, folder).prefix
    assert list(tf.train.checkpoints_iterator(folder, timeout=0)) == [prefix]
    state = tf.train.get_checkpoint_state(folder)
    assert (state.model_checkpoint_path, list(state.all_model_checkpoint_paths)) == (prefix, [prefix])
    estimator = tf.estimator.Estimator(plain_model_fn, folder, run_config())
    assert estimator.latest_checkpoint() == prefix
    assert {CONV, DENSE} <= set(estimator.get_variable_names())
    # A relative path, so that the folder can be moved.
    os.rename(folder, folder + "-moved")
    assert tf.train.latest_checkpoint(folder + "-moved") == os.path.join(folder + "-moved", "model.ckpt-8")


def test_progress_is_told_of_writing_and_of_checking(trained, tmp_path, monkeypatch):
    seen, at = [], []
    original = copying.reread
    monkeypatch.setattr(copying, "reread", lambda *given: (at.append(len(seen)), original(*given))[1])
    fold_checkpoint(trained, str(tmp_path / "folded"), lambda done, total: seen.append((done, total)))
    assert 0 < at[0] < len(seen)
    assert seen[at[0] - 1][0] * 2 == seen[-1][0] == seen[-1][1]


def test_prefix_to_prefix_leaves_a_state_file_that_is_there(trained, tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "other"\n')
    result = fold_checkpoint(os.path.join(trained, "model.ckpt-8"), str(tmp_path / "plain"))
    assert result.prefix == str(tmp_path / "plain")
    assert (tmp_path / "checkpoint").read_text() == 'model_checkpoint_path: "other"\n'
    assert sorted(os.listdir(str(tmp_path))) == [
        "checkpoint",
        "plain.data-00000-of-00001",
        "plain.index",
        "plain.meta",
    ]


def test_moving_averages_and_two_weights_in_one_scope(tmp_path):
    random = np.random.RandomState(0)
    depthwise, pointwise = random.rand(3, 3, 2, 1).astype("f"), random.rand(1, 1, 2, 4).astype("f")
    values = {
        "sep/depthwise_weights": depthwise,
        "sep/depthwise_weights_mask": (depthwise > 0.5).astype("f"),
        "sep/depthwise_weights_threshold": np.float32(0.5),
        "sep/pointwise_weights": pointwise,
        "sep/pointwise_weights_mask": (pointwise > 0.3).astype("f"),
        "sep/pointwise_weights_threshold": np.float32(0.3),
        "sep/pointwise_weights/ExponentialMovingAverage": pointwise + 1,
        "train/sep/depthwise_weights/my_average": depthwise - 1,
        "sep/pointwise_weights/Momentum": pointwise * 2,
        "model_pruning/last_mask_update_step": np.int32(7),
        "attention/mask": random.rand(2, 2).astype("f"),
    }
    result = fold_checkpoint(_save(tmp_path / "masked", values), str(tmp_path / "folded"))
    folded = read_all(result.prefix)
    assert np.array_equal(folded["sep/depthwise_weights"], depthwise * (depthwise > 0.5))
    assert np.array_equal(folded["sep/pointwise_weights"], pointwise * (pointwise > 0.3))
    average = folded["sep/pointwise_weights/ExponentialMovingAverage"]
    assert np.array_equal(average, (pointwise + 1) * (pointwise > 0.3))
    assert np.array_equal(folded["train/sep/depthwise_weights/my_average"], (depthwise - 1) * (depthwise > 0.5))
    # The optimizer's slots, and a model's own variable that is called mask, stay as they are.
    assert np.array_equal(folded["sep/pointwise_weights/Momentum"], pointwise * 2)
    assert np.array_equal(folded["attention/mask"], values["attention/mask"])
    assert len(result.copies) == 2


def test_batches_do_not_show(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "_BATCH_BYTES", 300)
    seen = []
    fold_checkpoint(trained, str(tmp_path / "many"), progress=lambda done, total: seen.append((done, total)))
    monkeypatch.undo()
    fold_checkpoint(trained, str(tmp_path / "one"))
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    assert [done for done, _ in seen] == sorted({done for done, _ in seen} | {seen[-1][0]})
    assert seen[-1][0] == seen[-1][1]


def test_what_does_not_read_back_is_not_published(trained, tmp_path, monkeypatch):
    original = copying._Copy.write

    def flip(copy):
        original(copy)
        # The file stays readable: it is written anew, with one value changed.
        with tf.Graph().as_default(), tf.Session() as session:
            values = read_all(copy._prefix)
            values[CONV] = np.nextafter(values[CONV], np.float32(1))
            names = sorted(values)
            session.run(
                tf.raw_ops.SaveV2(
                    prefix=copy._prefix,
                    tensor_names=names,
                    shape_and_slices=[""] * len(names),
                    tensors=[values[n] for n in names],
                )
            )

    monkeypatch.setattr(copying._Copy, "write", flip)
    with pytest.raises(VerificationError, match=r"model.ckpt-8.index: does not read back as it was written"):
        fold_checkpoint(trained, str(tmp_path / "folded"))
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_bit_that_is_lost_on_the_disk(trained, tmp_path, monkeypatch, place):
    original = copying.reread

    def flip(path, entries, advance):
        with open(path, "r+b") as stream:
            content = bytearray(stream.read())
            content[int(place * len(content))] ^= 1
            stream.seek(0)
            stream.write(content)
        return original(path, entries, advance)

    monkeypatch.setattr(copying, "reread", flip)
    with pytest.raises(VerificationError, match=r"model.ckpt-8: '.*' does not read back as it was written"):
        fold_checkpoint(trained, str(tmp_path / "folded"))
    assert os.listdir(str(tmp_path)) == []


def test_a_directory_without_a_state_file(trained, tmp_path):
    shutil.copytree(trained, str(tmp_path / "model"))
    os.remove(str(tmp_path / "model" / "checkpoint"))
    with pytest.raises(SourceError, match="found 2 checkpoints and no `checkpoint` file to choose"):
        fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "out"))
    for name in os.listdir(str(tmp_path / "model")):
        if name.startswith("model.ckpt-0"):
            os.remove(str(tmp_path / "model" / name))
    assert fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "out")).sparsity == 0.75


def test_missing_and_plain_sources(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "frozen.pb").touch()
    cases = {
        str(tmp_path / "nothing"): "expected a checkpoint's prefix or directory, a .meta file, a SavedModel",
        str(tmp_path / "no/such/folder"): "no such folder",
        str(tmp_path / "empty"): "found no checkpoint",
        str(tmp_path / "frozen.pb"): "expected a checkpoint, found a frozen graph; `graph-masker strip` takes it",
    }
    for source, message in cases.items():
        with pytest.raises(SourceError, match=message):
            fold_checkpoint(source, str(tmp_path / "out"))
    plain = _save(tmp_path / "plain", {"w": np.ones([2, 2], "f")})
    with pytest.raises(SourceError, match="found no masks in it; nothing to fold"):
        fold_checkpoint(plain, str(tmp_path / "out"))
    orphan = _save(tmp_path / "orphan", {"a/mask": np.ones([2, 2], "f"), "a/threshold": np.float32(0)})
    with pytest.raises(SourceError, match=r"mask 'a/mask' beside it, found none.*\.meta"):
        fold_checkpoint(orphan, str(tmp_path / "out"))
    odd = {"a/mask": np.full([2, 2], 0.5, "f"), "a/threshold": np.float32(0), "a/w": np.ones([2, 2], "f")}
    with pytest.raises(SourceError, match="expected zeros and ones in 'a/mask'"):
        fold_checkpoint(_save(tmp_path / "odd", odd), str(tmp_path / "out"))
    assert not [name for name in os.listdir(str(tmp_path)) if "out" in name]


@pytest.mark.parametrize("suffix", [".data-00000-of-00001", ".index"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.98])
def test_truncated_files(trained, tmp_path, suffix, keep):
    shutil.copytree(trained, str(tmp_path / "model"))
    path = str(tmp_path / "model" / "model.ckpt-8") + suffix
    size = os.path.getsize(path)
    with open(path, "r+b") as stream:
        stream.truncate(int(size * keep) if keep < 1 else keep)
    cut = os.path.getsize(path)
    is_index = suffix == ".index"
    says = rf"\.data-00000-of-00001: expected at least {size:,} bytes, as .*\.index says, found {cut:,}; copy .* anew"
    with pytest.raises(SourceError, match=r"model\.ckpt-8: expected a complete checkpoint" if is_index else says):
        fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "out"))
    assert os.listdir(str(tmp_path)) == ["model"]


def test_a_missing_data_file(trained, tmp_path):
    shutil.copytree(trained, str(tmp_path / "model"))
    os.remove(str(tmp_path / "model" / "model.ckpt-8.data-00000-of-00001"))
    with pytest.raises(SourceError, match=r"00000-of-00001: expected .* bytes, as .*\.index says, found none; copy"):
        fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "out"))
    assert os.listdir(str(tmp_path)) == ["model"]


def test_a_checksum_that_does_not_fit_names_no_op(trained, tmp_path):
    """The graphs that read tensors are ours; whoever has a damaged file never saw them."""
    shutil.copytree(trained, str(tmp_path / "model"))
    data = tmp_path / "model" / "model.ckpt-8.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    for position in range(0, len(content), 16):
        content[position] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(SourceError, match=r"model\.ckpt-8: expected a complete .*Checksum") as caught:
        fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "out"))
    assert "node" not in str(caught.value)


def test_existing_and_impossible_destinations(trained, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("x")
    prefix = os.path.join(trained, "model.ckpt-8")
    for source, destination, message in [
        (trained, "taken", "exists already; name a new destination, or replace it with --overwrite"),
        (trained, "file", "exists already; name a new destination, or replace it with --overwrite"),
        (prefix, "taken", "exists already, and is a folder; expected the prefix of a new checkpoint"),
        (prefix, prefix, "expected something new, found the source itself"),
        (trained, trained, "expected something new, found the source itself"),
    ]:
        with pytest.raises(DestinationError, match=message):
            fold_checkpoint(source, os.path.join(str(tmp_path), destination))
    with pytest.raises(DestinationError, match="cannot be written"):
        fold_checkpoint(trained, str(tmp_path / "file" / "below"))
    assert sorted(os.listdir(str(tmp_path))) == ["file", "taken"]
    assert os.listdir(str(tmp_path / "taken")) == []
