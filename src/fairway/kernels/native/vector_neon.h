// Sixteen lanes as four quarters on AArch64: the same vocabulary as vector_avx512.h. Where NEON has
// an instruction of a slightly other meaning (minima with NaN, the order of a sum), the meaning wins.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fairway::FAIRWAY_ISA {

constexpr int kRowTiles = 1;
constexpr int kTokens = 4;
constexpr int kDenseTiles = 1;
constexpr int kDenseTokens = 6;
constexpr int kQueryRows = 3;
constexpr int kQueryVectors = 2;

template <typename Quarter>
struct Quarters {
    Quarter a, b, c, d;
};
using Floats = Quarters<float32x4_t>;
using Ints = Quarters<int32x4_t>;
using Bytes = Quarters<uint8x16_t>;
using Mask = Quarters<uint32x4_t>;
struct Halves {
    int16x8_t a, b;
};
struct Pairs {  // of int16
    Halves even, odd;
};

template <typename A, typename Operation>
inline auto each(A x, Operation operation) {
    return Quarters<decltype(operation(x.a))>{operation(x.a), operation(x.b), operation(x.c), operation(x.d)};
}
template <typename A, typename B, typename Operation>
inline auto each(A x, B y, Operation operation) {
    return Quarters<decltype(operation(x.a, y.a))>{operation(x.a, y.a), operation(x.b, y.b), operation(x.c, y.c),
                                                   operation(x.d, y.d)};
}

using F4 = float32x4_t;
inline F4 smaller_of(F4 x, F4 y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
inline F4 larger_of(F4 x, F4 y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }

// lane < n, as all ones or zeros; n may be any integer.
inline Mask lanes_below(std::int64_t n) {
    const int32x4_t bound = vdupq_n_s32(n < 0 ? 0 : n > 16 ? 16 : static_cast<std::int32_t>(n));
    const int32x4_t lane = {0, 1, 2, 3};
    const auto below = [&](int first) { return vcgtq_s32(bound, vaddq_s32(lane, vdupq_n_s32(first))); };
    return {below(0), below(4), below(8), below(12)};
}

inline Floats splat(float x) {
    const F4 v = vdupq_n_f32(x);
    return {v, v, v, v};
}
inline Floats load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
inline Floats load(const std::uint16_t* p) {  // float16
    const auto quarter = [](const std::uint16_t* at) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))); };
    return {quarter(p), quarter(p + 4), quarter(p + 8), quarter(p + 12)};
}
inline Floats load_bf16(const std::uint16_t* p) {
    const auto quarter = [](const std::uint16_t* at) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(at), 16)); };
    return {quarter(p), quarter(p + 4), quarter(p + 8), quarter(p + 12)};
}
inline void load_two_bf16(const void* p, Floats& first, Floats& second) {  // a pair in each lane
    const auto* words = static_cast<const std::uint32_t*>(p);
    const Quarters<uint32x4_t> both = {vld1q_u32(words), vld1q_u32(words + 4), vld1q_u32(words + 8), vld1q_u32(words + 12)};
    first = each(both, [](uint32x4_t q) { return vreinterpretq_f32_u32(vshlq_n_u32(q, 16)); });
    second = each(both, [](uint32x4_t q) { return vreinterpretq_f32_u32(vandq_u32(q, vdupq_n_u32(0xffff0000u))); });
}
inline void store(float* p, Floats x) {
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
    vst1q_f32(p + 8, x.c);
    vst1q_f32(p + 12, x.d);
}
inline void store(std::uint16_t* p, Floats x) {  // float16
    const auto quarter = [](std::uint16_t* at, F4 v) { vst1_u16(at, vreinterpret_u16_f16(vcvt_f16_f32(v))); };
    quarter(p, x.a);
    quarter(p + 4, x.b);
    quarter(p + 8, x.c);
    quarter(p + 12, x.d);
}
// No masked loads here: the last values of a row pass through memory of their own.
inline Floats load_first(const float* p, std::size_t n) {
    float lane[16] = {};
    std::memcpy(lane, p, n * sizeof(float));
    return load(lane);
}
inline void store_first(float* p, std::size_t n, Floats x) {
    float lane[16];
    store(lane, x);
    std::memcpy(p, lane, n * sizeof(float));
}

inline Floats operator+(Floats x, Floats y) { return each(x, y, [](F4 p, F4 q) { return vaddq_f32(p, q); }); }
inline Floats operator-(Floats x, Floats y) { return each(x, y, [](F4 p, F4 q) { return vsubq_f32(p, q); }); }
inline Floats operator*(Floats x, Floats y) { return each(x, y, [](F4 p, F4 q) { return vmulq_f32(p, q); }); }
inline Floats operator/(Floats x, Floats y) { return each(x, y, [](F4 p, F4 q) { return vdivq_f32(p, q); }); }
inline Floats fma(Floats x, Floats y, Floats z) {
    return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
// min and max return y where either is NaN.
inline Floats min(Floats x, Floats y) { return each(x, y, smaller_of); }
inline Floats max(Floats x, Floats y) { return each(x, y, larger_of); }
inline Floats square_root(Floats x) { return each(x, [](F4 p) { return vsqrtq_f32(p); }); }
inline Floats abs(Floats x) { return each(x, [](F4 p) { return vabsq_f32(p); }); }
inline Floats copy_sign(Floats size, Floats from) {
    return each(size, from, [](F4 s, F4 f) { return vbslq_f32(vdupq_n_u32(0x80000000u), f, s); });
}
inline Floats round(Floats x) { return each(x, [](F4 p) { return vrndnq_f32(p); }); }
inline Floats power_of_two(Floats n) {  // n whole, -126 .. 127
    return each(n, [](F4 p) {
        return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(p), vdupq_n_s32(127)), 23));
    });
}
inline Mask operator<(Floats x, Floats y) { return each(x, y, [](F4 p, F4 q) { return vcltq_f32(p, q); }); }
inline Mask lanes(std::int64_t begin, std::int64_t end) {  // begin <= lane < end, any integers
    return each(lanes_below(end), lanes_below(begin), [](uint32x4_t e, uint32x4_t b) { return vbicq_u32(e, b); });
}
inline bool all(Mask m) { return vminvq_u32(vandq_u32(vandq_u32(m.a, m.b), vandq_u32(m.c, m.d))) != 0; }
inline bool any(Mask m) { return vmaxvq_u32(vorrq_u32(vorrq_u32(m.a, m.b), vorrq_u32(m.c, m.d))) != 0; }
inline Floats select(Mask m, Floats yes, Floats no) {
    return {vbslq_f32(m.a, yes.a, no.a), vbslq_f32(m.b, yes.b, no.b), vbslq_f32(m.c, yes.c, no.c),
            vbslq_f32(m.d, yes.d, no.d)};
}

