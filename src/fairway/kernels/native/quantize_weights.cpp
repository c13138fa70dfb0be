// Weights to float32, and to codes of 4, 5, 6 or 8 bits group by group: quantize.py's arithmetic, bit for bit.
#include <cstring>

#include "variant.h"
#include "vector.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr float kStretches[] = {8.0f, 7.7f, 8.3f, 7.4f, 7.1f, 8.7f};  // of 4 bits

// Up to 32 weights, padded with zeros.
struct Group {
    Floats low, high;
};

Group load_group(const float* w, std::size_t n) {
    const Floats low = load_up_to(w, smaller(n, kLanes));
    return {low, n > kLanes ? load_up_to(w + kLanes, n - kLanes) : splat(0.0f)};
}

float inverse(float scale) { return scale > 1e-30f || scale < -1e-30f ? 1.0f / scale : 0.0f; }

// To 11 significant bits, half to even.
float round_scale(float scale) {
    std::uint32_t bits;
    std::memcpy(&bits, &scale, 4);
    bits = (bits + 0xFFFu + ((bits >> 13) & 1u)) & 0xFFFFE000u;
    std::memcpy(&scale, &bits, 4);
    return scale;
}

Group codes_of(const Group& w, float scale, float least, float most) {
    const Floats by = splat(inverse(scale)), bottom = splat(least), top = splat(most);
    return {max(bottom, min(top, round(w.low * by))), max(bottom, min(top, round(w.high * by)))};
}

float dot(const Group& a, const Group& b) { return reduce_add(a.low * b.low + a.high * b.high); }

// `middle` is the code of zero.
float search_scale(const Group& w, float middle) {
    const float highest = reduce_max(max(w.low, w.high));
    const Floats zero = splat(0.0f);
    const float lowest = -reduce_max(max(zero - w.low, zero - w.high));
    const float extreme = highest >= -lowest ? highest : lowest;
    float best = 0, gain = -1;
    for (const float stretch : kStretches) {
        const Group codes = codes_of(w, extreme / -(stretch * (middle / 8.0f)), -middle, middle - 1.0f);
        const float product = dot(w, codes), norm = dot(codes, codes);
        const float scale = norm > 0 ? product / norm : 0.0f;
        if (product * scale > gain) {
            gain = product * scale;
            best = scale;
        }
    }
    return round_scale(best);
}

void store_codes(const Group& codes, std::uint8_t* out, std::size_t n) {
    std::int8_t bytes[kGroup];
    store_int8(bytes, codes.low);
    store_int8(bytes + kLanes, codes.high);
    std::memcpy(out, bytes, n);
}

}  // namespace

void to_floats(WeightType type, const void* values, std::size_t count, float* out) {
    const auto* halves = static_cast<const std::uint16_t*>(values);
    for_vectors(count, [&](std::size_t first, std::size_t n) {
        std::uint16_t padded[kLanes] = {};
        const std::uint16_t* from = halves + first;
        if (type == WeightType::f32) return store_up_to(out + first, n, load_up_to(static_cast<const float*>(values) + first, n));
        if (n < kLanes) {
            std::memcpy(padded, from, n * 2);
            from = padded;
        }
        store_up_to(out + first, n, type == WeightType::bf16 ? load_bf16(from) : load(from));
    });
}

void quantize_low(const float* w, std::size_t columns, int bits, std::uint8_t* codes, float* scales) {
    const float middle = static_cast<float>(1 << (bits - 1));
    for (std::size_t c = 0; c < columns; c += kGroup) {
        const std::size_t n = smaller(kGroup, columns - c);
        const Group group = load_group(w + c, n);
        const float scale = search_scale(group, middle);
        const Group found = codes_of(group, scale, -middle, middle - 1.0f);
        store_codes({found.low + splat(middle), found.high + splat(middle)}, codes + c, n);
        scales[c / kGroup] = scale;
    }
}

void quantize_int8(const float* w, std::size_t columns, std::size_t width, std::uint8_t* codes, float* scales) {
    for (std::size_t c = 0; c < columns; c += width) {
        const std::size_t n = smaller(width, columns - c);
        const Group group = load_group(w + c, n);
        const float scale = round_scale(reduce_max(max(abs(group.low), abs(group.high))) / 127.0f);
        store_codes(codes_of(group, scale, -127, 127), codes + c, n);
        scales[c / width] = scale;
    }
}

}  // namespace fairway::FAIRWAY_ISA
