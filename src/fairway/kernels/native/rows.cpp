// Operations on one row: norms, activations, additions, rotation, and activations as int8.
#include "curves.h"
#include "variant.h"

namespace fairway::FAIRWAY_ISA {

namespace {

Floats activation_of(Floats x, Activation kind) {
    switch (kind) {
        case Activation::silu:
            return x * sigmoid(x);
        case Activation::gelu:
            return splat(0.5f) * x * (splat(1.0f) + erf(x * splat(0.70710678f)));
        case Activation::gelu_tanh: {
            const Floats cubed = x * x * x;
            const Floats inner = splat(0.79788456f) * fma(splat(0.044715f), cubed, x);
            return splat(0.5f) * x * (splat(1.0f) + tanh(inner));
        }
        case Activation::relu:
            break;
    }
    return max(x, splat(0.0f));
}

constexpr float kTiny = 0x1p-100f, kHuge = 0x1p100f;
const float kNotANumber = __builtin_nanf("");

// The power of two at or above a scale, within 2^-100 .. 2^100; 1 for a group of zeros.
float power_above(float scale) {
    if (scale < kTiny) return 1.0f;
    if (!(scale < kHuge)) return kHuge;
    std::uint32_t bits;
    std::memcpy(&bits, &scale, 4);
    bits = (bits + 0x7fffffu) & 0xff800000u;
    std::memcpy(&scale, &bits, 4);
    return scale;
}

// Whether every value is a number that codes can hold.
bool is_bounded(const float* x, std::size_t width) {
    const Floats most = splat(127.0f * kHuge);
    bool bounded = true;
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        bounded = bounded && all(abs(load_up_to(x + i, n)) < most);
    });
    return bounded;
}

// int8 of one group of 32 values, and what the integer products need to know of it.
void quantize_group(Floats low, Floats high, const Quantized& out, std::size_t index) {
    const float scale = power_above(reduce_max(max(abs(low), abs(high))) / 127.0f);
    const Floats inverse = splat(1.0f / scale);
    const Floats top = splat(127.0f), bottom = splat(-127.0f);
    std::int8_t* values = out.values + index * kGroup;
    store_int8(values, max(bottom, min(top, round(low * inverse))));
    store_int8(values + kLanes, max(bottom, min(top, round(high * inverse))));
    const std::int32_t first = sum_int8(values), second = sum_int8(values + kLanes);
    out.scales[index] = scale;
    out.starts[index] = -8 * (first + second);
    out.sums[index] = scale * static_cast<float>(first + second);
    out.half_starts[2 * index] = -8 * first;
    out.half_starts[2 * index + 1] = -8 * second;
    out.half_sums[2 * index] = scale * static_cast<float>(first);
    out.half_sums[2 * index + 1] = scale * static_cast<float>(second);
}

}  // namespace

void quantize(const float* x, std::size_t width, const Quantized& out, std::size_t row) {
    if (out.poison && !is_bounded(x, width)) __atomic_store(out.poison + row, &kNotANumber, __ATOMIC_RELAXED);
    for (std::size_t g = 0; g < out.groups; ++g) {
        const std::size_t at = g * kGroup, left = width - at;
        const Floats low = load_up_to(x + at, smaller(left, kLanes));
        const Floats high = left > kLanes ? load_up_to(x + at + kLanes, smaller(left - kLanes, kLanes)) : splat(0.0f);
        quantize_group(low, high, out, row * out.groups + g);
    }
}

void rms_norm(const float* x, const float* weight, float* out, std::size_t width, float eps) {
    Floats squares = splat(0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        const Floats v = load_up_to(x + i, n);
        squares = fma(v, v, squares);
    });
    const Floats mean = splat(reduce_add(squares) / static_cast<float>(width) + eps);
    const Floats factor = splat(1.0f) / square_root(mean);
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        store_up_to(out + i, n, load_up_to(x + i, n) * factor * load_up_to(weight + i, n));
    });
}

void layer_norm(const float* x, const float* weight, const float* bias, float* out, std::size_t width, float eps) {
    Floats sum = splat(0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) { sum = sum + load_up_to(x + i, n); });
    const float count = static_cast<float>(width);
    const Floats mean = splat(reduce_add(sum) / count);
    Floats squares = splat(0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        const Floats inside = select(lanes(0, static_cast<std::int64_t>(n)), mean, splat(0.0f));
        const Floats centred = load_up_to(x + i, n) - inside;
        squares = fma(centred, centred, squares);
    });
    const Floats factor = splat(1.0f) / square_root(splat(reduce_add(squares) / count + eps));
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        const Floats centred = (load_up_to(x + i, n) - mean) * factor;
        store_up_to(out + i, n, fma(centred, load_up_to(weight + i, n), load_up_to(bias + i, n)));
    });
}

void activate(const float* x, float* out, std::size_t width, Activation activation) {
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        store_up_to(out + i, n, activation_of(load_up_to(x + i, n), activation));
    });
}

void gate(const float* x, const float* up, float* out, std::size_t width, Activation activation) {
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        store_up_to(out + i, n, activation_of(load_up_to(x + i, n), activation) * load_up_to(up + i, n));
    });
}

void add(const float* x, const float* y, float* out, std::size_t width, float scale) {
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        store_up_to(out + i, n, load_up_to(x + i, n) + splat(scale) * load_up_to(y + i, n));
    });
}

void soft_cap(float* x, std::size_t width, float cap) {
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        store_up_to(x + i, n, splat(cap) * tanh(load_up_to(x + i, n) / splat(cap)));
    });
}

void rotate(float* x, const float* cos, const float* sin, std::size_t half) {
    for_vectors(half, [&](std::size_t i, std::size_t n) {
        const Floats a = load_up_to(x + i, n), b = load_up_to(x + half + i, n);
        const Floats c = load_up_to(cos + i, n), s = load_up_to(sin + i, n);
        store_up_to(x + i, n, a * c - b * s);
        store_up_to(x + half + i, n, b * c + a * s);
    });
}

void exp_row(const float* x, float* out, std::size_t width) {
    for_vectors(width, [&](std::size_t i, std::size_t n) { store_up_to(out + i, n, exp(load_up_to(x + i, n))); });
}

}  // namespace fairway::FAIRWAY_ISA
