import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelMapSize(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT: _ClassVar[LabelMapSize]
    MODEL: _ClassVar[LabelMapSize]
INPUT: LabelMapSize
MODEL: LabelMapSize

class RawImage(_message.Message):
    __slots__ = ("height", "width", "rgb")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    rgb: bytes
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., rgb: _Optional[bytes] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("encoded", "raw")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    raw: RawImage
    def __init__(self, encoded: _Optional[bytes] = ..., raw: _Optional[_Union[RawImage, _Mapping]] = ...) -> None: ...

class LabelMap(_message.Message):
    __slots__ = ("height", "width", "train_ids")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    TRAIN_IDS_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    train_ids: bytes
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., train_ids: _Optional[bytes] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("decode", "queue", "infer")
    DECODE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    decode: float
    queue: float
    infer: float
    def __init__(self, decode: _Optional[float] = ..., queue: _Optional[float] = ..., infer: _Optional[float] = ...) -> None: ...

class Include(_message.Message):
    __slots__ = ("confidence", "entropy", "shares")
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    confidence: bool
    entropy: bool
    shares: bool
    def __init__(self, confidence: _Optional[bool] = ..., entropy: _Optional[bool] = ..., shares: _Optional[bool] = ...) -> None: ...

class Extras(_message.Message):
    __slots__ = ("confidence", "entropy", "shares")
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    confidence: bytes
    entropy: bytes
    shares: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, confidence: _Optional[bytes] = ..., entropy: _Optional[bytes] = ..., shares: _Optional[_Iterable[float]] = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("image", "size", "include")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    size: LabelMapSize
    include: Include
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., size: _Optional[_Union[LabelMapSize, str]] = ..., include: _Optional[_Union[Include, _Mapping]] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("label_map", "timings", "model_version", "extras")
    LABEL_MAP_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    label_map: LabelMap
    timings: Timings
    model_version: str
    extras: Extras
    def __init__(self, label_map: _Optional[_Union[LabelMap, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., model_version: _Optional[str] = ..., extras: _Optional[_Union[Extras, _Mapping]] = ...) -> None: ...

class StreamSegmentRequest(_message.Message):
    __slots__ = ("frame_id", "capture_time", "max_age", "queue_policy", "image", "size", "include")
    class QueuePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LATEST_ONLY: _ClassVar[StreamSegmentRequest.QueuePolicy]
        ALL: _ClassVar[StreamSegmentRequest.QueuePolicy]
    LATEST_ONLY: StreamSegmentRequest.QueuePolicy
    ALL: StreamSegmentRequest.QueuePolicy
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POLICY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    capture_time: _timestamp_pb2.Timestamp
    max_age: _duration_pb2.Duration
    queue_policy: StreamSegmentRequest.QueuePolicy
    image: Image
    size: LabelMapSize
    include: Include
    def __init__(self, frame_id: _Optional[int] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue_policy: _Optional[_Union[StreamSegmentRequest.QueuePolicy, str]] = ..., image: _Optional[_Union[Image, _Mapping]] = ..., size: _Optional[_Union[LabelMapSize, str]] = ..., include: _Optional[_Union[Include, _Mapping]] = ...) -> None: ...

class StreamSegmentResponse(_message.Message):
    __slots__ = ("result", "dropped")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    result: FrameResult
    dropped: DroppedFrame
    def __init__(self, result: _Optional[_Union[FrameResult, _Mapping]] = ..., dropped: _Optional[_Union[DroppedFrame, _Mapping]] = ...) -> None: ...

class FrameResult(_message.Message):
    __slots__ = ("frame_id", "label_map", "timings", "model_version", "capture_time", "extras")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_MAP_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    label_map: LabelMap
    timings: Timings
    model_version: str
    capture_time: _timestamp_pb2.Timestamp
    extras: Extras
    def __init__(self, frame_id: _Optional[int] = ..., label_map: _Optional[_Union[LabelMap, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., model_version: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., extras: _Optional[_Union[Extras, _Mapping]] = ...) -> None: ...

class DroppedFrame(_message.Message):
    __slots__ = ("frame_id", "reason", "detail")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[DroppedFrame.Reason]
        SUPERSEDED: _ClassVar[DroppedFrame.Reason]
        EXPIRED: _ClassVar[DroppedFrame.Reason]
        BUSY: _ClassVar[DroppedFrame.Reason]
        INVALID: _ClassVar[DroppedFrame.Reason]
        INTERNAL: _ClassVar[DroppedFrame.Reason]
    UNSPECIFIED: DroppedFrame.Reason
    SUPERSEDED: DroppedFrame.Reason
    EXPIRED: DroppedFrame.Reason
    BUSY: DroppedFrame.Reason
    INVALID: DroppedFrame.Reason
    INTERNAL: DroppedFrame.Reason
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    reason: DroppedFrame.Reason
    detail: str
    def __init__(self, frame_id: _Optional[int] = ..., reason: _Optional[_Union[DroppedFrame.Reason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class GetLabelInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LabelClass(_message.Message):
    __slots__ = ("train_id", "name", "rgb", "label_id")
    TRAIN_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    train_id: int
    name: str
    rgb: int
    label_id: int
    def __init__(self, train_id: _Optional[int] = ..., name: _Optional[str] = ..., rgb: _Optional[int] = ..., label_id: _Optional[int] = ...) -> None: ...

class GetLabelInfoResponse(_message.Message):
    __slots__ = ("label_set", "classes", "ignore_id", "model_name", "model_version")
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    label_set: str
    classes: _containers.RepeatedCompositeFieldContainer[LabelClass]
    ignore_id: int
    model_name: str
    model_version: str
    def __init__(self, label_set: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[LabelClass, _Mapping]]] = ..., ignore_id: _Optional[int] = ..., model_name: _Optional[str] = ..., model_version: _Optional[str] = ...) -> None: ...
