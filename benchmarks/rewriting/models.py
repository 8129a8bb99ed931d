"""The models: graphs of third-party code from pip, none of it changed."""

from typing import Callable, NamedTuple

from benchmarks.rewriting import classification, detection
from benchmarks.rewriting.training import Training


class Model(NamedTuple):
    """A model by its short name; `prepare` makes its model_fn, `usual` models are built unless others are named."""

    name: str
    title: str
    prepare: Callable[[], Training]
    usual: bool = True


MODELS = (
    Model("faster_rcnn_inception_v2", "Faster R-CNN Inception V2", detection.detector("faster_rcnn_inception_v2")),
    Model("mask_rcnn_resnet101", "Mask R-CNN ResNet-101", detection.detector("mask_rcnn_resnet101", with_masks=True)),
    Model("nasnet_large", "NASNet-A large", classification.nasnet_large),
    Model("faster_rcnn_nas", "Faster R-CNN NASNet-A", detection.detector("faster_rcnn_nas"), usual=False),
)
