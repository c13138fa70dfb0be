"""Records small Keras models and what Keras predicts: `python tests/convert/make_keras_goldens.py`.

Needs keras with the backend jax (that of torch pads averages with their neighbours); its files need neither.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers

GOLDENS = Path(__file__).parent / "goldens" / "keras"
ACTIVATIONS = (
    "relu", "sigmoid", "tanh", "softplus", "softsign", "exponential", "selu", "elu", "softmax", "log_softmax",
    "silu", "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "gelu", "mish", "linear",
)  # fmt: skip


def cnn():
    x = image = keras.Input((12, 10, 3), name="image")
    x = layers.Rescaling(2.0, -1.0)(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    y = layers.Conv2D(6, 1, use_bias=False)(x)
    x = layers.Add()([x, y])
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2D(8, (3, 2), strides=2, padding="same", groups=2)(x)
    x = layers.BatchNormalization(scale=False, center=False)(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def mobile():
    """Layers of small networks, and sizes that are open."""
    x = image = keras.Input((None, None, 4), name="image")
    x = layers.ZeroPadding2D(((1, 0), (2, 1)))(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.ReLU(max_value=6.0)(x)
    x = layers.SeparableConv2D(6, 3, strides=2, padding="same", activation="silu")(x)
    x = layers.AveragePooling2D(3, strides=2, padding="same")(x)
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x)
    lines = layers.GlobalAveragePooling1D()(layers.Reshape((-1, 6))(x))
    pooled = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x), lines]
    return keras.Model(image, layers.Concatenate()(pooled))


def text():
    return keras.Sequential(
        [
            keras.Input((14,), dtype="int32", name="tokens"),
            layers.Embedding(30, 8),
            layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="gelu"),
            layers.SpatialDropout1D(0.2),
            layers.DepthwiseConv1D(3, padding="same"),
            layers.AveragePooling1D(2),
            layers.LayerNormalization(),
            layers.ZeroPadding1D(1),
            layers.MaxPooling1D(2, strides=1, padding="same"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )


def merging():
    """Two inputs, two outputs, a shared layer, and models inside models."""
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    shared = layers.Dense(4, activation="tanh")
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4), layers.BatchNormalization(), layers.LeakyReLU()]
    )
    x, y = shared(a), shared(b)
    z = inner(x)
    mixed = [
        layers.Subtract()([x, y]), layers.Multiply()([x, y]), layers.Maximum()([x, y, z]),
        layers.Minimum()([x, y]), layers.Average()([x, y, z]),
    ]  # fmt: skip
    joined = layers.Concatenate()(mixed)
    shaped = layers.Permute((2, 1))(layers.Reshape((4, -1))(joined))
    return keras.Model([a, b], [layers.Softmax()(joined), layers.ELU()(shaped)])


def activations():
    x = given = keras.Input((7,), name="x")
    return keras.Model(given, [layers.Activation(name)(x) for name in ACTIVATIONS])


def channels_first():
    x = image = keras.Input((3, 9, 8), name="image")
    x = layers.Conv2D(4, 3, data_format="channels_first", activation="elu")(x)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.MaxPooling2D(2, data_format="channels_first")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(data_format="channels_first", keepdims=True)(x))


def lambda_layer():
    """Its code carries the name of the file that it is from: none of this machine's."""
    x = given = keras.Input((7,), name="x")
    double = eval(compile("lambda value: value * 2", "double", "eval"))
    return keras.Model(given, layers.Lambda(double, name="lambda")(x))


def recurrent():
    return keras.Sequential([keras.Input((5, 3)), layers.LSTM(4)])


CASES = (cnn, mobile, text, merging, activations, channels_first)
REFUSED = (lambda_layer, recurrent)


def inputs_of(model, random):
    found = {}
    for each in model.inputs:
        shape = [3, *(11 if size is None else size for size in each.shape[1:])]
        is_whole = "int" in str(each.dtype)
        drawn = random.randint(0, 30, shape) if is_whole else random.uniform(-2, 2, shape)
        found[each.name] = drawn.astype(np.int32 if is_whole else np.float32)
    return found


def record(make):
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model, random = make(), np.random.RandomState(4)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.7
        weight.assign(random.uniform(low, 0.9, weight.shape))
    model.save(GOLDENS / f"{make.__name__}.keras")
    if make in REFUSED:
        return
    feeds = inputs_of(model, random)
    found = model.predict(list(feeds.values()) if len(feeds) > 1 else next(iter(feeds.values())), verbose=0)
    outputs = found if isinstance(found, list) else [found]
    values = {f"in {name}": each for name, each in feeds.items()}
    values |= {f"out {number:02}": np.asarray(each) for number, each in enumerate(outputs)}
    np.savez_compressed(GOLDENS / f"{make.__name__}.npz", **values)
    print(make.__name__, [each.shape for each in outputs])


if __name__ == "__main__":
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for make in (*CASES, *REFUSED):
        record(make)
