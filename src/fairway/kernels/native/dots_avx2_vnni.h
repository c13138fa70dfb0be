// Integer products on AVX-VNNI: dots_avx512.h in two halves. Unlike AVX2's product of bytes this one
// does not saturate, so sums are 32 bits wide throughout.
#pragma once

#include "vector_avx2.h"

namespace fairway::FAIRWAY_ISA {

template <int Bits, bool Centred>
struct Dot {
    Ints sum;
    FAIRWAY_INLINE void begin(std::int32_t start) {
        sum.a = sum.b = _mm256_set1_epi32(Centred ? start * (1 << (Bits - 4)) : 0);
    }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const __m256i four = splat_four_bytes(x);
        sum.a = _mm256_dpbusd_epi32(sum.a, weights.a, four);
        sum.b = _mm256_dpbusd_epi32(sum.b, weights.b, four);
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

// Sums products of pairs with the same two numbers, both added to the pair's lane.
struct PairDot {
    Ints sum;
    FAIRWAY_INLINE void begin() { sum.a = sum.b = _mm256_setzero_si256(); }
    FAIRWAY_INLINE void add(Pairs values, const std::int16_t* x) {
        const __m256i two = splat_four_bytes(x);
        sum.a = _mm256_dpwssd_epi32(sum.a, values.a, two);
        sum.b = _mm256_dpwssd_epi32(sum.b, values.b, two);
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

}  // namespace fairway::FAIRWAY_ISA

#include "dots.h"
