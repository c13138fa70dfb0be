// Integer products on AVX2, whose product of bytes adds pairs in int16 and saturates there: each form
// below keeps pairs, or sums of pairs, within its range, so that sums are exact.
#pragma once

#include "vector_avx2.h"

namespace fairway::FAIRWAY_ISA {

inline __m256i widen(__m256i words) { return _mm256_madd_epi16(words, _mm256_set1_epi16(1)); }

// int5 and int6: a pair is at most 63 * 127 * 2 = 16002.
template <int Bits, bool Centred>
struct Dot {
    __m256i a, b;
    FAIRWAY_INLINE void begin(std::int32_t start) { a = b = _mm256_set1_epi32(Centred ? start * (1 << (Bits - 4)) : 0); }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const __m256i four = splat_four_bytes(x);
        a = _mm256_add_epi32(a, widen(_mm256_maddubs_epi16(weights.a, four)));
        b = _mm256_add_epi32(b, widen(_mm256_maddubs_epi16(weights.b, four)));
    }
    FAIRWAY_INLINE Ints total() const { return {a, b}; }
};

// int4: at most eight products pairs of 15 * 127 * 2 = 3810 are summed, which int16 holds.
template <bool Centred>
struct Dot<4, Centred> {
    __m256i a, b;
    std::int32_t offset;
    FAIRWAY_INLINE void begin(std::int32_t start) {
        a = b = _mm256_setzero_si256();
        offset = start;
    }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const __m256i four = splat_four_bytes(x);
        a = _mm256_add_epi16(a, _mm256_maddubs_epi16(weights.a, four));
        b = _mm256_add_epi16(b, _mm256_maddubs_epi16(weights.b, four));
    }
    FAIRWAY_INLINE Ints total() const {
        if constexpr (!Centred) return {widen(a), widen(b)};
        const __m256i start = _mm256_set1_epi32(offset);
        return {_mm256_add_epi32(widen(a), start), _mm256_add_epi32(widen(b), start)};
    }
};

// int8: |w| * (x with w's sign); a pair is at most 128 * 127 * 2 = 32512, which int16 holds.
template <bool Centred>
struct Dot<8, Centred> {
    __m256i a, b;
    FAIRWAY_INLINE void begin(std::int32_t) { a = b = _mm256_setzero_si256(); }
    static FAIRWAY_INLINE __m256i pairs(__m256i weights, __m256i four) {
        const __m256i w = _mm256_xor_si256(weights, _mm256_set1_epi8(-128));
        return widen(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(four, w)));
    }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const __m256i four = splat_four_bytes(x);
        a = _mm256_add_epi32(a, pairs(weights.a, four));
        b = _mm256_add_epi32(b, pairs(weights.b, four));
    }
    FAIRWAY_INLINE Ints total() const { return {a, b}; }
};

// Sums products of pairs with the same two numbers, both added to the pair's lane.
struct PairDot {
    Ints sum;
    FAIRWAY_INLINE void begin() { sum.a = sum.b = _mm256_setzero_si256(); }
    FAIRWAY_INLINE void add(Pairs values, const std::int16_t* x) {
        const __m256i two = splat_four_bytes(x);
        sum.a = _mm256_add_epi32(sum.a, _mm256_madd_epi16(values.a, two));
        sum.b = _mm256_add_epi32(sum.b, _mm256_madd_epi16(values.b, two));
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

}  // namespace fairway::FAIRWAY_ISA

#include "dots.h"
