"""The GPU types of RunPod's REST v1: its list is closed, and an unknown one is refused there with a bare 400.

From REST v1's OpenAPI document (schema EndpointCreateInput, field gpuTypeIds), entries with doubled spaces left out.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GPU_TYPES: Final = frozenset(
    {
        "AMD Instinct MI300X OAM",
        "NVIDIA A100 80GB PCIe",
        "NVIDIA A100-SXM4-80GB",
        "NVIDIA A30",
        "NVIDIA A40",
        "NVIDIA A5000 Ada",
        "NVIDIA B200",
        "NVIDIA GeForce RTX 3070",
        "NVIDIA GeForce RTX 3080",
        "NVIDIA GeForce RTX 3080 Ti",
        "NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4070 Ti",
        "NVIDIA GeForce RTX 4080",
        "NVIDIA GeForce RTX 4080 SUPER",
        "NVIDIA GeForce RTX 4090",
        "NVIDIA GeForce RTX 5080",
        "NVIDIA GeForce RTX 5090",
        "NVIDIA H100 80GB HBM3",
        "NVIDIA H100 NVL",
        "NVIDIA H100 PCIe",
        "NVIDIA H200",
        "NVIDIA H200 NVL",
        "NVIDIA L4",
        "NVIDIA L40",
        "NVIDIA L40S",
        "NVIDIA RTX 2000 Ada Generation",
        "NVIDIA RTX 4000 Ada Generation",
        "NVIDIA RTX 4000 SFF Ada Generation",
        "NVIDIA RTX 5000 Ada Generation",
        "NVIDIA RTX 6000 Ada Generation",
        "NVIDIA RTX A2000",
        "NVIDIA RTX A30",
        "NVIDIA RTX A4000",
        "NVIDIA RTX A4500",
        "NVIDIA RTX A5000",
        "NVIDIA RTX A6000",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        "Tesla T4",
        "Tesla V100-FHHL-16GB",
        "Tesla V100-PCIE-16GB",
        "Tesla V100-PCIE-32GB",
        "Tesla V100-SXM2-16GB",
        "Tesla V100-SXM2-32GB",
    }
)

# How RunPod's price list, and with it our price table, calls them.
PRICED_AS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NVIDIA A100 80GB PCIe": "A100",
        "NVIDIA A100-SXM4-80GB": "A100",
        "NVIDIA A40": "A40",
        "NVIDIA B200": "B200",
        "NVIDIA GeForce RTX 3090": "3090",
        "NVIDIA GeForce RTX 4090": "4090 PRO",
        "NVIDIA H100 80GB HBM3": "H100 PRO",
        "NVIDIA H200": "H200 PRO",
        "NVIDIA L4": "L4",
        "NVIDIA L40": "L40",
        "NVIDIA L40S": "L40S",
        "NVIDIA RTX 4000 Ada Generation": "RTX 4000",
        "NVIDIA RTX 6000 Ada Generation": "6000 Ada PRO",
        "NVIDIA RTX A4000": "A4000",
        "NVIDIA RTX A4500": "A4500",
        "NVIDIA RTX A5000": "A5000",
        "NVIDIA RTX A6000": "A6000",
    }
)

# Pools of RunPod's REST v2, from the page "GPU types" of its documentation; what it does not name there is left out.
POOLS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NVIDIA A100 80GB PCIe": "AMPERE_80",
        "NVIDIA A100-SXM4-80GB": "AMPERE_80",
        "NVIDIA A40": "AMPERE_48",
        "NVIDIA GeForce RTX 3090": "AMPERE_24",
        "NVIDIA GeForce RTX 4090": "ADA_24",
        "NVIDIA GeForce RTX 5090": "ADA_32_PRO",
        "NVIDIA L4": "ADA_24",
        "NVIDIA L40": "ADA_48_PRO",
        "NVIDIA L40S": "ADA_48_PRO",
        "NVIDIA RTX 2000 Ada Generation": "AMPERE_16",
        "NVIDIA RTX 4000 Ada Generation": "AMPERE_16",
        "NVIDIA RTX 6000 Ada Generation": "ADA_48_PRO",
        "NVIDIA RTX A4000": "AMPERE_16",
        "NVIDIA RTX A4500": "AMPERE_24",
        "NVIDIA RTX A5000": "AMPERE_24",
        "NVIDIA RTX A6000": "AMPERE_48",
    }
)
