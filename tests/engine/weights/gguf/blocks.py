"""Random blocks of each GGML type and what the gguf package makes of them.

usage: blocks.py FOLDER    writes TYPE.blocks and TYPE.values (float32) for every type that it can dequantise
"""

import json
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

folder = sys.argv[1]
random = np.random.default_rng(7)
# Byte offsets of float16 scales in a block: random bits there would be infinite or not numbers.
halves = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}
for name, offsets in halves.items():
    type = GGMLQuantizationType[name]
    _, size = GGML_QUANT_SIZES[type]
    blocks = random.integers(0, 256, (200, size), dtype=np.uint8)
    for offset in offsets:
        scales = (random.standard_normal(200) * 0.1).astype(np.float16)
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(200, 2)
    if name == "MXFP4":
        # Exponents that a float16 scale can have, as those of real weights.
        blocks[:, 0] = random.integers(104, 144, 200, dtype=np.uint8)
    blocks.tofile(f"{folder}/{name}.blocks")
    dequantize(blocks, type).astype(np.float32).tofile(f"{folder}/{name}.values")
print(json.dumps(list(halves)))
