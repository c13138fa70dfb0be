// exp, tanh and erf on sixteen lanes. Fixed sequences of operations: the same input gives the same
// bits wherever it stands. Coefficients are least-maximum fits made for these intervals.
#pragma once

#include "vector.h"

namespace fairway::FAIRWAY_ISA {

// Within 2 ulp on [-87.3, 88.3]; exactly 0 below, held at exp(88.37) above; exp(0) is exactly 1.
[[gnu::always_inline]] inline Floats exp(Floats x) {
    const Floats lowest = splat(-87.33f);
    const Floats held = max(lowest, min(splat(88.37f), x));
    const Floats n = round(held * splat(1.44269504f));
    Floats r = fma(n, splat(-0.693359375f), held);
    r = fma(n, splat(2.12194440e-4f), r);
    Floats p = splat(0.001381446490995586f);
    p = fma(p, r, splat(0.008368780836462975f));
    p = fma(p, r, splat(0.04166839271783829f));
    p = fma(p, r, splat(0.1666651964187622f));
    p = fma(p, r, splat(0.4999999403953552f));
    p = fma(p, r * r, r) + splat(1.0f);
    return select(x < lowest, splat(0.0f), p * power_of_two(n));
}

inline Floats sigmoid(Floats x) { return splat(1.0f) / (splat(1.0f) + exp(splat(0.0f) - x)); }

inline Floats tanh(Floats x) {
    const Floats size = abs(x), square = x * x;
    Floats p = splat(-0.005704990588128567f);
    p = fma(p, square, splat(0.020639091730117798f));
    p = fma(p, square, splat(-0.05373971536755562f));
    p = fma(p, square, splat(0.13331441581249237f));
    p = fma(p, square, splat(-0.3333328068256378f));
    const Floats near = fma(p * square, x, x);
    const Floats far = splat(1.0f) - splat(2.0f) / (exp(size + size) + splat(1.0f));
    return select(size < splat(0.625f), near, copy_sign(far, x));
}

// 1 - exp(-x^2) * q(1 / (1 + 0.47 |x|)), absolute error below 1e-7.
inline Floats erf(Floats x) {
    const Floats size = abs(x);
    const Floats t = splat(1.0f) / fma(splat(0.47f), size, splat(1.0f));
    Floats q = splat(0.08548079431056976f);
    q = fma(q, t, splat(-0.4060106575489044f));
    q = fma(q, t, splat(0.578317403793335f));
    q = fma(q, t, splat(-0.09463377296924591f));
    q = fma(q, t, splat(0.3172747790813446f));
    q = fma(q, t, splat(0.25405874848365784f));
    q = fma(q, t, splat(0.26551270484924316f));
    const Floats tail = exp(splat(0.0f) - size * size) * q * t;
    return copy_sign(splat(1.0f) - tail, x);
}

}  // namespace fairway::FAIRWAY_ISA
