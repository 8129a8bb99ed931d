"""`graph-masker run` on programs that know nothing of it: what they train is pruned, and they can go on with it."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all
from graph_masker.plan import PLAN_FILE, MaskPlan
from graph_masker.schedule import kept_entries
from tests.cli.running import PROGRAMS, PYTHON, environment, run
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import normal_value
from tests.session.nets import KERNELS, SPEC, STEPS, oracle, trained

OPTIONS = ["--sparsity", "0.75", "--pruning_start_step", "2", "--pruning_end_step", "10", "--frequency", "3"]


def command(name, directory, steps):
    path = os.path.join(PROGRAMS, f"{name}.py")
    if name == "monitored":
        return [path, f"--directory={directory}", f"--steps={steps}", "more"]
    return [path, directory, steps]


def read_plan(path):
    with open(str(path)) as stream:
        return MaskPlan.from_json(stream.read())


@pytest.fixture(scope="module", params=["session_loop", "monitored"])
def road(request, tmp_path_factory):
    """Trains half of the steps, then the others, and folds."""
    folder = tmp_path_factory.mktemp(request.param)
    name, model = request.param, folder / "model"
    first = run("run", *OPTIONS, "--", *command(name, model, STEPS // 2))
    half = read_all(str(model))
    last = run("run", *OPTIONS, "--", *command(name, model, STEPS))
    return {
        "name": name,
        "folder": folder,
        "model": model,
        "results": (first, last),
        "half": half,
        "fold": run("fold", model, folder / "folded"),
    }


def test_it_trains_as_with_an_explicit_update(road):
    assert [result.returncode for result in road["results"]] == [0, 0], road["results"][1].stderr
    expected, values = trained(oracle()), read_all(str(road["model"]))
    assert_same_bits({name: values[name] for name in expected}, expected)
    assert values["model_pruning/last_mask_update_step"] == SPEC.end_step
    # Negative control: half the way is not there yet.
    assert differences({name: road["half"][name] for name in expected}, expected)
    for name in KERNELS:
        mask = values[name.replace("kernel", "mask")]
        assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity)


def test_its_output_is_that_of_plain_python(road):
    plain = [
        run(*command(road["name"], road["folder"] / "plain", steps), program=PYTHON) for steps in (STEPS // 2, STEPS)
    ]
    assert [result.returncode for result in plain] == [0, 0], plain[0].stderr
    assert [result.stdout for result in road["results"]] == [result.stdout for result in plain]
    assert f"done {STEPS}" in plain[1].stdout


def test_it_says_what_is_masked_and_leaves_the_plan_beside_the_checkpoints(road):
    for result in road["results"]:
        assert result.stderr.count("2 sites, 364 entries") == 1
        assert "a bias or scale" in result.stderr
        assert "graph-masker:" not in result.stderr
        # A line for each update, and no warning in TensorFlow's log.
        lines = [line for line in result.stderr.splitlines() if "graph_masker:" in line]
        assert lines and all(line.startswith("graph_masker: step ") for line in lines)
    plan = read_plan(road["model"] / PLAN_FILE)
    assert {site.variable for site in plan.sites} == set(KERNELS)
    assert plan.spec == SPEC


def test_its_checkpoints_are_inspected_and_folded(road):
    assert (road["fold"].returncode, road["fold"].stderr) == (0, "")
    masked, folded = read_all(str(road["model"])), read_all(str(road["folder"] / "folded"))
    for name in KERNELS:
        assert folded[name].tobytes() == (masked[name] * masked[name.replace("kernel", "mask")]).tobytes()
    assert not [name for name in folded if name.endswith("mask")]
    shown = json.loads(run("inspect", "--json", road["model"]).stdout)
    assert {site["variable"]: site["zeros"] / site["entries"] for site in shown["sites"]} == dict.fromkeys(
        KERNELS, 0.75
    )


def copied(model, other):
    """Copies a directory of checkpoints; its state file may name them with the directory that they were made in."""
    shutil.copytree(str(model), str(other))
    state = other / "checkpoint"
    state.write_text(state.read_text().replace(str(model), str(other)))
    return other


def test_a_run_with_another_spec_says_what_changed(road, tmp_path):
    model = copied(road["model"], tmp_path / "model")
    options = ["--sparsity", "0.5", *OPTIONS[2:], "--exclude", "dense"]
    result = run("run", *options, "--", *command(road["name"], model, STEPS + 1))
    assert result.returncode == 0, result.stderr
    told = result.stderr[result.stderr.index("graph-masker: ") :].splitlines()
    assert told == [
        f"graph-masker: {model}/{PLAN_FILE}: masking differs from the run before:",
        "  target_sparsity: 0.75 -> 0.5",
        "  exclude: [] -> ['dense']",
        "  no longer masked: dense/kernel (excluded by 'dense')",
    ]
    assert read_plan(model / PLAN_FILE).spec.target_sparsity == 0.5


def test_a_damaged_plan_is_one_line_and_training_goes_on(road, tmp_path):
    model = copied(road["model"], tmp_path / "model")
    (model / PLAN_FILE).write_text('{"sites": [')
    result = run("run", *OPTIONS, "--", *command(road["name"], model, STEPS + 1))
    assert result.returncode == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("graph-masker: ")]
    assert len(lines) == 1 and f"{model}/{PLAN_FILE}: expected the plan of an earlier run" in lines[0]
    assert len(read_plan(model / PLAN_FILE).sites) == 2


def test_keras(tmp_path):
    file = tmp_path / "model.h5"
    for epochs, iterations in ((12, 12), (3, 15)):
        result = run("run", *OPTIONS, "--", *command("keras_fit", file, epochs))
        assert (result.returncode, result.stdout) == (0, f"iterations {iterations}\n"), result.stderr
        assert f"no {PLAN_FILE} was written" in result.stderr
        with tf.Graph().as_default(), tf.Session():
            model = tf.keras.models.load_model(str(file))
            for layer in ("conv", "dense"):
                kernel = model.get_layer(layer).get_weights()[0]
                assert np.count_nonzero(kernel) == kept_entries(kernel.size, 0.75), layer
            predicted = model.predict(normal_value("x", [16, 12]))
        assert predicted.tobytes() == np.load(str(file) + ".predicted.npy").tobytes()
    assert sorted(os.listdir(str(tmp_path))) == ["model.h5", "model.h5.predicted.npy"]


def test_a_model_that_grows_is_told_once_that_it_has_no_plan(tmp_path):
    script = tmp_path / "grows.py"
    late = "late = tf.layers.dense(tf.ones([1, 8]), 4)\nsession.run(tf.global_variables_initializer())\n"
    script.write_text(session_script(TRAINING + late + "session.run(late)"))
    result = run("run", *OPTIONS, "--", str(script))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"no {PLAN_FILE} was written") == 1, result.stderr


def test_two_models_and_one_with_nothing_to_mask(tmp_path):
    """In directories of their own, and in one."""
    program = os.path.join(PROGRAMS, "two_models.py")
    for places, files in (
        ("ab", ("a/" + PLAN_FILE, "b/" + PLAN_FILE)),
        ("cc", ("c/" + PLAN_FILE, "c/graph_masker_plan_2.json")),
    ):
        for _ in range(2):
            result = run("run", *OPTIONS, "--", program, *(tmp_path / place for place in places))
            assert result.returncode == 0, result.stderr
            assert "graph-masker:" not in result.stderr
            assert result.stderr.count("0 sites") == 1
        variables = [[site.variable for site in read_plan(tmp_path / file).sites] for file in files]
        assert variables == [["hidden8/kernel"], ["hidden20/kernel"]]


def session_script(body):
    return "import sys, tensorflow.compat.v1 as tf\nfrom tests.session.nets import loss, optimizer\n" + body


TRAINING = """
train_op = optimizer().minimize(loss())
session = tf.Session()
session.run(tf.global_variables_initializer())
session.run(train_op)
"""

NOTHING = [
    ("print('done')", "it ran no TensorFlow graph with a weight to mask"),
    ("tf.enable_eager_execution(); print(tf.ones([]).numpy())", "it executes eagerly, and masks need a graph"),
    (
        "v = tf.get_variable('v', [3]); train_op = optimizer().minimize(tf.reduce_sum(v * v)); s = tf.Session()\n"
        "s.run(tf.global_variables_initializer()); s.run(train_op)",
        "the graphs that it trained have no weight to mask",
    ),
]


@pytest.mark.parametrize("body, reason", NOTHING, ids=["idle", "eager", "scalars"])
def test_nothing_masked_is_one_line_and_exit_code_2_where_the_program_succeeds(tmp_path, body, reason):
    for ending in ("", "\nsys.exit(0)"):
        (tmp_path / "own.py").write_text(session_script(body + ending))
        result = run("run", *OPTIONS, "--", tmp_path / "own.py")
        assert result.returncode == 2, result.stderr
        lines = [line for line in result.stderr.splitlines() if "nothing was masked" in line]
        assert len(lines) == 1 and f"running {tmp_path}/own.py" in lines[0] and reason in lines[0]


# In a child; by the program's own call.
ELSEWHERE = [
    "import os; child = os.fork()\nif child == 0:\n    " + TRAINING.replace("\n", "\n    ") + "\n    os._exit(0)\n"
    "os.waitpid(child, 0)",
    "import graph_masker; spec = graph_masker.PruningSpec(target_sparsity=0.5, begin_step=0, end_step=2)\n"
    "tf.estimator.Estimator(graph_masker.auto_mask(lambda features, labels, mode: None, spec), 'never')",
]


@pytest.mark.parametrize("body", ELSEWHERE, ids=["fork", "auto_mask"])
def test_what_is_masked_elsewhere_is_no_failure(tmp_path, body):
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("graph-masker: ")]
    assert len(lines) == 1 and "masked nothing in this process by these options" in lines[0]


@pytest.mark.parametrize(
    "ending, code, last",
    [("sys.exit(7)", 7, ""), ("sys.exit('own words')", 1, "own words"), ("raise ValueError(3)", 1, "ValueError: 3")],
)
def test_a_program_that_fails_has_the_last_word(tmp_path, ending, code, last):
    """What was not masked is not the point of it."""
    (tmp_path / "own.py").write_text(session_script(ending))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py")
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.endswith(last + "\n" if last else "")
    assert "graph-masker: " not in result.stderr


def test_an_eager_program_is_told_at_once(tmp_path):
    body = "tf.enable_eager_execution(); print('on', file=sys.stderr)\n"
    body += "net = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))]); net.compile('sgd', 'mse')\n"
    body += "net.fit(tf.ones([4, 3]), tf.ones([4, 2]), verbose=0, steps_per_epoch=1)\n"
    body += "step = tf.function(lambda: net(tf.ones([1, 3])))\n"
    body += "with tf.GradientTape() as tape: value = tf.reduce_sum(step())\n"
    body += "print(len(tape.gradient(value, net.trainable_variables)))"
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py")
    assert (result.returncode, result.stdout) == (2, "2\n"), result.stderr
    lines = [line for line in result.stderr.splitlines() if line == "on" or line.startswith("graph-masker:")]
    assert ["executes eagerly from here on" in lines[0], lines[1], "nothing was masked" in lines[2]] == [
        True,
        "on",
        True,
    ]


@pytest.mark.parametrize(
    "body, code, text",
    [
        (
            "session, value = tf.Session(), loss(); session.run(tf.global_variables_initializer()); session.run(value)",
            0,
            "trained none of the graphs that were masked",
        ),
        (TRAINING, 0, f"no {PLAN_FILE} was written"),
        (
            "value = loss(); tf.get_default_graph().finalize(); optimizer().minimize(value)",
            1,
            "RuntimeError: Graph is finalized and cannot be modified.",
        ),
        (
            "from graph_masker import masking, PruningSpec\nwith masking(PruningSpec(0.5, 0, 9)): pass",
            2,
            "graph-masker: masking: it is on already",
        ),
    ],
    ids=["not trained", "not saved", "finalized", "masking inside"],
)
def test_clear_lines(tmp_path, body, code, text):
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py")
    assert result.returncode == code, result.stderr
    assert [line for line in result.stderr.splitlines() if text in line], result.stderr


def test_a_finalized_graph_is_masked_before(tmp_path):
    body = "train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())\nsaver = tf.train.Saver()\n"
    body += "init = tf.global_variables_initializer()\ntf.get_default_graph().finalize()\nsession = tf.Session()\n"
    body += "session.run(init)\nfor _ in range(12): session.run(train_op)\nsaver.save(session, sys.argv[1])"
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    values = read_all(str(tmp_path / "model"))
    assert [1 - np.mean(values[name]) for name in ("conv/mask", "dense/mask")] == [0.75, 0.75]


def test_summaries_say_where_the_plan_goes_where_no_checkpoint_does(tmp_path):
    body = "writer = tf.summary.FileWriter(sys.argv[1])\n" + TRAINING
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", tmp_path / "logs")
    assert result.returncode == 0 and "graph-masker:" not in result.stderr
    assert len(read_plan(tmp_path / "logs" / PLAN_FILE).sites) == 2


def test_a_directory_that_the_saver_does_not_find_is_not_made(tmp_path):
    """A program that fails without graph-masker fails with it."""
    body = TRAINING + "tf.train.Saver().save(session, sys.argv[1] + '/no/such/model')"
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", tmp_path)
    assert result.returncode == 1 and "Parent directory" in result.stderr
    assert os.listdir(str(tmp_path)) == ["own.py"]


def test_a_model_that_trains_in_a_thread_and_is_saved_by_an_exit_handler(tmp_path):
    """Both come after the last line of the program."""
    body = """