// Halves onto halves, as everywhere.
inline float reduce_add(Floats x) {
    const F4 four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float reduce_max(Floats x) {
    F4 four = larger_of(larger_of(x.a, x.c), larger_of(x.b, x.d));
    four = larger_of(four, vextq_f32(four, four, 2));
    return vgetq_lane_f32(larger_of(four, vextq_f32(four, four, 1)), 0);
}

inline float first_lane(Floats x) { return vgetq_lane_f32(x.a, 0); }

// Sixteen int8 from whole floats; and the sum of those.
inline void store_int8(std::int8_t* p, Floats x) {
    const Ints whole = each(x, [](F4 v) { return vcvtnq_s32_f32(v); });
    const int16x8_t low = vcombine_s16(vqmovn_s32(whole.a), vqmovn_s32(whole.b));
    const int16x8_t high = vcombine_s16(vqmovn_s32(whole.c), vqmovn_s32(whole.d));
    vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
inline std::int32_t sum_int8(const std::int8_t* p) { return vaddlvq_s8(vld1q_s8(p)); }

inline void store_int16(std::int16_t* p, Floats x) {  // whole
    const Ints whole = each(x, [](F4 v) { return vcvtnq_s32_f32(v); });
    vst1q_s16(p, vcombine_s16(vqmovn_s32(whole.a), vqmovn_s32(whole.b)));
    vst1q_s16(p + 8, vcombine_s16(vqmovn_s32(whole.c), vqmovn_s32(whole.d)));
}
inline Pairs load_pairs(const std::int8_t* p) {
    const int8x16x2_t split = vld2q_s8(p);
    const auto wide = [](int8x16_t x) { return Halves{vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x)}; };
    return {wide(split.val[0]), wide(split.val[1])};
}

inline Floats to_floats(Ints x) { return each(x, [](int32x4_t p) { return vcvtq_f32_s32(p); }); }
inline Bytes load_line(const std::uint8_t* p) { return {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}; }
inline void hide(Bytes& x) { asm volatile("" : "+w"(x.a), "+w"(x.b), "+w"(x.c), "+w"(x.d)); }  // its value, from the compiler
inline Bytes low_halves(Bytes x) { return each(x, [](uint8x16_t p) { return vandq_u8(p, vdupq_n_u8(15)); }); }
inline Bytes high_halves(Bytes x) { return each(x, [](uint8x16_t p) { return vshrq_n_u8(p, 4); }); }
// Codes of more than four bits: `count` bits of `high`, from bit `from` on, above the four of `low`.
template <int count>
inline Bytes with_high_bits(Bytes low, Bytes high, int from) {
    const int8x16_t left = vdupq_n_s8(static_cast<std::int8_t>(4 - from));  // to the right where it is negative
    return each(low, high, [left](uint8x16_t a, uint8x16_t b) {
        return vorrq_u8(a, vandq_u8(vshlq_u8(b, left), vdupq_n_u8(((1 << count) - 1) << 4)));
    });
}
// Into the second-level cache.
inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

inline Ints splat_int(std::int32_t x) {
    const int32x4_t v = vdupq_n_s32(x);
    return {v, v, v, v};
}
inline int32x2_t load_four_bytes(const void* x) {
    std::int32_t bytes;
    std::memcpy(&bytes, x, 4);
    return vdup_n_s32(bytes);
}

// Sums products of pairs with the same two numbers, both added to the pair's lane.
struct PairDot {
    Ints sum;
    FAIRWAY_INLINE void begin() { sum = splat_int(0); }
    FAIRWAY_INLINE void add(Pairs values, const std::int16_t* x) {
        const int16x4_t two = vreinterpret_s16_s32(load_four_bytes(x));
        const Halves &e = values.even, &o = values.odd;
        sum.a = vmlal_lane_s16(vmlal_lane_s16(sum.a, vget_low_s16(e.a), two, 0), vget_low_s16(o.a), two, 1);
        sum.b = vmlal_lane_s16(vmlal_lane_s16(sum.b, vget_high_s16(e.a), two, 0), vget_high_s16(o.a), two, 1);
        sum.c = vmlal_lane_s16(vmlal_lane_s16(sum.c, vget_low_s16(e.b), two, 0), vget_low_s16(o.b), two, 1);
        sum.d = vmlal_lane_s16(vmlal_lane_s16(sum.d, vget_high_s16(e.b), two, 0), vget_high_s16(o.b), two, 1);
    }
    FAIRWAY_INLINE Ints total() const { return sum; }
};

}  // namespace fairway::FAIRWAY_ISA
