"""All peers, in the order in which they take turns."""

from __future__ import annotations

from benchmarks.peers.fairway_engine import Fairway
from benchmarks.peers.hf_transformers import Transformers
from benchmarks.peers.llama_cpp import LlamaCpp
from benchmarks.peers.onnxruntime_genai import OnnxRuntime
from benchmarks.peers.openvino_genai import OpenVino
from benchmarks.peers.protocol import Peer
from benchmarks.peers.vllm_cpu import Vllm

PEERS: tuple[Peer, ...] = (Fairway(), LlamaCpp(), OpenVino(), OnnxRuntime(), Vllm(), Transformers())
