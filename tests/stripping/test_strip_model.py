"""strip_model: frozen graphs and SavedModels, from file to file; complete or absent."""

import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import SPEC, batches, plain_model_fn, run_config
from fixtures.kinds import write_every_kind
from graph_masker import DestinationError, SourceError, VerificationError, auto_mask, strip_model
from graph_masker.files.graphs import read_graph_def, read_saved_model
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.folders import files_of
from tests.helpers.losing import lose_a_bit
from tests.helpers.running import single_threaded
from tests.unmasking.comparing import differences as graph_differences

KINDS = pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])


@pytest.fixture(scope="module", params=[False, True], ids=["ref", "resource"])
def written(request, tmp_path_factory):
    """The model of `fixtures.kinds`, masked, in files of every kind."""
    return write_every_kind(tmp_path_factory.mktemp("kinds") / "masked", request.param, True)


def _images():
    return np.random.RandomState(1).normal(size=[2, 8, 8, 3]).astype(np.float32)


def _frozen_output(path):
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read_graph_def(str(path)), name="")
        with single_threaded(graph) as session:
            return {"output": session.run("output:0", {"images:0": _images()})}


def _served_output(folder, tags=("serve",)):
    with tf.Graph().as_default() as graph, single_threaded(graph) as session:
        meta_graph = tf.saved_model.loader.load(session, list(tags), str(folder))
        signature = next(iter(meta_graph.signature_def.values()))
        output = next(iter(signature.outputs.values())).name
        inputs = next(iter(signature.inputs.values())).name
        shape = graph.get_tensor_by_name(inputs).shape.as_list()
        return {"output": session.run(output, {inputs: np.random.RandomState(1).normal(size=shape)})}


@pytest.mark.parametrize("name", ["frozen.pb", "frozen.pbtxt"])
def test_a_stripped_frozen_graph_predicts_as_the_masked_one(written, name, tmp_path):
    source = written.folder / name
    before = source.read_bytes()
    result = strip_model(str(source), str(tmp_path / name))
    assert source.read_bytes() == before
    assert {weight.variable: weight.zeros for weight in result.weights} == written.zeros
    assert_same_bits(_frozen_output(tmp_path / name), _frozen_output(source))
    (raw, zipped), (raw_after, zipped_after) = result.sizes()
    assert (raw, raw_after) == (len(before), (tmp_path / name).stat().st_size)
    assert zipped_after < zipped < raw
    assert os.listdir(str(tmp_path)) == [name]


def test_a_stripped_saved_model_predicts_as_the_masked_one(written, tmp_path):
    before = files_of(written.folder)
    result = strip_model(str(written.folder / "saved"), str(tmp_path / "plain"))
    assert files_of(written.folder) == before
    assert {weight.variable: weight.zeros for weight in result.weights} == written.zeros
    masked, plain = _served_output(written.folder / "saved"), _served_output(tmp_path / "plain")
    assert_same_bits(plain, masked)
    keys = tf.train.load_checkpoint(str(tmp_path / "plain" / "variables" / "variables")).get_variable_to_shape_map()
    assert not [key for key in keys if key.endswith(("mask", "threshold")) or "model_pruning" in key]


def test_dense_and_masked_files_differ(written, tmp_path):
    """Negative control: the same values without masks predict otherwise."""
    dense = write_every_kind(tmp_path / "dense", "ref" in str(written.folder), False)
    assert differences(_frozen_output(dense.folder / "frozen.pb"), _frozen_output(written.folder / "frozen.pb"))


def _export(folder, is_masked, use_resource):
    """Exports two graphs that share their variables, with assets, and extra ones, which SavedModels merely carry."""
    from graph_masker import PruningSpec
    from graph_masker.masker import Masker

    builder = tf.saved_model.builder.SavedModelBuilder(str(folder))
    for tags, width in ((["serve"], 8), (["serve", "wide"], 12)):
        with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=use_resource):
            vocabulary = os.path.join(os.path.dirname(str(folder)), "words.txt")
            with open(vocabulary, "w") as stream:
                stream.write("one\ntwo\n")
            tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, tf.constant(vocabulary, name="vocabulary"))
            images = tf.placeholder(tf.float32, [2, width, width, 3], name="images")
            output = tf.layers.dense(
                tf.reduce_mean(tf.layers.conv2d(images, 4, 3, name="conv"), [1, 2]), 5, name="head"
            )
            masker = Masker(graph, PruningSpec(0.5, 0, 10))
            if is_masked:
                masker.mask([output], strict=True)
            signature = tf.saved_model.build_signature_def(
                {"images": tf.saved_model.build_tensor_info(images)},
                {"output": tf.saved_model.build_tensor_info(output)},
                "predict",
            )
            options = {
                "signature_def_map": {"serving_default": signature},
                "assets_collection": tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            }
            if width > 8:
                builder.add_meta_graph(tags, **options)
                continue
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for mask in masker.masks.values():
                    value = np.arange(np.prod(mask.shape.as_list())) % 3 > 0
                    mask.load(value.reshape(mask.shape.as_list()).astype(np.float32), session)
                builder.add_meta_graph_and_variables(session, tags, **options)
    builder.save()
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "warmup").write_bytes(b"\x00\x01")


