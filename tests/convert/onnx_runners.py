"""A decoder's ONNX graph fed as users feed it: whole texts, with a past, in batches with padding."""

import numpy as np


class OnnxRuntime:
    def __init__(self, path, session=None):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_outputs()]
        self.caches = {
            each.name: (each.shape[1], each.shape[3])
            for each in self.session.get_inputs()
            if each.name.startswith("past")
        }

    def __call__(self, feeds):
        return dict(zip(self.names, self.session.run(None, feeds), strict=True))


class OpenVino:
    def __init__(self, path):
        import openvino

        exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
        self.model = openvino.Core().compile_model(str(path), "CPU", exact)
        self.caches = {}
        for each in self.model.inputs:
            if each.any_name.startswith("past"):
                shape = each.partial_shape
                self.caches[each.any_name] = shape[1].get_length(), shape[3].get_length()

    def __call__(self, feeds):
        found = self.model(feeds)
        return {name: found[each] for each in self.model.outputs for name in each.names}


class StatefulOpenVino:
    """An IR whose cache is inside: tokens go in as they come, until the next text begins."""

    def __init__(self, path):
        import openvino

        exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
        self.request = openvino.Core().compile_model(str(path), "CPU", exact).create_infer_request()
        self.length = 0

    def begin(self):
        self.request.reset_state()
        self.length = 0

    def __call__(self, ids, order=None):
        """Logits [batch, sequence, vocabulary] of the tokens that come next, `ids` [batch, sequence]."""
        batch, count = ids.shape
        places = np.arange(self.length, self.length + count)
        self.length += count
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((batch, self.length), np.int64),
            "position_ids": np.tile(places, (batch, 1)),
            "beam_idx": np.arange(batch, dtype=np.int32) if order is None else np.array(order, np.int32),
        }
        return np.array(self.request.infer(feeds)["logits"])


def greedy_with_state(model, prompt, count):
    model.begin()
    tokens = list(prompt)
    logits = model(np.array([tokens]))
    while len(tokens) < count:
        tokens.append(int(logits[0, -1].argmax()))
        logits = model(np.array([tokens[-1:]]))
    return tokens


def step(model, ids, past=None, mask=None, positions=None):
    """Logits [batch, sequence, vocabulary] and the cache after them; `ids` [batch, sequence]."""
    batch, count = ids.shape
    if past is None:
        past = {
            name: np.zeros((batch, heads, 0, size), np.float32)
            for name, (heads, size) in model.caches.items()
        }
    before = next(iter(past.values())).shape[2]
    if mask is None:
        mask = np.ones((batch, before + count), np.int64)
    if positions is None:
        positions = np.tile(np.arange(before, before + count), (batch, 1))
    found = model({"input_ids": ids, "attention_mask": mask, "position_ids": positions, **past})
    return found["logits"], {name: found[name.replace("past_key_values", "present")] for name in past}


def greedy(model, prompt, count):
    tokens = list(prompt)
    logits, past = step(model, np.array([tokens]))
    while len(tokens) < count:
        tokens.append(int(logits[0, -1].argmax()))
        logits, past = step(model, np.array([tokens[-1:]]), past)
    return tokens


def in_two_parts(model, tokens, first):
    """The same text through the cache."""
    one, past = step(model, np.array([tokens[:first]]))
    two, _ = step(model, np.array([tokens[first:]]), past)
    return np.concatenate([one, two], axis=1)[0]


def padded_batch(model, long, short):
    """Logits of two texts in one batch, the shorter one padded on the left."""
    gap = len(long) - len(short)
    ids = np.array([long, [0] * gap + list(short)])
    mask = np.ones_like(ids)
    mask[1, :gap] = 0
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    logits, _ = step(model, ids, mask=mask, positions=positions)
    return logits[0], logits[1, gap:]
