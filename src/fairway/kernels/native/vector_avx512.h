// Sixteen lanes on AVX-512 (F, BW, DQ, VL, VNNI): the vocabulary in which the kernels are written.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace fairway::FAIRWAY_ISA {

constexpr int kRowTiles = 2;  // register block of integer products
constexpr int kTokens = 6;
constexpr int kDenseTiles = 2;  // register block of float products
constexpr int kDenseTokens = 6;
constexpr int kQueryRows = 7;    // register block of attention
constexpr int kQueryVectors = 4;

struct Floats {
    __m512 v;
};
struct Ints {
    __m512i v;
};
struct Bytes {
    __m512i v;
};
struct Pairs {  // 2 x 16 int16
    __m512i v;
};
struct Mask {
    __mmask16 v;
};

inline __mmask16 first_lanes(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

inline Floats splat(float x) { return {_mm512_set1_ps(x)}; }
inline Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Floats load(const std::uint16_t* p) {  // float16
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Floats load_bf16(const std::uint16_t* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
inline void load_two_bf16(const void* p, Floats& first, Floats& second) {  // a pair in each lane
    const __m512i both = _mm512_loadu_si512(p);
    first.v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    second.v = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
inline Floats load_first(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
inline void store(float* p, Floats x) { _mm512_storeu_ps(p, x.v); }
inline void store(std::uint16_t* p, Floats x) {  // float16
    const __m256i half = _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
}
inline void store_first(float* p, std::size_t n, Floats x) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }

inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// min and max return b where either is NaN.
inline Floats min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats square_root(Floats a) { return {_mm512_sqrt_ps(a.v)}; }
inline Floats abs(Floats a) { return {_mm512_abs_ps(a.v)}; }
inline Floats copy_sign(Floats size, Floats sign) {
    return {_mm512_or_ps(size.v, _mm512_and_ps(sign.v, _mm512_set1_ps(-0.0f)))};
}
inline Floats round(Floats a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT)}; }
inline Floats power_of_two(Floats n) {  // n whole, -126 .. 127
    const __m512i bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
    return {_mm512_castsi512_ps(bits)};
}
inline Mask operator<(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask lanes(std::int64_t begin, std::int64_t end) {  // begin <= lane < end, any integers
    const auto clamp = [](std::int64_t n) { return n < 0 ? 0u : n > 16 ? 16u : static_cast<unsigned>(n); };
    return {static_cast<__mmask16>(first_lanes(clamp(end)) & ~first_lanes(clamp(begin)))};
}
inline bool any(Mask m) { return m.v != 0; }
inline bool all(Mask m) { return m.v == 0xffff; }
inline Floats select(Mask m, Floats yes, Floats no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }

inline float reduce_add(Floats x) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float reduce_max(Floats x) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

inline float first_lane(Floats x) { return _mm512_cvtss_f32(x.v); }

// Sixteen int8 from whole floats; and the sum of those.
inline void store_int8(std::int8_t* p, Floats x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
inline std::int32_t sum_int8(const std::int8_t* p) {
    return _mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

inline void store_int16(std::int16_t* p, Floats x) {  // whole
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x.v)));
}
inline Pairs load_pairs(const std::int8_t* p) {
    return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

// Scales by powers of two: adding exponents leaves the multipliers to the products.
#define FAIRWAY_HAS_EXPONENTS
struct Exponents {
    __m512i v;
};
inline Exponents exponents(Floats scale) { return {_mm512_sub_epi32(_mm512_castps_si512(scale.v), _mm512_set1_epi32(0x3f800000))}; }
inline Floats scaled(Exponents scale, const float* power) {
    std::int32_t bits;
    std::memcpy(&bits, power, 4);
    return {_mm512_castsi512_ps(_mm512_add_epi32(scale.v, _mm512_set1_epi32(bits)))};
}

inline Floats to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline Bytes load_line(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline void hide(Bytes& x) { asm volatile("" : "+v"(x.v)); }  // its value, from the compiler
inline Bytes low_halves(Bytes x) { return {_mm512_and_si512(x.v, _mm512_set1_epi8(15))}; }
inline Bytes high_halves(Bytes x) {
    return {_mm512_and_si512(_mm512_srli_epi16(x.v, 4), _mm512_set1_epi8(15))};
}
// Codes of more than four bits: `count` bits of `high`, from bit `from` on, above the four of `low`.
template <int count>
inline Bytes with_high_bits(Bytes low, Bytes high, int from) {
    const __m512i moved = from < 4 ? _mm512_slli_epi16(high.v, static_cast<unsigned>(4 - from))
                                   : _mm512_srli_epi16(high.v, static_cast<unsigned>(from - 4));
    return {_mm512_or_si512(low.v, _mm512_and_si512(moved, _mm512_set1_epi8(((1 << count) - 1) << 4)))};
}
// Into the second-level cache.
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

}  // namespace fairway::FAIRWAY_ISA
