// Float rows to the blocks of ggml's types: gguf_reference.py's arithmetic, bit for bit. Weights pass in
// chunks of sixteen groups, whatever the rows: a block never spans two of them.
#include "gguf_layout.h"
#include "gguf_search.h"
#include "variant.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr std::size_t kGroups = kLanes;
constexpr std::size_t kBlock = 256;
constexpr std::size_t kMostChunk = 32 * kGroups;
constexpr float kAboveHalfMax = 65504.00390625f;

constexpr float kThreeBits[] = {-4.0f, -3.6f, -4.4f, -3.3f, -4.8f, -3.0f};
constexpr float kFourBits[] = {-8.0f, -7.7f, -8.3f, -7.4f, -7.1f, -8.7f};
constexpr float kFiveBits[] = {-16.0f, -15.7f, -16.3f, -15.4f, -15.1f, -16.7f};
constexpr float kSixBits[] = {-33.2f, -32.9f, -32.6f, -32.3f, -32.0f, -31.7f,
                              -31.4f, -31.1f, -30.8f, -30.5f, -30.2f, -29.9f};
constexpr float kNonLinear[] = {-127.0f, 113.0f, -120.0f, -134.0f, 106.0f, 120.0f};
constexpr float kSteps[] = {-1.5f, -1.25f, -1.0f, -0.75f, -0.5f, -0.25f, 0.0f, 0.25f, 0.5f, 0.75f, 1.0f};
constexpr float kFewSteps[] = {-1.25f, -0.75f, -0.25f, 0.25f, 0.75f};
constexpr float kTwoBitSteps[] = {-0.5f, -0.25f, 0.0f, 0.25f, 0.5f};

using Halves = const std::uint16_t*;
using Codes = const Byte*;

// Sixteen groups of weights in order, and their importance where there is any.
struct Chunk {
    float x[kMostChunk];
    float w[kMostChunk];
    std::size_t num_weights;  // the rest are zeros
};

template <int kWidth>
void turn(const float* groups, Floats* columns) {
    float turned[kWidth][kLanes];
    for (std::size_t g = 0; g < kGroups; ++g)
        for (int c = 0; c < kWidth; ++c) turned[c][g] = groups[g * kWidth + c];
    for (int c = 0; c < kWidth; ++c) columns[c] = load(turned[c]);
}

template <int kWidth, bool kWeighted>
void turn(const Chunk& chunk, Groups<kWidth, kWeighted>& groups) {
    turn<kWidth>(chunk.x, groups.x);
    if (kWeighted) turn<kWidth>(chunk.w, groups.w);
}

// Codes of the weights in order: `encode` takes them with their group's number.
template <int kWidth, typename Encode>
void encode_in_order(const Chunk& chunk, Byte* codes, Encode encode) {
    for (std::size_t g = 0; g < kGroups; ++g)
        for (int c = 0; c < kWidth; c += static_cast<int>(kLanes)) {
            const std::size_t at = g * kWidth + static_cast<std::size_t>(c);
            store_int8(reinterpret_cast<std::int8_t*>(codes + at), encode(load(chunk.x + at), g));
        }
}

struct Lanes {
    float at[kLanes];
    explicit Lanes(Floats x) { store(at, x); }
    Floats all() const { return load(at); }
};

void store_bytes(Byte* out, Floats whole) { store_int8(reinterpret_cast<std::int8_t*>(out), whole); }

// Groups of 32 that are blocks of their own.

void q8_0(const Chunk& chunk, Byte* out) {
    Lanes largest(splat(0.0f));
    for (std::size_t g = 0; g < kGroups; ++g)
        largest.at[g] = reduce_max(max(abs(load(chunk.x + 32 * g)), abs(load(chunk.x + 32 * g + kLanes))));
    std::uint16_t halves[kLanes];
    const Lanes by(inverse(half(largest.all() / splat(127.0f), halves)));
    Byte codes[kMostChunk];
    encode_in_order<32>(chunk, codes, [&](Floats x, std::size_t g) { return rounded(x * splat(by.at[g]), -127, 127); });
    for (std::size_t g = 0; g * 32 < chunk.num_weights; ++g) out = put(put(out, halves + g, 2), codes + 32 * g, 32);
}

