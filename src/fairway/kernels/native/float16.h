// float16 and bfloat16 to and from float32, one value at a time, for packing and lookups.
#pragma once

#include <cstdint>
#include <cstring>

namespace fairway {

inline float from_bits(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline std::uint32_t to_bits(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

inline float from_bf16(std::uint16_t bits) { return from_bits(static_cast<std::uint32_t>(bits) << 16); }

inline float from_f16(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 1023u;
    if (exponent == 0) {
        const float size = static_cast<float>(mantissa) * from_bits(0x33800000u);  // 2^-24
        return sign ? -size : size;
    }
    const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
    return from_bits(sign | (wide << 23) | (mantissa << 13));
}

// Rounds half to even; values above 65504 become infinite.
inline std::uint16_t to_f16(float value) {
    const std::uint32_t bits = to_bits(value), sign = (bits >> 16) & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u);
    if (size >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);
    if (size < 0x38800000u) {  // below 2^-14: adding 0.5 puts the rounded subnormal in the low bits
        const std::uint32_t shifted = to_bits(from_bits(size) + 0.5f) - 0x3F000000u;
        return static_cast<std::uint16_t>(sign | shifted);
    }
    const std::uint32_t rounded = size + 0xFFFu + ((size >> 13) & 1u) - 0x38000000u;
    return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

}  // namespace fairway
