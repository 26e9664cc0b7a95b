"""Q4_K, Q5_K and Q6_K blocks, rounded to nearest; the gguf package only reads these types."""

import numpy as np


def halves(values):
    """Bytes of float16 numbers, and what they are worth."""
    stored = values.astype(np.float16)
    return stored.view(np.uint8).reshape(len(values), 2), stored.astype(np.float32)


def divide(numerator, denominator):
    return np.where(denominator == 0, 0, numerator / np.where(denominator == 0, 1, denominator))


def with_minimum(values, bits):
    """Blocks of Q4_K (bits = 4) or Q5_K."""
    groups = values.reshape(-1, 8, 32)
    least, most = np.minimum(groups.min(2), 0), np.maximum(groups.max(2), 0)
    top = 2**bits - 1
    scale = (most - least) / top
    d_bytes, d = halves(scale.max(1) / 63)
    m_bytes, m = halves((-least).max(1) / 63)
    s6 = np.clip(np.rint(divide(scale, d[:, None])), 0, 63).astype(np.uint8)
    m6 = np.clip(np.rint(divide(-least, m[:, None])), 0, 63).astype(np.uint8)
    step, low = d[:, None] * s6, m[:, None] * m6
    q = np.clip(np.rint(divide(groups + low[:, :, None], step[:, :, None])), 0, top).astype(np.uint8)
    packed = np.concatenate([
        s6[:, :4] | s6[:, 4:] >> 4 << 6,
        m6[:, :4] | m6[:, 4:] >> 4 << 6,
        s6[:, 4:] & 15 | (m6[:, 4:] & 15) << 4,
    ], 1)
    nibbles = (q[:, 0::2] & 15 | (q[:, 1::2] & 15) << 4).reshape(-1, 128)
    upper = [np.bitwise_or.reduce([q[:, j] >> 4 << j for j in range(8)])] if bits == 5 else []
    return np.concatenate([d_bytes, m_bytes, packed, *upper, nibbles], 1)


def q6_k(values):
    groups = values.reshape(-1, 16, 16)
    index = np.abs(groups).argmax(2)
    scale = np.take_along_axis(groups, index[:, :, None], 2)[:, :, 0] / -32
    d_bytes, d = halves(np.abs(scale).max(1) / 127)
    s8 = np.clip(np.rint(divide(scale, d[:, None])), -127, 127).astype(np.int8)
    step = d[:, None] * s8
    q = np.clip(np.rint(divide(groups, step[:, :, None])) + 32, 0, 63).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.stack([q[:, :, 0] & 15 | (q[:, :, 2] & 15) << 4, q[:, :, 1] & 15 | (q[:, :, 3] & 15) << 4], 2)
    high = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    return np.concatenate(
        [low.reshape(-1, 128), high.reshape(-1, 64), s8.view(np.uint8), d_bytes], 1
    )


def quantize_k(values, name):
    """Rows of float32 numbers as rows of blocks."""
    blocks = q6_k(values) if name == "Q6_K" else with_minimum(values, 4 if name == "Q4_K" else 5)
    return blocks.reshape(*values.shape[:-1], -1)