template <typename Form, bool kFive, bool kWeighted, int kTargets>
void scaled(const Chunk& chunk, Byte* out, const float (&targets)[kTargets]) {
    Groups<32, kWeighted> groups;
    turn(chunk, groups);
    std::uint16_t halves[kLanes];
    const Lanes by(inverse(half(search_scale<Form>(groups, targets), halves)));
    Byte codes[kMostChunk];
    encode_in_order<32>(chunk, codes, [&](Floats x, std::size_t g) { return Form::stored(x * splat(by.at[g])); });
    for (std::size_t g = 0; g * 32 < chunk.num_weights; ++g) {
        out = put(out, halves + g, 2);
        if (kFive) out = put_fifth_bits(out, codes + 32 * g);
        out = put_nibbles(out, codes + 32 * g, 32, 16);
    }
}

template <int kMost, bool kWeighted>
void affine(const Chunk& chunk, Byte* out) {
    Groups<32, kWeighted> groups;
    turn(chunk, groups);
    Floats scale, offset;
    Affine<kMost, false, 32, kWeighted>(groups).search(kFewSteps, scale, offset);
    std::uint16_t scales[kLanes], offsets[kLanes];
    const Lanes by(inverse(half(scale, scales))), from(half(offset, offsets));
    Byte codes[kMostChunk];
    encode_in_order<32>(chunk, codes, [&](Floats x, std::size_t g) {
        return Positive<kMost>::encode((x - splat(from.at[g])) * splat(by.at[g]));
    });
    for (std::size_t g = 0; g * 32 < chunk.num_weights; ++g) {
        out = put(put(out, scales + g, 2), offsets + g, 2);
        if (kMost > 15) out = put_fifth_bits(out, codes + 32 * g);
        out = put_nibbles(out, codes + 32 * g, 32, 16);
    }
}

// Blocks of 256 whose groups have scales of a few bits, counted in steps.

// A float16 for each block, in the lanes of its groups.
struct Steps {
    std::uint16_t halves[kLanes];
    Floats each;
    Floats inverse_each;
};

// The nearest float16 that are not smaller in size.
Steps steps_of(const Lanes& exact) {
    Steps steps;
    store(steps.halves, exact.all() + splat(0.0f));
    const Lanes near(load(steps.halves));
    for (std::size_t i = 0; i < kLanes; ++i) {
        const float size = near.at[i] < 0 ? -near.at[i] : near.at[i];
        if (size < exact.at[i] || size < -exact.at[i]) ++steps.halves[i];
    }
    steps.each = load(steps.halves);
    steps.inverse_each = inverse(steps.each);
    return steps;
}

// `choose` takes a block's least and largest value and gives the exact step.
template <int kPerBlock, typename Choose>
Steps steps_of_blocks(Floats values, Choose choose) {
    Lanes lanes(values);
    for (std::size_t first = 0; first < kLanes; first += kPerBlock) {
        float least = lanes.at[first], most = least;
        for (std::size_t i = first; i < first + kPerBlock; ++i) {
            least = lanes.at[i] < least ? lanes.at[i] : least;
            most = lanes.at[i] > most ? lanes.at[i] : most;
        }
        const float step = choose(least, most);
        for (std::size_t i = first; i < first + kPerBlock; ++i) lanes.at[i] = step;
    }
    return steps_of(lanes);
}

