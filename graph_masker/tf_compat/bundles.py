"""The records of a checkpoint's index (tensorflow/core/protobuf/tensor_bundle.proto)."""

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

__all__ = ["BundleEntryProto", "BundleHeaderProto", "DecodeError"]
