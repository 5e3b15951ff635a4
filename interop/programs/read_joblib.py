"""Loads a file of parameters as scikit-learn jobs do. Prints it as JSON."""

import json
import sys

import joblib
import numpy as np


def plain(value):
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "data": value.reshape(-1).tolist()}
    return value


print(json.dumps({name: plain(value) for name, value in joblib.load(sys.argv[1]).items()}))
