// Integer products on Arm's dot product instruction (SDOT), signed by signed: codes of fewer than 8
// bits are signed bytes as they are, those of 8 lose their 128 on the way and need no start.
#pragma once

#include "vector_neon.h"

namespace fairway::FAIRWAY_ISA {

template <int Bits, bool Centred>
struct Dot {
    Ints sum;
    FAIRWAY_INLINE void begin(std::int32_t start) { sum = splat_int(Bits != 8 && Centred ? start * (1 << (Bits - 4)) : 0); }
    FAIRWAY_INLINE void add(Bytes weights, const std::int8_t* x) {
        const int8x8_t four = vreinterpret_s8_s32(load_four_bytes(x));
        sum = each(sum, weights, [four](int32x4_t s, uint8x16_t w) { return vdotq_lane_s32(s, code(w), four, 0); });
    }
    FAIRWAY_INLINE Ints total() const { return sum; }

  private:
    static FAIRWAY_INLINE int8x16_t code(uint8x16_t w) {
        return vreinterpretq_s8_u8(Bits == 8 ? veorq_u8(w, vdupq_n_u8(0x80)) : w);
    }
};

}  // namespace fairway::FAIRWAY_ISA

#include "dots.h"
