// Sixteen lanes as two halves on AVX2 with FMA and F16C: the same vocabulary as vector_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fairway::FAIRWAY_ISA {

constexpr int kRowTiles = 1;
constexpr int kTokens = 3;
constexpr int kDenseTiles = 1;
constexpr int kDenseTokens = 4;
constexpr int kQueryRows = 3;
constexpr int kQueryVectors = 2;

struct Floats {
    __m256 a, b;
};
struct Ints {
    __m256i a, b;
};
struct Bytes {
    __m256i a, b;
};
struct Pairs {  // 2 x 16 int16
    __m256i a, b;
};
struct Mask {
    __m256 a, b;
};

// lane < n, as all ones or zeros; n may be any integer.
inline Mask lanes_below(std::int64_t n) {
    const int limit = n < 0 ? 0 : n > 16 ? 16 : static_cast<int>(n);
    const __m256i bound = _mm256_set1_epi32(limit);
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
    return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(bound, low)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(bound, high))};
}

inline __m256i load_256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

inline Floats splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Floats load(const std::uint16_t* p) {  // float16
    return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 8))};
}
inline Floats load_bf16(const std::uint16_t* p) {
    const __m256i a = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p)), 16);
    const __m256i b = _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(p + 8)), 16);
    return {_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)};
}
inline void load_two_bf16(const void* p, Floats& first, Floats& second) {  // a pair in each lane
    const __m256i a = load_256(p), b = load_256(static_cast<const float*>(p) + 8);
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    first = {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
    second = {_mm256_castsi256_ps(_mm256_and_si256(a, high)), _mm256_castsi256_ps(_mm256_and_si256(b, high))};
}
inline Floats load_first(const float* p, std::size_t n) {
    const Mask m = lanes_below(static_cast<std::int64_t>(n));
    return {_mm256_maskload_ps(p, _mm256_castps_si256(m.a)), _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.b))};
}
inline void store(float* p, Floats x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
inline void store(std::uint16_t* p, Floats x) {  // float16
    constexpr int rounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.a, rounding));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.b, rounding));
}
inline void store_first(float* p, std::size_t n, Floats x) {
    const Mask m = lanes_below(static_cast<std::int64_t>(n));
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.a), x.a);
    _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.b), x.b);
}

inline Floats operator+(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Floats operator-(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Floats operator*(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Floats operator/(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Floats fma(Floats x, Floats y, Floats z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
// min and max return y where either is NaN.
inline Floats min(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline Floats max(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Floats square_root(Floats x) { return {_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
inline Floats abs(Floats x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline Floats copy_sign(Floats size, Floats from) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(size.a, _mm256_and_ps(from.a, sign)), _mm256_or_ps(size.b, _mm256_and_ps(from.b, sign))};
}
inline Floats round(Floats x) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, nearest), _mm256_round_ps(x.b, nearest)};
}
inline Floats power_of_two(Floats n) {  // n whole, -126 .. 127
    const auto bits = [](__m256 half) {
        return _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(half), _mm256_set1_epi32(127)), 23);
    };
    return {_mm256_castsi256_ps(bits(n.a)), _mm256_castsi256_ps(bits(n.b))};
}
inline Mask operator<(Floats x, Floats y) {
    return {_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
inline Mask lanes(std::int64_t begin, std::int64_t end) {  // begin <= lane < end, any integers
    const Mask below = lanes_below(begin), inside = lanes_below(end);
    return {_mm256_andnot_ps(below.a, inside.a), _mm256_andnot_ps(below.b, inside.b)};
}
inline bool any(Mask m) { return _mm256_movemask_ps(_mm256_or_ps(m.a, m.b)) != 0; }
inline bool all(Mask m) { return _mm256_movemask_ps(_mm256_and_ps(m.a, m.b)) == 0xff; }
inline Floats select(Mask m, Floats yes, Floats no) {
    return {_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}

inline float reduce_add(Floats x) {
    const __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float reduce_max(Floats x) {
    const __m256 eight = _mm256_max_ps(x.a, x.b);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

inline float first_lane(Floats x) { return _mm256_cvtss_f32(x.a); }

// Sixteen int8 from whole floats; and the sum of those.
inline void store_int8(std::int8_t* p, Floats x) {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline std::int32_t sum_int8(const std::int8_t* p) {
    const __m256i pairs = _mm256_madd_epi16(_mm256_cvtepi8_epi16(load_128(p)), _mm256_set1_epi16(1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

inline void store_int16(std::int16_t* p, Floats x) {  // whole
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xD8));
}
inline Pairs load_pairs(const std::int8_t* p) {
    return {_mm256_cvtepi8_epi16(load_128(p)), _mm256_cvtepi8_epi16(load_128(p + 16))};
}

inline Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline Bytes load_line(const std::uint8_t* p) { return {load_256(p), load_256(p + 32)}; }
inline void hide(Bytes& x) { asm volatile("" : "+x"(x.a), "+x"(x.b)); }  // its value, from the compiler
inline Bytes low_halves(Bytes x) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
inline Bytes high_halves(Bytes x) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(_mm256_srli_epi16(x.a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(x.b, 4), mask)};
}
// Codes of more than four bits: `count` bits of `high`, from bit `from` on, above the four of `low`.
template <int count>
inline Bytes with_high_bits(Bytes low, Bytes high, int from) {
    const auto joined = [from](__m256i a, __m256i b) {
        const __m256i moved = from < 4 ? _mm256_slli_epi16(b, 4 - from) : _mm256_srli_epi16(b, from - 4);
        return _mm256_or_si256(a, _mm256_and_si256(moved, _mm256_set1_epi8(((1 << count) - 1) << 4)));
    };
    return {joined(low.a, high.a), joined(low.b, high.b)};
}
// Into the second-level cache.
inline void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

inline __m256i splat_four_bytes(const void* x) {
    std::int32_t bytes;
    std::memcpy(&bytes, x, 4);
    return _mm256_set1_epi32(bytes);
}

}  // namespace fairway::FAIRWAY_ISA
