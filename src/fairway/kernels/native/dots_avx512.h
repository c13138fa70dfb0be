// Integer products on AVX-512 VNNI.
#pragma once

#include <cstring>

#include "vector_avx512.h"

namespace fairway::FAIRWAY_ISA {

inline __m512i splat_four_bytes(const void* x) {
    std::int32_t bytes;
    std::memcpy(&bytes, x, 4);
    return _mm512_set1_epi32(bytes);
}

// Sums products of unsigned weight bytes with four signed activations; `start` cancels the weights' zero.
template <int Bits, bool Centred>
struct Dot {
    Ints sum;
    FAIRWAY_INLINE void begin(std::int32_t start) {
        sum.v = Centred ? _mm512_set1_epi32(start * (1 << (Bits - 4))) : _mm512_setzero_si512();
    }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        sum.v = _mm512_dpbusd_epi32(sum.v, weights.v, splat_four_bytes(x));
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

// Sums products of pairs with the same two numbers, both added to the pair's lane.
struct PairDot {
    Ints sum;
    FAIRWAY_INLINE void begin() { sum.v = _mm512_setzero_si512(); }
    FAIRWAY_INLINE void add(Pairs values, const std::int16_t* x) {
        sum.v = _mm512_dpwssd_epi32(sum.v, values.v, splat_four_bytes(x));
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

}  // namespace fairway::FAIRWAY_ISA

#include "dots.h"
