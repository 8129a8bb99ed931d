"""Pipeline configs of the Object Detection API, made from a few pieces: three classes, one small image at a time."""

from pathlib import Path
from typing import NamedTuple

CLASSES = 3


class Config(NamedTuple):
    """A pipeline config.

    Attributes:
        model: text of its `model` message.
        side: height and width of its images, pixels.
        with_masks: it learns instance masks.
        averages: it trains with moving averages, evaluates and exports them.
        rewriter: text of its graph rewriter; empty for none.
        calmed: pattern of the names of variables that start at a tenth of what they would; empty for none.
    """

    model: str
    side: int
    with_masks: bool = False
    averages: bool = False
    rewriter: str = ""
    calmed: str = ""

    def text(self, train: Path, held_out: Path, label_map: Path) -> str:
        """Returns the whole config, with the records to train on and to evaluate, and their label map."""
        return _PIPELINE.format(
            model=self.model,
            averages="true" if self.averages else "false",
            masks="load_instance_masks: true mask_type: PNG_MASKS" if self.with_masks else "",
            train=train,
            held_out=held_out,
            label_map=label_map,
            rewriter=f"graph_rewriter {{ {self.rewriter} }}" if self.rewriter else "",
        )


_PIPELINE = """
model {{ {model} }}
{rewriter}
train_config {{
  batch_size: 1
  optimizer {{
    momentum_optimizer {{
      learning_rate {{ constant_learning_rate {{ learning_rate: 0.001 }} }}
      momentum_optimizer_value: 0.9
    }}
    use_moving_average: {averages}
    moving_average_decay: 0.5
  }}
  gradient_clipping_by_norm: 10.0
  max_number_of_boxes: 8
  unpad_groundtruth_tensors: true
}}
train_input_reader {{
  label_map_path: "{label_map}"
  shuffle: false
  max_number_of_boxes: 8
  {masks}
  tf_record_input_reader {{ input_path: "{train}" }}
}}
eval_config {{
  metrics_set: "coco_detection_metrics"
  use_moving_averages: {averages}
}}
eval_input_reader {{
  label_map_path: "{label_map}"
  shuffle: false
  num_epochs: 1
  max_number_of_boxes: 8
  {masks}
  tf_record_input_reader {{ input_path: "{held_out}" }}
}}
"""

_HYPERPARAMS = """
conv_hyperparams {
  activation: RELU_6
  regularizer { l2_regularizer { weight: 0.00004 } }
  initializer { truncated_normal_initializer { stddev: 0.03 } }
  batch_norm { decay: 0.97 epsilon: 0.001 scale: true }
}
"""
_RESIZER = "image_resizer {{ fixed_shape_resizer {{ height: {side} width: {side} }} }}"

# By the name of a predictor: its text, the loss of the classes, and what makes scores of it.
_SOFTMAX = ("weighted_softmax { }", "SOFTMAX")
_FOCAL = ("weighted_sigmoid_focal { alpha: 0.25 gamma: 2.0 }", "SIGMOID")
_CONVOLUTIONAL = f"convolutional_box_predictor {{ kernel_size: %d use_depthwise: %s {_HYPERPARAMS} }}"
_SHARED = f"""
weight_shared_convolutional_box_predictor {{
  depth: %d num_layers_before_predictor: 2 kernel_size: 3 class_prediction_bias_init: -4.6
  share_prediction_tower: true use_depthwise: %s {_HYPERPARAMS}
}}
"""
_SSD_ANCHORS = """
ssd_anchor_generator { num_layers: %d aspect_ratios: [1.0, 2.0, 0.5] reduce_boxes_in_lowest_layer: false }
"""


def ssd(extractor: str, side: int, options: str = "", kernel: int = 1, depthwise: bool = False, layers: int = 6) -> str:
    """An SSD with a predictor of its own for each feature map.

    Args:
        extractor: the API's name of the feature extractor.
        side: of its images, pixels.
        options: more text for the feature extractor.
        kernel: side of the predictors' kernels.
        depthwise: predictors, and the layers that the API adds to the backbone, are separable.
        layers: number of feature maps; 0 for an extractor that takes none, and makes 6.
    """
    flag = "true" if depthwise else "false"
    predictor = _CONVOLUTIONAL % (kernel, flag)
    number = f"num_layers: {layers}" if layers else ""
    options = f"use_depthwise: {flag} {number} {options}"
    return _ssd(extractor, side, options, predictor, _SSD_ANCHORS % (layers or 6), _SOFTMAX)