import atexit, threading, time
found = []

def train():
    time.sleep(0.5)
    with tf.Graph().as_default():
        train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
        saver, session = tf.train.Saver(), tf.Session()
        session.run(tf.global_variables_initializer())
        for _ in range(12):
            session.run(train_op)
        found.extend([saver, session])

atexit.register(lambda: found[0].save(found[1], sys.argv[1] + "/model.ckpt"))
threading.Thread(target=train).start()
"""
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", tmp_path)
    assert result.returncode == 0 and "nothing was masked" not in result.stderr
    values = read_all(str(tmp_path))
    assert [1 - np.mean(values[name]) for name in ("conv/mask", "dense/mask")] == [0.75, 0.75]
    assert len(read_plan(tmp_path / PLAN_FILE).sites) == 2


@pytest.mark.parametrize("patterns", [["--exclude", "head"], ["--include", "conv", "--include", "head"]])
def test_a_pattern_that_matches_nothing_fails_before_training(tmp_path, patterns):
    body = TRAINING + "print('trained')"
    (tmp_path / "own.py").write_text(session_script(body))
    result = run("run", *OPTIONS, *patterns, "--", tmp_path / "own.py")
    assert (result.returncode, result.stdout) == (2, "")
    lines = [line for line in result.stderr.splitlines() if re.search("graph.masker", line)]
    assert len(lines) == 1 and lines[0] == result.stderr.splitlines()[-1]
    assert lines[0].startswith(f"graph-masker: {patterns[0][2:]}: 'head' matches none of the 2 weights")


def test_updates_that_are_missing_are_told_and_no_others(tmp_path):
    """The graph is masked when its session first runs it: before it is looked at for updates that are missing."""
    body = """