// Scales -kReach .. kReach - 1; `write` takes a block's float16 step, its scales plus `zero`, its codes.
template <typename Form, int kReach, int kWidth, bool kWeighted, int kTargets, typename Write>
void scaled_blocks(const Chunk& chunk, const float (&targets)[kTargets], float zero, Write write) {
    Groups<kWidth, kWeighted> groups;
    turn(chunk, groups);
    const Floats exact = search_scale<Form>(groups, targets);
    const Steps steps = steps_of_blocks<kBlock / kWidth>(exact, [](float least, float most) {
        return (most >= -least ? most : least) / -static_cast<float>(kReach);
    });
    const auto whole = [&](Floats scale) { return rounded(scale * steps.inverse_each, -kReach, kReach - 1); };
    // A rounded scale has other codes, and these another best scale.
    const Floats rough = inverse(steps.each * whole(exact));
    const Fit sums = fit(groups, [&](int c) { return groups.x[c]; }, [&](int c) { return Form::encode(groups.x[c] * rough); });
    const Floats scale = whole(divided(sums.product, sums.norm));
    const Lanes by(inverse(steps.each * scale));
    Byte scales[kLanes], codes[kMostChunk];
    store_bytes(scales, scale + splat(zero));
    encode_in_order<kWidth>(chunk, codes, [&](Floats x, std::size_t g) { return Form::stored(x * splat(by.at[g])); });
    for (std::size_t at = 0; at < chunk.num_weights; at += kBlock)
        write(steps.halves + at / kWidth, scales + at / kWidth, codes + at);
}

template <bool kWeighted>
void q3_k(const Chunk& chunk, Byte* out) {
    scaled_blocks<Centred<4>, 32, 16, kWeighted>(chunk, kThreeBits, 32, [&](Halves step, Codes scales, Codes codes) {
        out = put_crumbs(put_bits(out, codes, 2), codes, 0);
        out = put(put_six_bits(out, scales), step, 2);
    });
}

template <bool kWeighted>
void q6_k(const Chunk& chunk, Byte* out) {
    scaled_blocks<Centred<32>, 128, 16, kWeighted>(chunk, kSixBits, 0, [&](Halves step, Codes scales, Codes codes) {
        out = put_crumbs(put_nibbles(out, codes, kBlock, 64), codes, 4);
        out = put(put(out, scales, 16), step, 2);
    });
}

template <bool kWeighted>
void iq4_xs(const Chunk& chunk, Byte* out) {
    scaled_blocks<NonLinear, 32, 32, kWeighted>(chunk, kNonLinear, 32, [&](Halves step, Codes scales, Codes codes) {
        out = put_six_bits_of_eight(put(out, step, 2), scales);
        out = put_nibbles(out, codes, kBlock, 16);
    });
}

// Scales and minimums 0 .. kReach; `write` takes a block's float16 steps of both, both, and its codes.
template <int kMost, int kReach, int kWidth, bool kWeighted, int kTries, typename Write>
void affine_blocks(const Chunk& chunk, const float (&tries)[kTries], Write write) {
    Groups<kWidth, kWeighted> groups;
    turn(chunk, groups);
    Floats exact, offset;
    Affine<kMost, true, kWidth, kWeighted>(groups).search(tries, exact, offset);
    const auto largest = [](float, float most) { return (most > 0 ? most : 0) / static_cast<float>(kReach); };
    const Floats depth = splat(0.0f) - offset;
    const Steps steps = steps_of_blocks<kBlock / kWidth>(exact, largest);
    const Steps falls = steps_of_blocks<kBlock / kWidth>(depth, largest);
    const auto whole = [](Floats value, const Steps& of) { return rounded(value * of.inverse_each, 0, kReach); };
    Floats scale = whole(exact, steps), fall = falls.each * whole(depth, falls);
    // Rounding moved both: with the codes that follow, first the best minimums, then the best scales.
    Floats step = steps.each * scale, by = inverse(step);
    const Floats excess = groups.total([&](int c) {
        return groups.weighted(c, step * Positive<kMost>::encode((groups.x[c] + fall) * by) - groups.x[c]);
    });
    const Floats minimum = whole(divided(excess, groups.weight()), falls);
    fall = falls.each * minimum;
    const auto moved = [&](int c) { return groups.x[c] + fall; };
    const Fit sums = fit(groups, moved, [&](int c) { return Positive<kMost>::encode(moved(c) * by); });
    scale = whole(divided(sums.product, sums.norm), steps);
    const Lanes inverses(inverse(steps.each * scale)), depths(fall);
    Byte scales[kLanes], minimums[kLanes], codes[kMostChunk];
    store_bytes(scales, scale);
    store_bytes(minimums, minimum);
    encode_in_order<kWidth>(chunk, codes, [&](Floats x, std::size_t g) {
        return Positive<kMost>::encode((x + splat(depths.at[g])) * splat(inverses.at[g]));
    });
    for (std::size_t at = 0; at < chunk.num_weights; at += kBlock) {
        const std::size_t g = at / kWidth;
        const std::uint16_t both[] = {steps.halves[g], falls.halves[g]};
        write(both, scales + g, minimums + g, codes + at);
    }
}