def ssd_fpn(
    extractor: str, side: int, options: str = "", depth: int = 64, depthwise: bool = False, max_level: int = 7
) -> str:
    """An SSD with a feature pyramid, whose levels share one predictor.

    Args:
        extractor, side, options, depthwise: as for `ssd`.
        depth: channels of the pyramid and of the predictor.
        max_level: the coarsest level; the finest is 3.
    """
    flag = "true" if depthwise else "false"
    anchors = f"multiscale_anchor_generator {{ min_level: 3 max_level: {max_level} aspect_ratios: [1.0, 2.0, 0.5] }}"
    pyramid = f"fpn {{ min_level: 3 max_level: {max_level} additional_layer_depth: {depth} }} use_depthwise: {flag}"
    return _ssd(extractor, side, f"{pyramid} {options}", _SHARED % (depth, flag), anchors, _FOCAL)


def ssd_pooled(extractor: str, side: int) -> str:
    """An SSD with a pyramid of pooled feature maps, whose levels share one predictor."""
    return _ssd(extractor, side, "", _SHARED % (64, "false"), _SSD_ANCHORS % 6, _FOCAL)


def _ssd(extractor, side, options, predictor, anchors, loss_and_scores) -> str:
    loss, scores = loss_and_scores
    return f"""
ssd {{
  num_classes: {CLASSES}
  {_RESIZER.format(side=side)}
  feature_extractor {{ type: "{extractor}" {_HYPERPARAMS} {options} }}
  box_coder {{ faster_rcnn_box_coder {{ }} }}
  matcher {{ argmax_matcher {{ force_match_for_each_row: true }} }}
  similarity_calculator {{ iou_similarity {{ }} }}
  anchor_generator {{ {anchors} }}
  box_predictor {{ {predictor} }}
  loss {{
    classification_loss {{ {loss} }}
    localization_loss {{ weighted_smooth_l1 {{ }} }}
    classification_weight: 1.0
    localization_weight: 1.0
  }}
  normalize_loss_by_num_matches: true
  post_processing {{
    batch_non_max_suppression {{ score_threshold: 0.001 max_detections_per_class: 10 max_total_detections: 20 }}
    score_converter: {scores}
  }}
}}
"""


_FIRST_STAGE = """
  first_stage_anchor_generator {{
    grid_anchor_generator {{
      scales: [0.25, 0.5, 1.0] aspect_ratios: [0.5, 1.0, 2.0] height_stride: {stride} width_stride: {stride}
    }}
  }}
  first_stage_box_predictor_conv_hyperparams {{
    regularizer {{ l2_regularizer {{ weight: 0.0001 }} }}
    initializer {{ truncated_normal_initializer {{ stddev: 0.01 }} }}
  }}
  first_stage_nms_iou_threshold: 0.7
  first_stage_max_proposals: 32
"""
_LAYER = """
%s_hyperparams {
  op: %s
  regularizer { l2_regularizer { weight: 0.0001 } }
  initializer { variance_scaling_initializer { uniform: true mode: FAN_AVG } }
}
"""
_BOXES = f"mask_rcnn_box_predictor {{ {_LAYER % ('fc', 'FC')} %s }}"
_MASKS = f"{_LAYER % ('conv', 'CONV')} predict_instance_masks: true mask_prediction_conv_depth: 64"


def faster_rcnn(extractor: str, side: int, crop: int, pool: int, stride: int = 16, masks: bool = False) -> str:
    """A detector of two stages, or Mask R-CNN, a third for instance masks.

    Args:
        extractor: the API's name of the feature extractor.
        side: of its images, pixels.
        crop: side of what is cropped for a proposal, before pooling.
        pool: side and stride of that pooling.
        stride: of the features; 8 needs atrous convolutions.
        masks: whether it is Mask R-CNN.
    """
    stages = "number_of_stages: 3" if masks else ""
    predictor = _BOXES % (_MASKS if masks else "")
    return _two_stages(extractor, side, f"{stages} {_crop(crop, pool)}", predictor, stride)


def rfcn(extractor: str, side: int) -> str:
    """R-FCN: position-sensitive score maps in the place of a second stage per proposal."""
    predictor = f"rfcn_box_predictor {{ {_LAYER % ('conv', 'CONV')} depth: 128 crop_height: 18 crop_width: 18 }}"
    return _two_stages(extractor, side, _crop(14, 1), predictor, 16)


def _crop(crop: int, pool: int) -> str:
    return f"initial_crop_size: {crop} maxpool_kernel_size: {pool} maxpool_stride: {pool}"


def _two_stages(extractor: str, side: int, options: str, predictor: str, stride: int) -> str:
    atrous = "first_stage_atrous_rate: 2" if stride == 8 else ""
    return f"""
faster_rcnn {{
  num_classes: {CLASSES}
  {_RESIZER.format(side=side)}
  feature_extractor {{ type: "{extractor}" first_stage_features_stride: {stride} }}
  {_FIRST_STAGE.format(stride=stride)}
  {atrous}
  {options}
  second_stage_batch_size: 16
  second_stage_box_predictor {{ {predictor} }}
  second_stage_post_processing {{
    batch_non_max_suppression {{ iou_threshold: 0.6 max_detections_per_class: 10 max_total_detections: 10 }}
    score_converter: SOFTMAX
  }}
}}
"""
