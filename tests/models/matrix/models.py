"""The table of detectors, and of all models: third-party code from pip, none of it changed."""

from typing import NamedTuple, Union

from tests.models.matrix.configs import Config, faster_rcnn, rfcn, ssd, ssd_fpn, ssd_pooled
from tests.models.matrix.nets import FIRST, NETS, SECOND, Net


class Detector(NamedTuple):
    """A model of the Object Detection API.

    Attributes:
        name, title: a short one and the one people know.
        config: its pipeline config.
        package: from which pip package the API comes.
    """

    name: str
    title: str
    config: Config
    package: str = FIRST


_SMALL = "depth_multiplier: 0.25 min_depth: 8"
# An extractor without an arg_scope of its own asks for that of the config.
_OWN = "override_base_feature_extractor_hyperparams: true"
_QUANTIZED = "quantization { delay: %d weight_bits: 8 activation_bits: 8 }"

# The first convolution of a ResNet, and where its branches begin and end. Drawn at random, with the statistics of batch
# norm that it starts with, features grow to hundreds, gradients with them, and boxes overflow and are NaN:
# the op that crops them for instance masks ends the process.
_BRANCHES = "conv[13]/BatchNorm/gamma$"
# A map of one pixel has no variance over a single image, by which quantization divides: the rest has more pixels.
_THREE_MAPS = ssd("ssd_mobilenet_v1", 128, layers=3)