value, step = loss(), tf.train.get_or_create_global_step()
conv, dense = ([item for item in tf.trainable_variables() if item.name.startswith(name)] for name in ("conv", "dense"))
first, second = optimizer().minimize(value, var_list=conv), optimizer().minimize(value, step, var_list=dense)
both = tf.group(first, second)
session = tf.Session()
session.run(tf.global_variables_initializer())
for _ in range(40):
    session.run(RUN)
"""
    for ops, warns in (("both", False), ("[first, second]", True)):
        (tmp_path / "own.py").write_text(session_script(body.replace("RUN", ops)))
        result = run("run", *OPTIONS, "--", tmp_path / "own.py")
        assert result.returncode == 0, result.stderr
        assert ("its masks are not updated" in result.stderr, "updates no masks" in result.stderr) == (warns, False)


def test_an_estimator_with_nothing_to_mask_beside_a_model_that_has(tmp_path):
    body = """
def model_fn(features, labels, mode):
    v = tf.get_variable("v", [3])
    value = tf.reduce_sum(v * v)
    train_op = optimizer().minimize(value, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=value, train_op=train_op)

tf.estimator.Estimator(model_fn, sys.argv[1]).train(lambda: tf.data.Dataset.from_tensors(({}, 0)).repeat(), steps=2)
"""
    (tmp_path / "own.py").write_text(session_script(body + TRAINING))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("0 sites") == 1 and result.stderr.count("2 sites") == 1
    assert not (tmp_path / "model" / PLAN_FILE).exists()
    assert not [name for name in read_all(str(tmp_path / "model")) if name.startswith("model_pruning")]


def test_a_saver_that_makes_the_directory_itself_leaves_a_plan_there(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            import tensorflow.compat.v1 as tf

            loss = tf.reduce_sum(tf.layers.dense(tf.ones([2, 8]), 4))
            train_op = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for _ in range(4):
                    session.run(train_op)
                tf.train.Saver().save(session, sys.argv[1] + "/model.ckpt")
            """
        )
    )
    options = ["--target-sparsity", "0.5", "--begin-step", "1", "--end-step", "3", "--frequency", "1"]
    result = run("run", *options, "--", script, tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "model" / PLAN_FILE).is_file()
    assert "no graph_masker_plan.json was written" not in result.stderr


