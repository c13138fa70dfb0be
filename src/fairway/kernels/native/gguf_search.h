// Scales for sixteen groups of weights at once, one in each lane: gguf_search.py's arithmetic, bit for bit.
#pragma once

#include "vector.h"

namespace fairway::FAIRWAY_ISA {

constexpr float kTiny = 1e-15f;
constexpr float kHalfMax = 65504.0f;
constexpr float kLevels[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

FAIRWAY_INLINE Floats inverse(Floats x) { return select(splat(kTiny) < abs(x), splat(1.0f) / x, splat(0.0f)); }
FAIRWAY_INLINE Floats divided(Floats a, Floats b) { return select(splat(0.0f) < b, a / b, splat(0.0f)); }
FAIRWAY_INLINE Floats rounded(Floats x, float least, float most) { return max(splat(least), min(splat(most), round(x))); }

// As float16 will hold them.
inline Floats half(Floats x, std::uint16_t* out) {
    store(out, max(splat(-kHalfMax), min(splat(kHalfMax), x)) + splat(0.0f));
    return load(out);
}

// The codes of values that were divided by a scale; `stored` gives them as the format has them.
template <int kReach>
struct Centred {
    FAIRWAY_INLINE static Floats encode(Floats x) { return rounded(x, -kReach, kReach - 1); }
    FAIRWAY_INLINE static Floats stored(Floats x) { return encode(x) + splat(kReach); }
};

template <int kMost>
struct Positive {
    FAIRWAY_INLINE static Floats encode(Floats x) { return rounded(x, 0, kMost); }
    // Of what is not below 0 anyway.
    FAIRWAY_INLINE static Floats encode_positive(Floats x) { return min(splat(kMost), round(x)); }
};

// The nearest level, the upper of two, and its number.
struct NonLinear {
    FAIRWAY_INLINE static Floats encode(Floats x) {
        Floats level = splat(kLevels[0]);
        for (int i = 1; i < 16; ++i) level = level + above(x, i, kLevels[i] - kLevels[i - 1]);
        return level;
    }
    FAIRWAY_INLINE static Floats stored(Floats x) {
        Floats number = splat(0.0f);
        for (int i = 1; i < 16; ++i) number = number + above(x, i, 1.0f);
        return number;
    }

  private:
    FAIRWAY_INLINE static Floats above(Floats x, int i, float step) {
        return select(x < splat((kLevels[i] + kLevels[i - 1]) / 2), splat(0.0f), splat(step));
    }
};

// Sixteen groups of `width` weights: weight c of group g in lane g of x[c], its importance in w[c].
template <int kWidth, bool kWeighted>
struct Groups {
    Floats x[kWidth];
    Floats w[kWeighted ? kWidth : 1];

    FAIRWAY_INLINE Floats weighted(int c, Floats value) const { return kWeighted ? w[c] * value : value; }

    template <typename Body>
    FAIRWAY_INLINE Floats total(Body body) const {
        Floats sum = body(0);
        for (int c = 1; c < kWidth; ++c) sum = sum + body(c);
        return sum;
    }
    Floats weight() const {
        if (!kWeighted) return splat(kWidth);
        return total([&](int c) { return w[c]; });
    }
    void bounds(Floats& lowest, Floats& highest) const {
        lowest = highest = x[0];
        for (int c = 1; c < kWidth; ++c) {
            lowest = min(lowest, x[c]);
            highest = max(highest, x[c]);
        }
    }
};

// The value of each group that is largest in size; of two, the positive one.
template <int kWidth, bool kWeighted>
Floats extreme(const Groups<kWidth, kWeighted>& groups) {
    Floats lowest, highest;
    groups.bounds(lowest, highest);
    return select(highest < splat(0.0f) - lowest, lowest, highest);
}

// The sums over values and codes of which the best scale is the quotient.
struct Fit {
    Floats product, norm;
};

template <int kWidth, bool kWeighted, typename Value, typename Encode>
FAIRWAY_INLINE Fit fit(const Groups<kWidth, kWeighted>& groups, Value value, Encode encode) {
    Fit sums{splat(0.0f), splat(0.0f)};
    for (int c = 0; c < kWidth; ++c) {
        const Floats codes = encode(c);
        const Floats product = groups.weighted(c, value(c)) * codes, norm = groups.weighted(c, codes) * codes;
        sums = {sums.product + product, sums.norm + norm};
    }
    return sums;
}

// x = scale * code; a target is where a group's extreme lands before it is encoded.
template <typename Form, int kWidth, bool kWeighted, int kTargets>
Floats search_scale(const Groups<kWidth, kWeighted>& groups, const float (&targets)[kTargets]) {
    const Floats largest = inverse(extreme(groups));
    Floats best = splat(-1.0f), found = splat(0.0f);
    for (const float target : targets) {
        const Floats by = splat(target) * largest;
        const Fit sums = fit(groups, [&](int c) { return groups.x[c]; }, [&](int c) { return Form::encode(groups.x[c] * by); });
        const Floats scale = divided(sums.product, sums.norm), gain = sums.product * scale;
        const Mask better = best < gain;
        best = select(better, gain, best);
        found = select(better, scale, found);
    }
    return found;
}

// x = scale * code + offset, codes 0 .. kMost; with kBelowZero no offset is above 0.
template <int kMost, bool kBelowZero, int kWidth, bool kWeighted>
class Affine {
  public:
    explicit Affine(const Groups<kWidth, kWeighted>& groups) : groups_(groups) {
        Floats highest;
        groups.bounds(low_, highest);
        if (kBelowZero) low_ = min(low_, splat(0.0f));
        span_ = inverse(highest - low_);
        for (int c = 0; c < kWidth; ++c) above_[c] = groups.x[c] - low_;
        weight_ = groups.weight();
        sum_ = groups.total([&](int c) { return groups.weighted(c, above_[c]); });
    }

    template <int kSteps>
    void search(const float (&steps)[kSteps], Floats& scale, Floats& offset) {
        for (const float step : steps) {
            const Floats by = splat(kMost + step) * span_;
            try_codes([&](int c) { return Positive<kMost>::encode_positive(above_[c] * by); });
        }
        const Floats by = inverse(scale_), shift = shift_;
        try_codes([&](int c) { return Positive<kMost>::encode((above_[c] - shift) * by); });
        scale = scale_;
        offset = low_ + shift_;
    }

  private:
    // Keeps the best scale and shift for these codes, if their error is the least so far.
    template <typename Encode>
    FAIRWAY_INLINE void try_codes(Encode encode) {
        const Floats zero = splat(0.0f);
        Floats product = zero, sum = zero, norm = zero;
        for (int c = 0; c < kWidth; ++c) {
            const Floats codes = encode(c), weighted = groups_.weighted(c, codes);
            product = product + groups_.weighted(c, above_[c]) * codes;
            sum = sum + weighted;
            norm = norm + weighted * codes;
        }
        const Floats determinant = weight_ * norm - sum * sum;
        const Mask solvable = zero < determinant;
        Floats scale = select(solvable, (weight_ * product - sum * sum_) / determinant, divided(product, norm));
        Floats shift = select(solvable, (norm * sum_ - sum * product) / determinant, zero);
        if (kBelowZero) {
            const Mask over = zero < shift + low_;
            scale = select(over, divided(product + low_ * sum, norm), scale);
            shift = select(over, zero - low_, shift);
        }
        const Floats rest = sum_ - scale * sum;
        const Floats gain = scale * (product + product - scale * norm) + shift * (rest + rest - shift * weight_);
        const Mask better = best_ < gain;
        best_ = select(better, gain, best_);
        scale_ = select(better, scale, scale_);
        shift_ = select(better, shift, shift_);
    }

    const Groups<kWidth, kWeighted>& groups_;
    Floats above_[kWidth];
    Floats low_, span_, weight_, sum_;
    Floats best_ = splat(-1.0f), scale_ = splat(0.0f), shift_ = splat(0.0f);
};

}  // namespace fairway::FAIRWAY_ISA