# From small to large.
DETECTORS = (
    Detector(
        "ssd_mobilenet_v1_small",
        "SSD MobileNet V1 x0.25",
        Config(ssd("ssd_mobilenet_v1", 128, _SMALL), 128, averages=True),
    ),
    Detector("ssd_mobilenet_v1", "SSD MobileNet V1", Config(ssd("ssd_mobilenet_v1", 128), 128)),
    Detector(
        "ssd_mobilenet_v1_quantized",
        "SSD MobileNet V1, quantized from the start",
        Config(_THREE_MAPS, 128, rewriter=_QUANTIZED % 0),
    ),
    Detector(
        "ssd_mobilenet_v1_quantized_later",
        "SSD MobileNet V1, quantized from step 2",
        Config(_THREE_MAPS, 128, rewriter=_QUANTIZED % 2),
    ),
    Detector("ssd_mobilenet_v1_fpn", "SSD MobileNet V1 FPN", Config(ssd_fpn("ssd_mobilenet_v1_fpn", 128), 128)),
    Detector("ssd_mobilenet_v2", "SSD MobileNet V2", Config(ssd("ssd_mobilenet_v2", 128), 128)),
    Detector(
        "ssdlite_mobilenet_v2",
        "SSDLite MobileNet V2",
        Config(ssd("ssd_mobilenet_v2", 128, kernel=3, depthwise=True), 128, averages=True),
    ),
    Detector(
        "ssd_mobilenet_v2_fpnlite",
        "SSD MobileNet V2 FPN-lite",
        Config(ssd_fpn("ssd_mobilenet_v2_fpn", 128, depthwise=True), 128),
    ),
    Detector(
        "ssd_mobilenet_v3_small",
        "SSD MobileNet V3 small",
        Config(ssd("ssd_mobilenet_v3_small", 128, kernel=3, depthwise=True, layers=0), 128),
        SECOND,
    ),
    Detector(
        "ssd_mobilenet_v3_large",
        "SSD MobileNet V3 large",
        Config(ssd("ssd_mobilenet_v3_large", 128, kernel=3, depthwise=True, layers=0), 128),
        SECOND,
    ),
    Detector(
        "ssd_mobiledet_cpu",
        "SSD MobileDet for CPUs",
        Config(ssd("ssd_mobiledet_cpu", 128, kernel=3, depthwise=True, layers=0), 128),
        SECOND,
    ),
    Detector(
        "ssd_mnasfpn",
        "SSD MobileNet V2 MnasFPN",
        Config(ssd_fpn("ssd_mobilenet_v2_mnasfpn", 128, depth=48, depthwise=True, max_level=6), 128),
        SECOND,
    ),
    Detector(
        "ssd_mobilenet_v1_ppn", "SSD MobileNet V1 PPN", Config(ssd_pooled("ssd_mobilenet_v1_ppn", 128), 128), SECOND
    ),
    Detector("ssd_inception_v2", "SSD Inception V2", Config(ssd("ssd_inception_v2", 128, _OWN, kernel=3), 128)),
    Detector("ssd_inception_v3", "SSD Inception V3", Config(ssd("ssd_inception_v3", 128, _OWN, kernel=3), 128)),
    Detector("ssd_resnet50_fpn", "SSD ResNet-50 FPN", Config(ssd_fpn("ssd_resnet50_v1_fpn", 160), 160)),
    Detector("ssd_resnet101_fpn", "SSD ResNet-101 FPN", Config(ssd_fpn("ssd_resnet101_v1_fpn", 160), 160)),
    Detector("ssd_resnet152_fpn", "SSD ResNet-152 FPN", Config(ssd_fpn("ssd_resnet152_v1_fpn", 160), 160)),
    Detector("ssd_pnasnet", "SSD PNASNet", Config(ssd("ssd_pnasnet", 128, kernel=3), 128)),
    Detector(
        "faster_rcnn_inception_v2",
        "Faster R-CNN Inception V2",
        Config(faster_rcnn("faster_rcnn_inception_v2", 128, 14, 2), 128, averages=True),
    ),
    Detector(
        "faster_rcnn_resnet50", "Faster R-CNN ResNet-50", Config(faster_rcnn("faster_rcnn_resnet50", 128, 14, 2), 128)
    ),
    Detector(
        "faster_rcnn_resnet101",
        "Faster R-CNN ResNet-101",
        Config(faster_rcnn("faster_rcnn_resnet101", 128, 14, 2), 128),
    ),
    Detector(
        "faster_rcnn_resnet152",
        "Faster R-CNN ResNet-152",
        Config(faster_rcnn("faster_rcnn_resnet152", 128, 14, 2), 128),
    ),
    Detector("rfcn_resnet101", "R-FCN ResNet-101", Config(rfcn("faster_rcnn_resnet101", 128), 128)),
    Detector(
        "mask_rcnn_inception_v2",
        "Mask R-CNN Inception V2",
        Config(faster_rcnn("faster_rcnn_inception_v2", 128, 14, 2, masks=True), 128, with_masks=True),
    ),
    Detector(
        "mask_rcnn_resnet50_atrous",
        "Mask R-CNN ResNet-50, atrous",
        Config(faster_rcnn("faster_rcnn_resnet50", 128, 14, 2, 8, masks=True), 128, with_masks=True, calmed=_BRANCHES),
    ),
    Detector(
        "mask_rcnn_resnet101_atrous",
        "Mask R-CNN ResNet-101, atrous",
        Config(faster_rcnn("faster_rcnn_resnet101", 128, 14, 2, 8, masks=True), 128, with_masks=True, calmed=_BRANCHES),
    ),
    Detector(
        "faster_rcnn_inception_resnet_v2",
        "Faster R-CNN Inception-ResNet V2",
        Config(faster_rcnn("faster_rcnn_inception_resnet_v2", 128, 17, 1, 8), 128),
    ),
    Detector("faster_rcnn_nas", "Faster R-CNN NASNet-A", Config(faster_rcnn("faster_rcnn_nas", 128, 17, 1), 128)),
)


# It takes the first of a dict's keys by an index, which Python 3 refuses.
UNBUILDABLE = Detector(
    "ssd_mobilenet_v1_ppn_first", "SSD MobileNet V1 PPN", Config(ssd_pooled("ssd_mobilenet_v1_ppn", 128), 128)
)

Model = Union[Detector, Net]
MODELS = (*DETECTORS, *NETS)


def model_named(name: str) -> Model:
    """Returns the model of a name."""
    return next(model for model in (*MODELS, UNBUILDABLE) if model.name == name)
