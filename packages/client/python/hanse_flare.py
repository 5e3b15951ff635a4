"""Runs a Python script of a job at a Hanse site, so that FLARE's Client API in it has its connection.

    python3 hanse_flare.py [--in-scratch] custom/train.py ARGUMENT...

The script runs unchanged, as `__main__`. When it imports `nvflare.client`, this module hands it an API object that
speaks trainer protocol 2 (docs/trainer-protocol.md) over the pipe the site left open. The object is FLARE's own
in-process API: formats, differences and the order of calls are FLARE's; only where tasks come from and results go to
is ours. It needs no network, no file and no token. A script without `nvflare` runs as it would by itself.
"""

import importlib.machinery
import json
import math
import os
import runpy
import select
import struct
import sys
import threading

MAGIC = b"HTP1"
ALIGNMENT = 64
PROTOCOL = 2
MAX_DEPTH = 32
DTYPES = frozenset(
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    + ["float16", "float32", "float64", "complex64", "complex128"]
)
HOOKED = "nvflare.client.api_context"
VERSION = "2.9."


class Pipe:
    """Frames to and from the site. Arrays are read into one buffer and written from where they are."""

    def __init__(self, fd):
        import numpy

        self._numpy = numpy
        self._fd = fd
        self._writing = threading.Lock()
        os.set_inheritable(fd, False)

    def read(self, timeout=None):
        """The next header and its arrays; `None` when nothing began within `timeout` seconds."""
        if timeout is not None and not select.select([self._fd], [], [], max(0, timeout))[0]:
            return None
        prefix = self._read_exactly(16).tobytes()
        if prefix[:4] != MAGIC:
            raise RuntimeError("the pipe carries something else than Hanse's trainer protocol")
        header_bytes, body_bytes = struct.unpack("<IQ", prefix[4:])
        header = json.loads(self._read_exactly(header_bytes).tobytes())
        body = self._read_exactly(body_bytes)
        arrays, end = [], 0
        for description in header.get("arrays", []):
            start = -(-end // ALIGNMENT) * ALIGNMENT
            dtype, shape = description["dtype"], description["shape"]
            item_bytes = 2 if dtype == "bfloat16" else self._numpy.dtype(dtype).itemsize
            end = start + math.prod(shape) * item_bytes
            arrays.append(self._view(body[start:end], dtype, shape))
        return header, arrays

    def write(self, header, arrays=()):
        """`arrays` are (dtype, contiguous array) pairs."""
        if arrays:
            described = [{"dtype": dtype, "shape": list(array.shape)} for dtype, array in arrays]
            header = {**header, "arrays": described}
        text = json.dumps(header, allow_nan=False).encode()
        text += b" " * (-(16 + len(text)) % ALIGNMENT)
        parts, body_bytes = [], 0
        for _, array in arrays:
            gap = -body_bytes % ALIGNMENT
            parts += [bytes(gap), array.reshape(-1).view(self._numpy.uint8)]
            body_bytes += gap + array.nbytes
        with self._writing:
            for part in (MAGIC + struct.pack("<IQ", len(text), body_bytes) + text, *parts):
                view = memoryview(part)
                while view.nbytes > 0:
                    view = view[os.write(self._fd, view) :]

    def _read_exactly(self, count):
        buffer = self._numpy.empty(count, self._numpy.uint8)
        view, filled = memoryview(buffer), 0
        while filled < count:
            got = os.readv(self._fd, [view[filled:]])
            if got == 0:
                raise SystemExit("the site is gone")
            filled += got
        return buffer

    def _view(self, data, dtype, shape):
        if dtype != "bfloat16":
            return data.view(self._numpy.dtype(dtype).newbyteorder("<")).reshape(shape)
        import torch  # NumPy has no such type

        return torch.from_numpy(data.view("<i2").reshape(shape)).view(torch.bfloat16)


class Encoder:
    """Values as JSON; arrays are collected (docs/trainer-protocol.md, section 3)."""

    def __init__(self):
        import numpy

        self._numpy = numpy
        self.arrays = []

    def encode(self, value, depth=0):
        """Raises TypeError for what the protocol cannot carry."""
        if depth > MAX_DEPTH:
            raise TypeError(f"it nests deeper than {MAX_DEPTH}")
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < 2**53 else {"$int": str(int(value))}
        if isinstance(value, float) and not isinstance(value, self._numpy.generic):
            return value if math.isfinite(value) else {"$number": _non_finite(value)}
        if isinstance(value, dict):
            return {self._key(key): self.encode(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.encode(item, depth + 1) for item in value]
        if isinstance(value, (bytes, bytearray)):
            value = self._numpy.frombuffer(value, self._numpy.uint8)
        return self._array(value)

    def _key(self, key):
        if not isinstance(key, str):
            raise TypeError(f"it has a key of type {type(key).__name__}")
        return "$" + key if key.startswith("$") else key

    def _array(self, value):
        numpy = self._numpy
        label = None
        if hasattr(value, "detach"):  # PyTorch
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":
                import torch

                label, value = "bfloat16", value.contiguous().view(torch.int16)
            value = value.numpy()
        elif not hasattr(value, "__array__"):
            raise TypeError(f"a {type(value).__name__} has no form outside Python")
        array = numpy.asarray(value)
        if array.dtype.name not in DTYPES:
            raise TypeError(f"arrays of {array.dtype} have no form outside Python")
        shape = array.shape
        array = numpy.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(shape)
        self.arrays.append((label or array.dtype.name, array))
        return {"$array": len(self.arrays) - 1}


def _non_finite(value):
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def decode(value, arrays):
    """The reverse of `Encoder.encode`."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
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
        key[1:] if key.startswith("$") else key: decode(item, arrays) for key, item in value.items()
    }


def number_of(value):
    """A metric as a float or int; `None` for anything that is not one number."""
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        number = value.item() if hasattr(value, "item") else value
        return number if type(number) is int else float(number)
    except (TypeError, ValueError, RuntimeError):
        return None


def notice(text):
    print(f"hanse: {text}", file=sys.stderr)


def make_api(fd):
    """FLARE's in-process API with the pipe `fd` in place of FLARE's own ends."""
    import nvflare
    from nvflare.apis.analytix import AnalyticsDataType
    from nvflare.apis.fl_constant import FLMetaKey
    from nvflare.app_common.abstract.fl_model import FLModel, MetaKey, ParamsType
    from nvflare.app_common.utils.fl_model_utils import FLModelUtils
    from nvflare.client.config import ConfigKey, ExchangeFormat
    from nvflare.client.converter_utils import convert_params
    from nvflare.client.in_process import api as in_process

    if not nvflare.__version__.startswith(VERSION):
        notice(f"written for nvflare {VERSION}*, this is {nvflare.__version__}; it may not work")
    single = (AnalyticsDataType.SCALAR, AnalyticsDataType.METRIC)
    several = (AnalyticsDataType.SCALARS, AnalyticsDataType.METRICS)

    class PipeEvents:
        """Stands where the API expects FLARE's events."""

        def __init__(self, api):
            self._handlers = {
                in_process.TOPIC_LOCAL_RESULT: api.answer,
                in_process.TOPIC_LOG_DATA: api.report,
            }

        def fire_event(self, name, data=None):
            handler = self._handlers.get(name)
            if handler is not None:
                handler(data)

    class HanseClientAPI(in_process.InProcessClientAPI):
        def __init__(self):
            super().__init__(task_metadata={})
            self.event_manager = PipeEvents(self)
            self._reading = threading.Lock()
            self._pipe = None
            self._task_id = None
            self._welcome = None
            self._noticed = set()

        def init(self, rank=None, config=None):
            if self._pipe is None:
                self._connect()
            super().init(rank=rank, config=config)

        def receive(self, timeout=None):
            self._wait_for_task(timeout)
            return super().receive(timeout=0)

        def is_running(self):
            self._wait_for_task()
            return super().is_running()

        def answer(self, shareable):
            if self._task_id is None:
                notice("a second result for the same task was dropped")
                return
            model = FLModelUtils.from_shareable(shareable)
            encoder = Encoder()
            # FLARE keeps metrics that come with params there; they travel as metrics.
            meta = {key: value for key, value in model.meta.items() if key != MetaKey.INITIAL_METRICS}
            wire = {"meta": self._meta(meta, encoder)}
            if model.params is not None:
                wire["params"] = self._params(model.params, encoder)
                wire["paramsType"] = ParamsType(model.params_type).value
            if model.metrics is not None:
                wire["metrics"] = self._metrics(model.metrics, encoder)
            message = {"type": "result", "id": self._task_id, "model": wire}
            self._task_id = None
            self._pipe.write(message, encoder.arrays)

        def report(self, data):
            kind = data["data_type"]
            if kind in single:
                values = {data["key"]: data["value"]}
            elif kind in several:
                # A group of scalars has a name; a batch of metrics is only a batch.
                prefix = f"{data['key']}/" if kind == AnalyticsDataType.SCALARS else ""
                values = {f"{prefix}{key}": value for key, value in data["value"].items()}
            else:
                self._notice_once(f"records of kind {kind} stay here: only numbers leave a site")
                return
            step = data.get("global_step")
            for key, value in values.items():
                number = number_of(value)
                if number is None:
                    self._notice_once(f"{key!r} stays here: it is a {type(value).__name__}, no number")
                    continue
                message = {"type": "log", "key": key, "value": Encoder().encode(float(number))}
                if isinstance(step, int) and step >= 0:
                    message["step"] = int(step)
                self._pipe.write(message)

        def _connect(self):
            self._pipe = Pipe(fd)
            self._pipe.write({"type": "hello", "protocols": [PROTOCOL], "client": "hanse-flare"})
            self._welcome, _ = self._pipe.read()
            if self._welcome["type"] != "welcome":
                raise SystemExit("the site ended the session before it began")
            settings = self._welcome["clientApi"]
            self._server_format = settings["serverFormat"]
            self._exchange_format = settings["exchangeFormat"]
            self.set_meta(self._task_meta(None))
            self.configure_memory_management(settings["memoryGcRounds"], settings["cudaEmptyCache"])

        def _task_meta(self, task_name):
            welcome = self._welcome
            names = welcome["taskNames"]
            return {
                FLMetaKey.SITE_NAME: welcome["siteName"],
                FLMetaKey.JOB_ID: welcome["jobId"],
                ConfigKey.TASK_NAME: task_name,
                ConfigKey.TASK_EXCHANGE: {
                    ConfigKey.TRAIN_WITH_EVAL: welcome["trainWithEvaluation"],
                    ConfigKey.EXCHANGE_FORMAT: self._exchange_format,
                    ConfigKey.SERVER_EXPECTED_FORMAT: self._server_format,
                    ConfigKey.TRANSFER_TYPE: welcome["transferType"],
                    ConfigKey.TRAIN_TASK_NAME: names["train"],
                    ConfigKey.EVAL_TASK_NAME: names["evaluate"],
                    ConfigKey.SUBMIT_MODEL_TASK_NAME: names["submitModel"],
                },
                "datasets": welcome["datasets"],
                "scratch_directory": welcome["scratchDirectory"],
            }

        def _wait_for_task(self, timeout=None):
            with self._reading:
                has_task = self.fl_model is not None and self._task_id is not None
                if has_task or self.stop or self.abort or self.closed:
                    return
                message = self._pipe.read(timeout)
                if message is None:
                    return
                header, arrays = message
                if header["type"] == "task":
                    self._begin(header, arrays)
                elif header["type"] == "abort":
                    self.abort, self.abort_reason = True, header["reason"]
                elif header["type"] == "end":
                    self.stop, self.stop_reason = True, "the job has no more tasks"

        def _begin(self, header, arrays):
            wire = decode(header["model"], arrays)
            params, params_type = wire.get("params"), wire.get("paramsType")
            if params is not None and self._server_format == ExchangeFormat.PYTORCH:
                params = {name: _as_tensor(value) for name, value in params.items()}
            params = convert_params(
                params,
                self._server_format,
                self._exchange_format,
                self._params_conversion_state,
                self.logger,
            )
            self.set_meta(self._task_meta(header["name"]))
            self._task_id = header["id"]
            self.fl_model = FLModel(
                params_type=None if params_type is None else ParamsType(params_type),
                params=params,
                metrics=wire.get("metrics"),
                start_round=wire.get("startRound"),
                current_round=wire.get("currentRound"),
                total_rounds=wire.get("totalRounds"),
                meta={
                    **wire.get("meta", {}),
                    FLMetaKey.JOB_ID: self._welcome["jobId"],
                    FLMetaKey.SITE_NAME: self._welcome["siteName"],
                },
            )

        def _params(self, params, encoder):
            if not isinstance(params, dict):
                raise TypeError(f"params must be a dict at a Hanse site, not {type(params).__name__}")
            try:
                return encoder.encode(params)
            except TypeError as error:
                raise TypeError(f"these params cannot be sent from a Hanse site: {error}") from None

        def _metrics(self, metrics, encoder):
            numbers = {str(key): number_of(value) for key, value in metrics.items()}
            dropped = [key for key, value in numbers.items() if value is None]
            if dropped:
                self._notice_once(f"these metrics stay here, as they are no numbers: {dropped}")
            return encoder.encode({key: value for key, value in numbers.items() if value is not None})

        def _meta(self, meta, encoder):
            sent = {}
            for key, value in meta.items():
                value = value.item() if isinstance(value, encoder._numpy.generic) else value
                try:
                    sent.update(encoder.encode({key: value}))
                except TypeError as error:
                    self._notice_once(f"meta {key!r} stays here: {error}")
            return sent

        def _notice_once(self, text):
            if text not in self._noticed:
                self._noticed.add(text)
                notice(text)

    return HanseClientAPI()


def _as_tensor(value):
    import torch

    return torch.as_tensor(value) if hasattr(value, "__array__") else value


class Hook:
    """Finds FLARE's Client API for the import, and gives it the API object once it is there."""

    def __init__(self, fd):
        self._fd = fd

    def find_spec(self, name, path=None, target=None):
        if name != HOOKED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_connect(module):
            execute(module)
            module.data_bus.put_data(module.CLIENT_API_KEY, make_api(self._fd))

        spec.loader.exec_module = execute_and_connect
        return spec


def main(arguments):
    in_scratch = arguments[:1] == ["--in-scratch"]
    script, *rest = arguments[1:] if in_scratch else arguments
    script = os.path.abspath(script)
    custom = os.path.abspath("custom")
    own = os.path.dirname(os.path.abspath(__file__))
    folders = [os.path.dirname(script), custom]
    sys.path[:] = [*dict.fromkeys(folders), *(path for path in sys.path if path != own)]
    sys.argv = [script, *rest]
    sys.meta_path.insert(0, Hook(int(os.environ["HANSE_TRAINER_PIPE"])))
    # Lines reach the log when they are written, also those before a kill.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    if in_scratch:
        os.chdir(os.environ["HOME"])
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
