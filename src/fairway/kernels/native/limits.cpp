// The most that one core multiplies: chains of the very instructions that the products are made of,
// with nothing to load and nothing to wait for. Each returns how many operations it did, a
// multiplication and an addition counting as two; 0 where the processor has no such instruction.
#include "variant.h"
#include "vector.h"

namespace fairway::FAIRWAY_ISA {

namespace {

// Enough to hide a multiplication's latency, and as many as the registers hold.
constexpr int kChains = kRowTiles > 1 ? 12 : 6;
constexpr std::size_t kOperations = 2;

template <typename T>
inline void keep(const T& value) {
    asm volatile("" : : "r"(&value) : "memory");
}

}  // namespace

void read(const std::uint8_t* data, std::size_t bytes) {
    constexpr std::size_t kStreams = 4, kStep = kStreams * kLanes;
    const auto* at = reinterpret_cast<const float*>(data);
    Floats sums[kStreams];
    for (Floats& sum : sums) sum = splat(0.0f);
    for (std::size_t i = 0; i + kStep <= bytes / sizeof(float); i += kStep)
#pragma GCC unroll 4
        for (std::size_t s = 0; s < kStreams; ++s) sums[s] = sums[s] + load(at + i + s * kLanes);
    keep(sums);
}

std::size_t multiply_int8(std::size_t steps) {
    std::uint8_t line[64];
    for (int i = 0; i < 64; ++i) line[i] = static_cast<std::uint8_t>(i);
    const std::int8_t four[4] = {1, -1, 1, -1};
    Bytes weights = load_line(line);
    Dot<8, true> chains[kChains];
    for (int i = 0; i < kChains; ++i) chains[i].begin(i);
    for (std::size_t n = 0; n < steps; ++n)
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) {
            hide(weights);  // or the compiler computes a product once for all chains
            chains[i].add(weights, four);
        }
    keep(chains);
    return steps * kChains * 64 * kOperations;
}

std::size_t multiply_f32(std::size_t steps) {
    Floats chains[kChains];
    for (int i = 0; i < kChains; ++i) chains[i] = splat(static_cast<float>(i));
    const Floats x = splat(1.0f), y = splat(1e-9f);
    for (std::size_t n = 0; n < steps; ++n)
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) chains[i] = fma(x, y, chains[i]);
    keep(chains);
    return steps * kChains * kLanes * kOperations;
}

#if defined(__AVX512VNNI__)
__attribute__((target("avx512bf16"))) static std::size_t multiply_pairs(std::size_t steps) {
    __m512 chains[kChains];
    for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_ps(static_cast<float>(i));
    const auto ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    for (std::size_t n = 0; n < steps; ++n)
#pragma GCC unroll 12
        for (int i = 0; i < kChains; ++i) chains[i] = _mm512_dpbf16_ps(chains[i], ones, ones);
    keep(chains);
    return steps * kChains * 32 * kOperations;
}
#endif

std::size_t multiply_bf16(std::size_t steps) {
#if defined(__AVX512VNNI__)
    if (__builtin_cpu_supports("avx512bf16")) return multiply_pairs(steps);
#endif
    (void)steps;
    return 0;
}

}  // namespace fairway::FAIRWAY_ISA
