// Writing one token's keys and values to its slot of the cache.
#include "variant.h"
#include "vector.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr float kLargestHalf = 65504.0f;

Floats held(Floats x, float most) { return max(splat(-most), min(x, splat(most))); }  // NaN becomes `most`

template <typename Element>
void write_floats(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot, float most) {
    const CacheLayout& layout = cache.layout;
    const std::size_t size = layout.head_size, padded = padded_head(layout), stride = vectors_per_block(layout) * kLanes;
    for (std::size_t h = 0; h < layout.kv_heads; ++h) {
        auto* keys = reinterpret_cast<Element*>(keys_of(cache, block, h)) + slot;
        auto* values = reinterpret_cast<Element*>(values_of(cache, block, h)) + slot * padded;
        for_vectors(size, [&](std::size_t i, std::size_t n) {
            store(values + i, held(load_up_to(v + h * size + i, n), most));
            Element spread[kLanes];
            store(spread, held(load_up_to(k + h * size + i, n), most));
            for (std::size_t d = 0; d < n; ++d) keys[(i + d) * stride] = spread[d];
        });
    }
}

// Codes of up to `width` values and their scale, by the rule of activations (rows.cpp); codes that pad
// the last vector are 0.
float to_codes(const float* x, std::size_t width, std::int8_t* codes) {
    constexpr float tiny = 7.888609052210118e-31f;  // 2^-100
    Floats top = splat(0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) { top = max(abs(held(load_up_to(x + i, n), kLargestHalf)), top); });
    float largest = reduce_max(top);
    if (largest < tiny) largest = 0;
    const Floats inverse = splat(largest > 0 ? 127.0f / largest : 0.0f);
    for_vectors(width, [&](std::size_t i, std::size_t n) {
        const Floats whole = round(held(load_up_to(x + i, n), kLargestHalf) * inverse);
        store_int8(codes + i, held(whole, 127.0f));
    });
    return largest / 127.0f;
}

void write_key(const LayerCache& cache, const float* k, std::uint8_t* block, std::size_t slot) {
    const CacheLayout& layout = cache.layout;
    const std::size_t vectors = vectors_per_block(layout);
    auto* scales = reinterpret_cast<float*>(block + key_scales_at(layout));
    for (std::size_t g = 0; g < key_groups(layout); ++g) {
        const std::size_t first = g * kGroup, width = smaller(kGroup, layout.head_size - first);
        std::int8_t codes[kGroup] = {};
        scales[g * vectors * kTile + slot] = to_codes(k + first, width, codes);
        for (std::size_t d = 0; d < width; d += 4) {
            std::uint32_t four;
            std::memcpy(&four, codes + d, 4);
            four ^= 0x80808080u;
            std::memcpy(block + ((first + d) / 4 * vectors * kTile + slot) * 4, &four, 4);
        }
    }
}

void write_value(const LayerCache& cache, const float* v, std::uint8_t* block, std::size_t slot, std::int8_t* codes) {
    const CacheLayout& layout = cache.layout;
    reinterpret_cast<float*>(block + value_scales_at(layout))[slot] = to_codes(v, layout.head_size, codes);
    std::uint8_t* out = block + slot / 2 * 2 * padded_head(layout) + slot % 2;
    for (std::size_t d = 0; d < layout.head_size; ++d) out[2 * d] = static_cast<std::uint8_t>(codes[d]);
}

void write_codes(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot) {
    const std::size_t size = cache.layout.head_size;
    auto* codes = static_cast<std::int8_t*>(__builtin_alloca(padded_head(cache.layout)));
    for (std::size_t h = 0; h < cache.layout.kv_heads; ++h) {
        write_key(cache, k + h * size, keys_of(cache, block, h), slot);
        write_value(cache, v + h * size, values_of(cache, block, h), slot, codes);
    }
}

}  // namespace

void write_cache(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot) {
    switch (cache.layout.type) {
        case CacheType::f32:
            return write_floats<float>(cache, k, v, block, slot, 3.4028234663852886e38f);
        case CacheType::f16:
            return write_floats<std::uint16_t>(cache, k, v, block, slot, kLargestHalf);
        case CacheType::int8:
            return write_codes(cache, k, v, block, slot);
    }
}

}  // namespace fairway::FAIRWAY_ISA
