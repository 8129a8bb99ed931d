"""The table of slim's nets: those of the packages named `nets`, and those that come with tf_slim."""

import importlib
from typing import Any, NamedTuple, Tuple

CLASSES = 5
WEIGHT_DECAY = 4e-5

FIRST, SECOND, TF_SLIM = "tf_object_detection", "123_object_detection", "tf_slim"


class Net(NamedTuple):
    """A net.

    Attributes:
        name, title: a short one and the one people know.
        function: its name in the factory of `nets`; for tf_slim its module and function, with a dot between.
        shape: of one image, or of one film.
        package: the pip package that it is from.
    """

    name: str
    title: str
    function: str
    shape: Tuple[int, ...]
    package: str = FIRST

    def logits(self, images: Any, is_training: bool) -> Any:
        """Builds the net as its package says; returns its logits."""
        if self.package != TF_SLIM:
            from nets import nets_factory

            return nets_factory.get_network_fn(self.function, CLASSES, WEIGHT_DECAY, is_training)(images)[0]
        import tf_slim

        module_name, _, function = self.function.partition(".")
        module = importlib.import_module(f"tf_slim.nets.{module_name}")
        scopes = {name: value for name, value in vars(module).items() if name.endswith("_arg_scope")}
        scopes.pop("add_arg_scope", None)
        (arg_scope,) = scopes.values()
        with tf_slim.arg_scope(arg_scope(weight_decay=WEIGHT_DECAY)):
            return getattr(module, function)(images, CLASSES, is_training=is_training)[0]


def _square(side: int) -> Tuple[int, ...]:
    return side, side, 3


# From small to large.
NETS = (
    Net("lenet", "LeNet", "lenet", _square(28)),
    Net("cifarnet", "CifarNet", "cifarnet", _square(32)),
    Net("mobilenet_v1", "MobileNet V1", "mobilenet_v1", _square(64)),
    Net("mobilenet_v2", "MobileNet V2", "mobilenet_v2", _square(64)),
    Net("mobilenet_v3_small", "MobileNet V3 small", "mobilenet_v3_small", _square(64), SECOND),
    Net("mobilenet_v3_large", "MobileNet V3 large", "mobilenet_v3_large", _square(64), SECOND),
    Net("alexnet_v2", "AlexNet V2", "alexnet_v2", _square(224)),
    Net("alexnet_v2_tf_slim", "AlexNet V2", "alexnet.alexnet_v2", _square(224), TF_SLIM),
    Net("inception_v1", "Inception V1", "inception_v1", _square(224)),
    Net("inception_v1_tf_slim", "Inception V1", "inception_v1.inception_v1", _square(224), TF_SLIM),
    Net("inception_v2", "Inception V2", "inception_v2", _square(96)),
    Net("inception_v2_tf_slim", "Inception V2", "inception_v2.inception_v2", _square(96), TF_SLIM),
    Net("inception_v3", "Inception V3", "inception_v3", _square(160)),
    Net("inception_v3_tf_slim", "Inception V3", "inception_v3.inception_v3", _square(160), TF_SLIM),
    Net("inception_v4", "Inception V4", "inception_v4", _square(160)),
    Net("inception_resnet_v2", "Inception-ResNet V2", "inception_resnet_v2", _square(160)),
    Net("resnet_v1_50", "ResNet V1 50", "resnet_v1_50", _square(64)),
    Net("resnet_v1_101", "ResNet V1 101", "resnet_v1_101", _square(64)),
    Net("resnet_v1_50_tf_slim", "ResNet V1 50", "resnet_v1.resnet_v1_50", _square(64), TF_SLIM),
    Net("resnet_v2_50", "ResNet V2 50", "resnet_v2_50", _square(64)),
    Net("resnet_v2_152", "ResNet V2 152", "resnet_v2_152", _square(64)),
    Net("resnet_v2_50_tf_slim", "ResNet V2 50", "resnet_v2.resnet_v2_50", _square(64), TF_SLIM),
    Net("s3dg", "S3D-G", "s3dg", (16, 96, 96, 3)),
    Net("nasnet_cifar", "NASNet-A cifar", "nasnet_cifar", _square(32)),
    Net("nasnet_mobile", "NASNet-A mobile", "nasnet_mobile", _square(96)),
    Net("pnasnet_mobile", "PNASNet-5 mobile", "pnasnet_mobile", _square(96)),
    Net("vgg_16", "VGG 16", "vgg_16", _square(224)),
    Net("vgg_a_tf_slim", "VGG A", "vgg.vgg_a", _square(224), TF_SLIM),
)
