"""Reads DXO files as the stock package does: one line of JSON for each, its kind and its numbers."""

import json
import sys

import numpy as np

from nvflare.apis.dxo import from_file
from nvflare.app_common.decomposers import common_decomposers

common_decomposers.register()
for path in sys.argv[1:]:
    dxo = from_file(path)
    data = {name: np.asarray(value).reshape(-1).tolist() for name, value in dxo.data.items()}
    print(json.dumps({"kind": dxo.data_kind, "data": data}))
