// The vector vocabulary of the instruction set that this file is compiled for. CMake sets per target
// FAIRWAY_ISA, which names its namespace, and the header that speaks it; nothing from the standard
// library's templates may be used in these files, or the linker could give another variant's code to
// a lesser machine.
#pragma once

// For the innermost pieces, whose sums live in registers only where they are one function.
#define FAIRWAY_INLINE inline __attribute__((always_inline))

#include FAIRWAY_DOTS_HEADER

#include "kernels.h"

namespace fairway::FAIRWAY_ISA {

constexpr std::size_t kLanes = kTile;

constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

// Calls body(first, count) for each vector of `width` values; the last may be short.
template <typename Body>
inline void for_vectors(std::size_t width, Body body) {
    for (std::size_t i = 0; i < width; i += kLanes) body(i, smaller(kLanes, width - i));
}

// Scales of weights that powers of two will multiply: by their exponents, where that is faster.
#ifndef FAIRWAY_HAS_EXPONENTS
struct Exponents {
    Floats scale;
};
inline Exponents exponents(Floats scale) { return {scale}; }
inline Floats scaled(Exponents scale, const float* power) { return scale.scale * splat(*power); }
#endif

inline Floats load_up_to(const float* p, std::size_t n) { return n == kLanes ? load(p) : load_first(p, n); }
inline void store_up_to(float* p, std::size_t n, Floats x) {
    if (n == kLanes)
        store(p, x);
    else
        store_first(p, n, x);
}

}  // namespace fairway::FAIRWAY_ISA
