// Codes and scales to the bytes of ggml's blocks: gguf_layout.py natively. Codes are one to a byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vector.h"

namespace fairway::FAIRWAY_ISA {

using Byte = std::uint8_t;

inline Byte* put(Byte* out, const void* bytes, std::size_t count) {
    std::memcpy(out, bytes, count);
    return out + count;
}

// Of each 2 * width codes the first half below the second; four bits are kept of each.
inline Byte* put_nibbles(Byte* out, const Byte* codes, std::size_t count, std::size_t width) {
    for (const Byte* end = codes + count; codes < end; codes += 2 * width, out += width)
        for (std::size_t i = 0; i < width; ++i) out[i] = static_cast<Byte>((codes[i] & 15) | codes[width + i] << 4);
    return out;
}

// Two bits of each of 256 codes, from `shift` on: of each 128 codes four quarters above each other.
inline Byte* put_crumbs(Byte* out, const Byte* codes, int shift) {
    for (int part = 0; part < 2; ++part, codes += 128, out += 32)
        for (int i = 0; i < 32; ++i) {
            const auto crumb = [&](int quarter) { return codes[32 * quarter + i] >> shift & 3; };
            out[i] = static_cast<Byte>(crumb(0) | crumb(1) << 2 | crumb(2) << 4 | crumb(3) << 6);
        }
    return out;
}

// One bit of each of 256 codes: bit g of byte i belongs to code 32 g + i.
inline Byte* put_bits(Byte* out, const Byte* codes, int bit) {
    for (int i = 0; i < 32; ++i) {
        int planes = 0;
        for (int g = 0; g < 8; ++g) planes |= (codes[32 * g + i] >> bit & 1) << g;
        out[i] = static_cast<Byte>(planes);
    }
    return out + 32;
}

// The fifth bit of each of 32 codes, in order.
inline Byte* put_fifth_bits(Byte* out, const Byte* codes) {
    std::uint32_t word = 0;
    for (int i = 0; i < 32; ++i) word |= static_cast<std::uint32_t>(codes[i] >> 4 & 1) << i;
    return put(out, &word, 4);
}

// Eight 6-bit scales and eight 6-bit minimums in 12 bytes.
inline Byte* put_six_bit_pairs(Byte* out, const Byte* scales, const Byte* minimums) {
    for (int i = 0; i < 4; ++i) {
        out[i] = static_cast<Byte>(scales[i] | scales[4 + i] >> 4 << 6);
        out[4 + i] = static_cast<Byte>(minimums[i] | minimums[4 + i] >> 4 << 6);
        out[8 + i] = static_cast<Byte>((scales[4 + i] & 15) | minimums[4 + i] << 4);
    }
    return out + 12;
}

// The upper two bits of four 6-bit scales that lie `stride` apart.
inline Byte upper_bits(const Byte* scales, int stride) {
    const auto upper = [&](int i) { return scales[i * stride] >> 4 << 2 * i; };
    return static_cast<Byte>(upper(0) | upper(1) | upper(2) | upper(3));
}

// Sixteen 6-bit scales in 12 bytes: the lower four bits of two, then the upper bits of four.
inline Byte* put_six_bits(Byte* out, const Byte* scales) {
    out = put_nibbles(out, scales, 16, 8);
    for (int i = 0; i < 4; ++i) out[i] = upper_bits(scales + i, 4);
    return out + 4;
}

// Eight 6-bit scales in 6 bytes: the upper bits of four neighbours, then the lower four bits of two.
inline Byte* put_six_bits_of_eight(Byte* out, const Byte* scales) {
    for (int i = 0; i < 2; ++i) *out++ = upper_bits(scales + 4 * i, 1);
    return put_nibbles(out, scales, 8, 1);
}

}  // namespace fairway::FAIRWAY_ISA
