"""The API's pipeline config for one phase: the template with paths, steps and learning rate filled in."""

from pathlib import Path
from typing import NamedTuple, Optional

from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from examples.digit_scenes.layout import Layout

SSD = Path(__file__).with_name("ssd.config")
MASK_RCNN = Path(__file__).with_name("mask_rcnn.config")


class Phase(NamedTuple):
    """One training phase.

    Attributes:
        folder: Where the config, the model folder and the export of the phase go.
        steps: Training steps.
        learning_rate: Highest learning rate of the cosine schedule.
        start_from: Prefix of a checkpoint to start from; None starts from random weights.
        template: The pipeline config of the model.
        from_classifier: The checkpoint is that of a classifier with the same backbone, not of a detector.
    """

    folder: Path
    steps: int
    learning_rate: float
    start_from: Optional[str] = None
    template: Path = SSD
    from_classifier: bool = False

    @property
    def config(self) -> Path:
        """The pipeline config of the phase."""
        return self.folder / "pipeline.config"

    @property
    def model(self) -> Path:
        """The Estimator's model_dir."""
        return self.folder / "model"

    @property
    def exported(self) -> Path:
        """What the API's exporter writes."""
        return self.folder / "exported"

    @property
    def frozen_graph(self) -> Path:
        """The frozen graph among the exported files."""
        return self.exported / "frozen_inference_graph.pb"


def read_config(path: Path) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Reads a pipeline config from its text form."""
    return text_format.Parse(path.read_text(), pipeline_pb2.TrainEvalPipelineConfig())


def write_config(phase: Phase, layout: Layout) -> None:
    """Writes the pipeline config of a phase to its folder."""
    config = read_config(phase.template)
    train = config.train_config
    train.num_steps = phase.steps
    optimizer = getattr(train.optimizer, train.optimizer.WhichOneof("optimizer"))
    schedule = optimizer.learning_rate.cosine_decay_learning_rate
    schedule.learning_rate_base = phase.learning_rate
    schedule.total_steps = phase.steps
    schedule.warmup_learning_rate = phase.learning_rate / 10
    schedule.warmup_steps = min(100, phase.steps // 10)
    if phase.start_from is not None:
        train.fine_tune_checkpoint = phase.start_from
        train.from_detection_checkpoint = not phase.from_classifier
        train.load_all_detection_checkpoint_vars = not phase.from_classifier
    readers = [
        (config.train_input_reader, layout.train_records),
        (config.eval_input_reader[0], layout.held_out_records),
    ]
    for reader, records in readers:
        reader.label_map_path = str(layout.label_map)
        reader.tf_record_input_reader.input_path.append(str(records))
    phase.config.write_text(text_format.MessageToString(config))
