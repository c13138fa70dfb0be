// Integer products on Arm's int8 matrix multiplication (I8MM), unsigned weights times signed
// activations: USMMLA takes two rows, two tokens and eight columns at once; a token that is left over
// goes through USDOT. Integer sums are exact, so both give the same.
#pragma once

#include "vector_neon.h"

namespace fairway::FAIRWAY_ISA {

template <int Bits, bool Centred>
struct Dot {
    Ints sum;
    FAIRWAY_INLINE void begin(std::int32_t start) { sum = splat_int(Centred ? start * (1 << (Bits - 4)) : 0); }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const int8x8_t four = vreinterpret_s8_s32(load_four_bytes(x));
        sum = each(sum, weights, [four](int32x4_t s, uint8x16_t w) { return vusdotq_lane_s32(s, w, four, 0); });
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

constexpr int kTogether = 2;  // tokens that one `add` serves, where there are as many

template <int Bits, bool Centred, int Tokens>
struct Dots {
    // Two tokens: `low` has rows 0, 1 of each quad of rows and `high` rows 2, 3, each row with both
    // tokens side by side. One token: `low` has whole quads.
    struct Sums {
        Ints low, high;
    };
    Sums sum[(Tokens + 1) / 2];

    FAIRWAY_INLINE void begin(int token, std::int32_t start) {
        Sums& to = sum[token / 2];
        int32x4_t from = vdupq_n_s32(Centred ? start * (1 << (Bits - 4)) : 0);
        if (token % 2) from = vzip1q_s32(to.low.a, from);
        to.low = to.high = {from, from, from, from};
    }
    // Four columns in `first`, the next four in `second`; x has all eight, and x + stride the next token's.
    FAIRWAY_INLINE void add(int token, Bytes first, Bytes second, const std::int8_t* x, std::size_t stride) {
        Sums& to = sum[token / 2];
        const int8x8_t eight = vld1_s8(x);
        if (token + 1 == Tokens) {
            to.low = each(to.low, first, [eight](int32x4_t s, uint8x16_t w) { return vusdotq_lane_s32(s, w, eight, 0); });
            to.low = each(to.low, second, [eight](int32x4_t s, uint8x16_t w) { return vusdotq_lane_s32(s, w, eight, 1); });
            return;
        }
        const int8x16_t both = vcombine_s8(eight, vld1_s8(x + stride));
        const auto multiply = [both](int32x4_t s, uint8x16_t w) { return vusmmlaq_s32(s, w, both); };
        to.low = each(to.low, each(first, second, zip_low), multiply);
        to.high = each(to.high, each(first, second, zip_high), multiply);
    }
    FAIRWAY_INLINE Ints total(int token) const {
        const Sums& from = sum[token / 2];
        if (token + 1 == Tokens && token % 2 == 0) return from.low;
        if (token % 2) return each(from.low, from.high, [](int32x4_t a, int32x4_t b) { return vuzp2q_s32(a, b); });
        return each(from.low, from.high, [](int32x4_t a, int32x4_t b) { return vuzp1q_s32(a, b); });
    }

  private:
    // Eight columns of rows 0 and 1, or of rows 2 and 3, from four and four columns of all four rows.
    static uint8x16_t zip_low(uint8x16_t first, uint8x16_t second) {
        return vreinterpretq_u8_u32(vzip1q_u32(vreinterpretq_u32_u8(first), vreinterpretq_u32_u8(second)));
    }
    static uint8x16_t zip_high(uint8x16_t first, uint8x16_t second) {
        return vreinterpretq_u8_u32(vzip2q_u32(vreinterpretq_u32_u8(first), vreinterpretq_u32_u8(second)));
    }
};

}  // namespace fairway::FAIRWAY_ISA