@KINDS
def test_several_graphs_with_assets(use_resource, tmp_path):
    _export(tmp_path / "masked", True, use_resource)
    _export(tmp_path / "dense", False, use_resource)
    strip_model(str(tmp_path / "masked"), str(tmp_path / "plain"))
    for tags in (["serve"], ["serve", "wide"]):
        assert_same_bits(_served_output(tmp_path / "plain", tags), _served_output(tmp_path / "masked", tags))
    masked, plain = files_of(tmp_path / "masked"), files_of(tmp_path / "plain")
    assert sorted(masked) == sorted(plain)
    for name in ("assets/words.txt", "assets.extra/warmup"):
        assert masked[name] == plain[name]
    found = read_saved_model(str(tmp_path / "plain" / "saved_model.pb")).meta_graphs
    dense = read_saved_model(str(tmp_path / "dense" / "saved_model.pb")).meta_graphs
    for one, other in zip(found, dense):
        lines = graph_differences(one, other)
        assert not lines, "\n".join(lines[:12])


def test_what_an_estimator_exports(tmp_path):
    def receiver():
        images = tf.placeholder(tf.float32, [8, 6, 6, 2], name="images")
        return tf.estimator.export.TensorServingInputReceiver(images, images)

    with tf.Graph().as_default():
        estimator = tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(tmp_path / "model"), run_config())
        estimator.train(batches(), steps=8)
        exported = estimator.export_saved_model(str(tmp_path / "exported"), receiver).decode()
    result = strip_model(exported, str(tmp_path / "plain"))
    assert result.sparsity == 0.75
    assert_same_bits(_served_output(tmp_path / "plain"), _served_output(exported))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frozen.pb", "expected a masked graph, found no product of a constant mask"),
        ("saved", "expected a masked SavedModel, found no masked weight in it; nothing to strip"),
        ("ckpt", "expected a frozen graph or a SavedModel, found a checkpoint; `graph-masker fold` takes it"),
        ("alone.meta", "found a .meta file; `graph-masker fold` takes a checkpoint, with its data"),
    ],
)
def test_sources_that_are_refused(name, message, tmp_path):
    dense = write_every_kind(tmp_path / "dense", False, False)
    shutil.copy(str(dense.folder / "ckpt" / "model.ckpt-0.meta"), str(dense.folder / "alone.meta"))
    with pytest.raises(SourceError, match=re.escape(message)):
        strip_model(str(dense.folder / name), str(tmp_path / "plain"))
    assert [item.name for item in tmp_path.iterdir()] == ["dense"]


def test_what_cannot_be_copied_is_named_in_one_line(written, tmp_path):
    shutil.copytree(str(written.folder / "saved"), str(tmp_path / "saved"))
    (tmp_path / "saved" / "assets").mkdir(exist_ok=True)
    (tmp_path / "saved" / "assets" / "names.txt").symlink_to("nowhere")
    with pytest.raises(DestinationError, match=r"plain: cannot be written: names\.txt: .*No such file or directory"):
        strip_model(str(tmp_path / "saved"), str(tmp_path / "plain"))
    assert [item.name for item in tmp_path.iterdir()] == ["saved"]


@pytest.mark.parametrize("name", ["frozen.pb", "saved"])
def test_what_exists_is_kept_or_replaced_on_request(written, name, tmp_path):
    source, target = str(written.folder / name), tmp_path / name
    strip_model(source, str(target))
    first = files_of(tmp_path)
    with pytest.raises(DestinationError, match="exists already"):
        strip_model(source, str(target))
    strip_model(source, str(target), overwrite=True)
    assert files_of(tmp_path) == first
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises((DestinationError, SourceError)):
        strip_model(source, str(other), overwrite=True)
    assert (other / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["frozen.pb", "saved"])
def test_what_does_not_read_back_is_not_published(written, name, tmp_path, monkeypatch):
    lose_a_bit(monkeypatch, ".pb")
    with pytest.raises(VerificationError, match="does not read back"):
        strip_model(str(written.folder / name), str(tmp_path / ("plain" + os.path.splitext(name)[1])))
    assert not list(tmp_path.iterdir())


def test_a_saved_model_without_data_is_refused(written, tmp_path):
    strip_model(str(written.folder / "saved"), str(tmp_path / "copy"))
    folder = tmp_path / "masked"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes((written.folder / "saved" / "saved_model.pb").read_bytes())
    with pytest.raises(SourceError, match=r"expected variables/variables\.index, found no such file"):
        strip_model(str(folder), str(tmp_path / "plain"))
