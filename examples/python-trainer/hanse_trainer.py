"""Trainer protocol 1 (docs/trainer-protocol.md) with nothing but the standard library.

    import hanse_trainer as hanse
    hanse.init()
    while (task := hanse.receive()) is not None:
        hanse.send(metrics={"loss": 0.5})

An array is an `Array(dtype, shape, data)`: data is a memoryview of the raw little-endian elements. With NumPy:
`numpy.frombuffer(array.data, array.dtype).reshape(array.shape)`, and `Array.of(ndarray)` for the way back.
"""

import json
import os
import struct
from dataclasses import dataclass

MAGIC = b"HTP1"
ALIGNMENT = 64
MAX_HEADER_BYTES = 16 * 1024**2
MAX_BODY_BYTES = 8 * 1024**3
ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2,
    "int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8,
    "complex128": 16,
}  # fmt: skip


@dataclass
class Array:
    dtype: str
    shape: tuple
    data: memoryview

    @staticmethod
    def of(ndarray):
        contiguous = ndarray.astype(ndarray.dtype.newbyteorder("<"), order="C", copy=False)
        return Array(str(ndarray.dtype), ndarray.shape, memoryview(contiguous).cast("B"))


class ProtocolError(Exception):
    pass


_pipe = None
_task = None
welcome = None


def init():
    """Connects to the site that started this program. Returns what it says; also in `welcome`."""
    global _pipe, welcome
    fd = int(os.environ["HANSE_TRAINER_PIPE"])
    _pipe = (open(fd, "rb", closefd=False), open(fd, "wb", closefd=False))
    _write({"type": "hello", "protocols": [1], "client": "hanse-python"})
    welcome, _ = _read()
    return welcome


def receive():
    """Waits for the next task, a dict with `name` and `model`; None when there are no more."""
    global _task
    header, arrays = _read()
    if header["type"] != "task":
        return None
    _task = {**header, "model": _from_wire(header["model"], arrays)}
    return _task


def send(params=None, metrics=None, meta=None, params_type="FULL"):
    """Answers the task. `params` is a dict of Arrays, `metrics` a dict of numbers."""
    arrays = []
    model = {"metrics": metrics, "meta": meta}
    if params is not None:
        model.update(params=params, paramsType=params_type)
    present = {key: _to_wire(value, arrays) for key, value in model.items() if value is not None}
    _write({"type": "result", "id": _task["id"], "model": present}, arrays)


def log(key, value, step=None):
    """Reports a number."""
    header = {"type": "log", "key": key, "value": _to_wire(value, [])}
    _write(header if step is None else {**header, "step": step})


def _read():
    prefix = _read_exactly(16)
    if prefix[:4] != MAGIC:
        raise ProtocolError("the pipe carries something else than trainer protocol 1")
    header_bytes, body_bytes = struct.unpack("<IQ", prefix[4:])
    if header_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ProtocolError("a frame is over the limit")
    header = json.loads(bytes(_read_exactly(header_bytes)))
    body = _read_exactly(body_bytes)
    arrays, end = [], 0
    for described in header.get("arrays", []):
        start = -(-end // ALIGNMENT) * ALIGNMENT
        count = 1
        for size in described["shape"]:
            count *= size
        end = start + count * ITEM_BYTES[described["dtype"]]
        arrays.append(Array(described["dtype"], tuple(described["shape"]), body[start:end]))
    if end != body_bytes:
        raise ProtocolError("the arrays do not fill the body")
    return header, arrays


def _read_exactly(count):
    buffer = memoryview(bytearray(count))
    filled = 0
    while filled < count:
        got = _pipe[0].readinto(buffer[filled:])
        if not got:
            raise SystemExit("the site is gone")
        filled += got
    return buffer


def _write(header, arrays=()):
    if arrays:
        header = {
            **header,
            "arrays": [{"dtype": array.dtype, "shape": list(array.shape)} for array in arrays],
        }
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-(16 + len(text)) % ALIGNMENT)
    parts, body_bytes = [], 0
    for array in arrays:
        gap = -body_bytes % ALIGNMENT
        parts += [bytes(gap), array.data]
        body_bytes += gap + len(array.data)
    _pipe[1].write(MAGIC + struct.pack("<IQ", len(text), body_bytes) + text)
    for part in parts:
        _pipe[1].write(part)
    _pipe[1].flush()


def _to_wire(value, arrays):
    if isinstance(value, Array):
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if isinstance(value, dict):
        return {
            ("$" + key if key.startswith("$") else key): _to_wire(item, arrays)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_to_wire(item, arrays) for item in value]
    if isinstance(value, int) and abs(value) >= 2**53:
        return {"$int": str(value)}
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return {"$number": {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]}
    return value


def _from_wire(value, arrays):
    if isinstance(value, list):
        return [_from_wire(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key == "$array":
            return arrays[item]
        if key == "$number":
            return float(item)
        if key == "$int":
            return int(item)
    return {
        (key[1:] if key.startswith("$") else key): _from_wire(item, arrays)
        for key, item in value.items()
    }