SAVES = f"{TRAINING}\ntf.train.Saver().save(session, sys.argv[1])\n"
RAISES = "raise tf.errors.ResourceExhaustedError(None, None, {!r})"
# Whether a checkpoint was saved, the exit code, whether the disk is the reason.
ENDINGS = {
    "space": (SAVES + RAISES.format("/any/graph.pbtxt.tmp; No space left on device"), True, 1, True),
    "memory": (SAVES + RAISES.format("OOM when allocating tensor with shape[9]"), True, 1, False),
    "caught": ("try: raise OSError(28, 'No space left on device')\nexcept OSError: sys.exit(5)", False, 5, True),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_a_full_disk_ends(tmp_path, ending):
    """Wherever it was: exit code and traceback are its own, and the last line says from where training can go on."""
    text, is_saved, code, is_told = ENDINGS[ending]
    path = tmp_path / "model" / "model.ckpt"
    path.parent.mkdir()
    (tmp_path / "own.py").write_text(session_script(text))
    result = run("run", *OPTIONS, "--", tmp_path / "own.py", path)
    assert result.returncode == code, result.stderr
    last = f"the last complete checkpoint is {path}" if is_saved else "there is no checkpoint yet"
    told = f"graph-masker: the disk is full; {last}. Free some space and run the same again"
    assert (result.stderr.splitlines()[-1] == told) == is_told == ("the disk is full" in result.stderr)
    assert ("Traceback" in result.stderr) == is_saved


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path):
    frozen = tmp_path / "frozen.pb"
    with tf.Graph().as_default() as graph:
        tf.matmul(tf.placeholder(tf.float32, [1, 2]), tf.constant([[1.0], [2.0]]))
    frozen.write_bytes(graph.as_graph_def().SerializeToString())
    command = [sys.executable, "-W", "ignore", "-m", "graph_masker.cli", "inspect", str(frozen)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert result.returncode == 2
    assert result.stderr == "graph-masker: standard output: cannot be written: No space left on device\n"