template <bool kWeighted>
void q2_k(const Chunk& chunk, Byte* out) {
    affine_blocks<3, 15, 16, kWeighted>(chunk, kTwoBitSteps, [&](Halves steps, Codes scales, Codes minimums, Codes codes) {
        for (int i = 0; i < 16; ++i) *out++ = static_cast<Byte>(scales[i] | minimums[i] << 4);
        out = put(put_crumbs(out, codes, 0), steps, 4);
    });
}

template <bool kFive, bool kWeighted>
void q45_k(const Chunk& chunk, Byte* out) {
    constexpr int kMost = kFive ? 31 : 15;
    affine_blocks<kMost, 63, 32, kWeighted>(chunk, kSteps, [&](Halves steps, Codes scales, Codes minimums, Codes codes) {
        out = put_six_bit_pairs(put(out, steps, 4), scales, minimums);
        if (kFive) out = put_bits(out, codes, 4);
        out = put_nibbles(out, codes, kBlock, 32);
    });
}

template <bool kWeighted>
void quantize_chunk(BlockType type, const Chunk& chunk, Byte* out) {
    switch (type) {
        case BlockType::q8_0: return q8_0(chunk, out);
        case BlockType::q4_0: return scaled<Centred<8>, false, kWeighted>(chunk, out, kFourBits);
        case BlockType::q4_1: return affine<15, kWeighted>(chunk, out);
        case BlockType::q5_0: return scaled<Centred<16>, true, kWeighted>(chunk, out, kFiveBits);
        case BlockType::q5_1: return affine<31, kWeighted>(chunk, out);
        case BlockType::q2_k: return q2_k<kWeighted>(chunk, out);
        case BlockType::q3_k: return q3_k<kWeighted>(chunk, out);
        case BlockType::q4_k: return q45_k<false, kWeighted>(chunk, out);
        case BlockType::q5_k: return q45_k<true, kWeighted>(chunk, out);
        case BlockType::q6_k: return q6_k<kWeighted>(chunk, out);
        case BlockType::iq4_nl: return scaled<NonLinear, false, kWeighted>(chunk, out, kNonLinear);
        case BlockType::iq4_xs: return iq4_xs<kWeighted>(chunk, out);
    }
}

// Whether every weight is a number that float16 could hold.
bool fill(Chunk& chunk, const BlockTask& task, std::size_t first, std::size_t count) {
    const std::size_t bytes = task.source == WeightType::f32 ? 4 : 2;
    to_floats(task.source, static_cast<const Byte*>(task.values) + first * bytes, count, chunk.x);
    chunk.num_weights = count;
    for (std::size_t at = 0; task.importance && at < count; at += 32)
        std::memcpy(chunk.w + at, task.importance + (first + at) % task.columns, 32 * sizeof(float));
    Floats misfits = splat(0.0f);
    for (std::size_t at = 0; at < count; at += kLanes)
        misfits = misfits + select(abs(load(chunk.x + at)) < splat(kAboveHalfMax), splat(0.0f), splat(1.0f));
    return reduce_max(misfits) == 0;
}

}  // namespace

bool quantize_blocks(const BlockTask& task) {
    Chunk chunk{};
    const BlockShape shape = shape_of(task.type);
    const std::size_t step = kGroups * shape.group;
    for (std::size_t first = 0; first < task.count; first += step) {
        if (!fill(chunk, task, first, smaller(step, task.count - first))) return false;
        Byte* out = task.out + first / shape.size * shape.bytes;
        if (task.importance)
            quantize_chunk<true>(task.type, chunk, out);
        else
            quantize_chunk<false>(task.type, chunk, out);
    }
    return true;
}

}  // namespace fairway::FAIRWAY_ISA
