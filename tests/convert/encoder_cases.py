"""Tiny encoders of every family and head, and the texts that they are asked about."""

import numpy as np

SHARED = {"vocab_size": 120, "initializer_range": 0.02}
BERT = SHARED | {
    "model_type": "bert",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}
ROBERTA = BERT | {
    "model_type": "roberta",
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "max_position_embeddings": 66,
    "layer_norm_eps": 1e-5,
}
DISTILBERT = SHARED | {
    "model_type": "distilbert",
    "dim": 48,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 80,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
MPNET = SHARED | {
    "model_type": "mpnet",
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 202,
    "pad_token_id": 1,
    "relative_attention_num_buckets": 32,
}
CASES = {
    "bert": ("BertModel", BERT),
    "bert-gelu-new": ("BertModel", BERT | {"hidden_act": "gelu_new"}),
    "bert-words": ("BertForMaskedLM", BERT),
    "bert-classes": ("BertForSequenceClassification", BERT | {"num_labels": 3}),
    "bert-tokens": ("BertForTokenClassification", BERT | {"num_labels": 5}),
    "roberta": ("RobertaModel", ROBERTA),
    "roberta-rank": ("RobertaForSequenceClassification", ROBERTA | {"num_labels": 1}),
    "xlm-roberta": ("XLMRobertaModel", ROBERTA | {"model_type": "xlm-roberta"}),
    "camembert-tokens": (
        "CamembertForTokenClassification",
        ROBERTA | {"model_type": "camembert", "num_labels": 4},
    ),
    "distilbert": ("DistilBertModel", DISTILBERT),
    "distilbert-classes": ("DistilBertForSequenceClassification", DISTILBERT | {"num_labels": 2}),
    "mpnet": ("MPNetModel", MPNET),
    "mpnet-classes": ("MPNetForSequenceClassification", MPNET | {"num_labels": 3}),
}
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
SENTENCES = (
    "A lighthouse keeper counts the ships that pass at night.",
    "Every night the keeper of the lighthouse notes which ships go by.",
    "The recipe asks for two eggs, flour and a pinch of salt.",
    "Wie spät ist es in Zürich?",
    "def add(a, b): return a + b",
    "No.",
)
"""For the real model; the first two mean nearly the same."""


def batch(config, *, left=False):
    """Three texts of different lengths: ids, mask and token types, int64 [3, T]."""
    length = 150 if config["model_type"] == "mpnet" else 40
    padding = config["pad_token_id"]
    random = np.random.RandomState(7)
    ids = random.randint(5, config["vocab_size"], (3, length))
    mask = np.ones_like(ids)
    for row, size in ((1, length // 2), (2, 3)):
        hidden = slice(0, length - size) if left else slice(size, length)
        ids[row, hidden], mask[row, hidden] = padding, 0
    types = (np.arange(length) >= length // 3).astype(np.int64)[None] * mask
    return ids, mask, types
