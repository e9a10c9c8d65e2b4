"""The types of numbers in a GGUF file: how many make a block, and how many bytes a block has (ggml.h, ggml.c)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One type: ``block_bytes`` for each ``block_values`` numbers."""

    name: str
    block_values: int
    block_bytes: int

    def row_bytes(self, values: int) -> int:
        """The size of so many numbers in a row; a block that is only begun counts whole."""
        return -(-values // self.block_values) * self.block_bytes


TYPES: Mapping[int, GgmlType] = MappingProxyType(
    {
        0: GgmlType("f32", 1, 4),
        1: GgmlType("f16", 1, 2),
        2: GgmlType("q4_0", 32, 18),
        3: GgmlType("q4_1", 32, 20),
        6: GgmlType("q5_0", 32, 22),
        7: GgmlType("q5_1", 32, 24),
        8: GgmlType("q8_0", 32, 34),
        9: GgmlType("q8_1", 32, 36),
        10: GgmlType("q2_K", 256, 84),
        11: GgmlType("q3_K", 256, 110),
        12: GgmlType("q4_K", 256, 144),
        13: GgmlType("q5_K", 256, 176),
        14: GgmlType("q6_K", 256, 210),
        15: GgmlType("q8_K", 256, 292),
        16: GgmlType("iq2_xxs", 256, 66),
        17: GgmlType("iq2_xs", 256, 74),
        18: GgmlType("iq3_xxs", 256, 98),
        19: GgmlType("iq1_s", 256, 50),
        20: GgmlType("iq4_nl", 32, 18),
        21: GgmlType("iq3_s", 256, 110),
        22: GgmlType("iq2_s", 256, 82),
        23: GgmlType("iq4_xs", 256, 136),
        24: GgmlType("i8", 1, 1),
        25: GgmlType("i16", 1, 2),
        26: GgmlType("i32", 1, 4),
        27: GgmlType("i64", 1, 8),
        28: GgmlType("f64", 1, 8),
        29: GgmlType("iq1_m", 256, 56),
        30: GgmlType("bf16", 1, 2),
        34: GgmlType("tq1_0", 256, 54),
        35: GgmlType("tq2_0", 256, 66),
        39: GgmlType("mxfp4", 32, 17),
        40: GgmlType("nvfp4", 64, 36),
    }
)
"""By the number in the file. A file with another one can only be measured by the gaps between its tensors."""

CACHE_TYPES: Mapping[str, GgmlType] = MappingProxyType(
    {kind.name: kind for kind in TYPES.values() if kind.name in {"f32", "f16", "bf16"}}
    | {kind.name: kind for kind in TYPES.values() if kind.name in {"q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}}
)
"""What ``--cache-type-k`` and ``--cache-type-v`` take (common/arg.cpp)."""
