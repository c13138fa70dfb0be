// Scores and weighted values of a cache in int8. Queries become int8 per 32 values as activations do,
// weights times the values' scales become int16 per unit, so both sums are exact integers.
#pragma once

#include "attention.h"

namespace fairway::FAIRWAY_ISA {

class IntProducts {
  public:
    IntProducts(const Sight& sight, float* scratch) : sight_(sight), groups_(key_groups(sight.layout)) {
        scaled_ = take(scratch, groups_ * kGroup);
        q_.groups = groups_;
        q_.scales = take(scratch, sight.rows * groups_);
        q_.sums = take(scratch, sight.rows * groups_);
        q_.half_sums = take(scratch, 2 * sight.rows * groups_);
        q_.starts = reinterpret_cast<std::int32_t*>(take(scratch, sight.rows * groups_));
        q_.half_starts = reinterpret_cast<std::int32_t*>(take(scratch, 2 * sight.rows * groups_));
        q_.values = reinterpret_cast<std::int8_t*>(take(scratch, sight.rows * groups_ * kGroup / 4));
        weight_scales_ = take(scratch, sight.rows);
        inverse_ = take(scratch, sight.rows);
        weights_ = reinterpret_cast<std::int16_t*>(take(scratch, sight.rows * kUnit / 2));
    }
    static std::size_t scratch(const CacheLayout& layout, std::size_t rows) {
        const std::size_t groups = key_groups(layout);
        return groups * kGroup + rows * (groups * (7 + kGroup / 4) + 2 + kUnit / 2) + 10 * kLanes;
    }

    void load_queries() {
        const std::size_t size = sight_.layout.head_size;
        for (std::size_t r = 0; r < sight_.rows; ++r) {
            for_vectors(size, [&](std::size_t i, std::size_t n) {
                store_up_to(scaled_ + i, n, load_up_to(sight_.query(r) + i, n) * splat(sight_.task.scale));
            });
            quantize(scaled_, size, q_, r);
        }
    }

    // Weights times their values' scales as int16, relative to the row's largest weight and scale.
    void keep_weights(const Unit& unit, const float* weights, const float* tops) {
        constexpr float tiny = 7.888609052210118e-31f;  // 2^-100
        const float every = largest_scale(unit, [](std::size_t) { return lanes(0, kLanes); });
        for (std::size_t r = 0; r < sight_.rows; ++r)
            weight_scales_[r] = sight_.sees_all(r, unit) ? every : largest_scale(unit, [&](std::size_t v) { return sight_.seen(r, unit.vectors[v]); });
        for (std::size_t r = 0; r < sight_.rows; r += kLanes) {
            const Floats largest = load(weight_scales_ + r) * load(tops + r);
            const Mask none = largest < splat(tiny);
            store(weight_scales_ + r, select(none, splat(0.0f), largest / splat(32767.0f)));
            store(inverse_ + r, select(none, splat(0.0f), splat(32767.0f) / largest));
        }
        for (std::size_t r = 0; r < sight_.rows; ++r) {
            const Floats inverse = splat(inverse_[r]);
            for (std::size_t v = 0; v < unit.count; ++v) {
                const Floats weight = load(weights + r * kUnit + v * kLanes) * load(value_scales(unit.vectors[v]));
                store_int16(weights_ + r * kUnit + v * kLanes, round(weight * inverse));
            }
        }
    }

    void score(const Unit& unit, float* scores) {
        for (std::size_t v = 0; v < unit.count; v += kScoreVectors)
            score_vectors<kScoreVectors>(unit, v, smaller(kScoreVectors, unit.count - v), scores);
    }

    void collect(const Unit& unit, const float*, const float* shrink, float* values) {
        for (std::size_t d = 0; d < sight_.padded; d += kValueVectors * kLanes)
            collect_vectors<kValueVectors>(unit, d, smaller(kValueVectors, (sight_.padded - d) / kLanes), shrink, values);
    }

  private:
    static constexpr int kScoreVectors = kQueryVectors > 2 ? kQueryVectors / 2 : 1;  // their sums are kept twice
    static constexpr int kValueVectors = kQueryVectors;
    static constexpr std::size_t kGroupLines = kGroup / 4;

    const float* key_scales(const KeyVector& v) const {
        return reinterpret_cast<const float*>(v.keys + key_scales_at(sight_.layout)) + v.slot;
    }
    const float* value_scales(const KeyVector& v) const {
        return reinterpret_cast<const float*>(v.values + value_scales_at(sight_.layout)) + v.slot;
    }

    // The largest scale of the values of keys inside the masks.
    template <typename Masks>
    float largest_scale(const Unit& unit, Masks mask) const {
        Floats top = splat(0.0f);
        for (std::size_t v = 0; v < unit.count; ++v)
            top = max(select(mask(v), load(value_scales(unit.vectors[v])), splat(0.0f)), top);
        return reduce_max(top);
    }

    template <int Count>
    struct Score {
        IntProducts& self;
        const Unit& unit;
        std::size_t at;
        float* scores;
        template <int Rows>
        void call(std::size_t row) {
            self.score_block<Rows, Count>(unit, at, row, scores);
        }
    };
    template <int Count>
    void score_vectors(const Unit& unit, std::size_t at, std::size_t count, float* scores) {
        if constexpr (Count > 1) {
            if (count < Count) return score_vectors<Count - 1>(unit, at, count, scores);
        }
        for_row_blocks(sight_.rows, Score<Count>{*this, unit, at, scores});
    }

    template <int Rows, int Count>
    void score_block(const Unit& unit, std::size_t at, std::size_t row, float* scores) {
        const std::size_t stride = vectors_per_block(sight_.layout) * kCacheLine;
        const std::uint8_t *keys[Count], *next[Count];
        const float* scales[Count];
        Floats sum[Rows][Count];
#pragma GCC unroll 4
        for (int v = 0; v < Count; ++v) {
            const KeyVector& vector = unit.vectors[at + static_cast<std::size_t>(v)];
            keys[v] = vector.keys + vector.slot * 4;
            scales[v] = key_scales(vector);
            const KeyVector& after = unit.next[at + static_cast<std::size_t>(v)];
            next[v] = after.keys + after.slot * 4;
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r) sum[r][v] = splat(0.0f);
        }
        for (std::size_t g = 0; g < groups_; ++g) {
            const std::size_t index = row * groups_ + g, lines = smaller(kGroupLines, quads(sight_.layout) - g * kGroupLines);
            Dot<8, true> dot[Rows][Count];
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
                for (int v = 0; v < Count; ++v) dot[r][v].begin(q_.starts[index + static_cast<std::size_t>(r) * groups_]);
            const std::int8_t* q = q_.values + index * kGroup;
            if (row == 0) ask<Count>(next, stride, lines);
            if (lines == kGroupLines) {  // unrolled, so that the sums stay where they are
#pragma GCC unroll 8
                for (std::size_t line = 0; line < kGroupLines; ++line) add_line<Rows, Count>(dot, keys, line * stride, q + 4 * line);
            } else {
                for (std::size_t line = 0; line < lines; ++line) add_line<Rows, Count>(dot, keys, line * stride, q + 4 * line);
            }
#pragma GCC unroll 4
            for (int v = 0; v < Count; ++v) {
                const Floats scale = load(scales[v] + g * stride / sizeof(float));
#pragma GCC unroll 8
                for (int r = 0; r < Rows; ++r)
                    sum[r][v] = fma(to_floats(dot[r][v].total()), scale * splat(q_.scales[index + static_cast<std::size_t>(r) * groups_]), sum[r][v]);
                keys[v] += kGroupLines * stride;
                next[v] += kGroupLines * stride;
            }
        }
        float* out = scores + row * kUnit + at * kLanes;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < Count; ++v)
                store(out + static_cast<std::size_t>(r) * kUnit + static_cast<std::size_t>(v) * kLanes, sum[r][v]);
    }

    // One line of 4 values of 16 keys.
    template <int Rows, int Count>
    void add_line(Dot<8, true> (&dot)[Rows][Count], const std::uint8_t* const (&keys)[Count], std::size_t at,
                  const std::int8_t* q) const {
        Bytes bytes[Count];
#pragma GCC unroll 4
        for (int v = 0; v < Count; ++v) bytes[v] = load_line(keys[v] + at);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < Count; ++v) dot[r][v].add(bytes[v], q + static_cast<std::size_t>(r) * groups_ * kGroup);
    }

    template <int Count>
    static void ask(const std::uint8_t* const (&next)[Count], std::size_t stride, std::size_t lines) {
        for (int v = 0; v < Count; ++v)
            for (std::size_t line = 0; line < lines; ++line) prefetch(next[v] + line * stride);
    }

    template <int Count>
    struct Collect {
        IntProducts& self;
        const Unit& unit;
        std::size_t d;
        const float* shrink;
        float* values;
        template <int Rows>
        void call(std::size_t row) {
            self.collect_block<Rows, Count>(unit, d, row, shrink, values);
        }
    };
    template <int Count>
    void collect_vectors(const Unit& unit, std::size_t d, std::size_t count, const float* shrink, float* values) {
        if constexpr (Count > 1) {
            if (count < Count) return collect_vectors<Count - 1>(unit, d, count, shrink, values);
        }
        for_row_blocks(sight_.rows, Collect<Count>{*this, unit, d, shrink, values});
    }

    template <int Rows, int Count>
    void collect_block(const Unit& unit, std::size_t d, std::size_t row, const float* shrink, float* values) {
        const std::size_t padded = sight_.padded;
        PairDot sum[Rows][Count];
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < Count; ++c) sum[r][c].begin();
        for (std::size_t v = 0; v < unit.count; ++v) {
            const auto* codes = reinterpret_cast<const std::int8_t*>(unit.vectors[v].values) + unit.vectors[v].slot * padded + 2 * d;
            const std::uint8_t* next = unit.next[v].values + unit.next[v].slot * padded + 2 * d;
            const std::int16_t* weights = weights_ + row * kUnit + v * kLanes;
            const std::size_t begin = unit.first_key[v] / 2 * 2, end = unit.end_key[v];
            if (row == 0)
                for (std::size_t lane = 0; lane < end; lane += 2)
                    for (std::size_t at = 0; at < Count * 2 * kLanes; at += kCacheLine) prefetch(next + lane * padded + at);
            if (begin == 0 && end == kLanes) {  // unrolled, so that the sums stay where they are
#pragma GCC unroll 8
                for (std::size_t lane = 0; lane < kLanes; lane += 2) add_pair<Rows, Count>(sum, codes + lane * padded, weights + lane);
            } else {
                for (std::size_t lane = begin; lane < end; lane += 2) add_pair<Rows, Count>(sum, codes + lane * padded, weights + lane);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < Count; ++c) {
                float* out = values + (row + static_cast<std::size_t>(r)) * padded + d + static_cast<std::size_t>(c) * kLanes;
                const Floats scale = splat(weight_scales_[row + static_cast<std::size_t>(r)]);
                store(out, fma(to_floats(sum[r][c].total()), scale, load(out) * splat(shrink[row + static_cast<std::size_t>(r)])));
            }
    }

    // Two keys.
    template <int Rows, int Count>
    static void add_pair(PairDot (&sum)[Rows][Count], const std::int8_t* codes, const std::int16_t* weights) {
        Pairs pairs[Count];
#pragma GCC unroll 4
        for (int c = 0; c < Count; ++c) pairs[c] = load_pairs(codes + static_cast<std::size_t>(c) * 2 * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < Count; ++c) sum[r][c].add(pairs[c], weights + static_cast<std::size_t>(r) * kUnit);
    }

    const Sight& sight_;
    const std::size_t groups_;
    float* scaled_;          // one query
    Quantized q_;            // [rows]
    float* weight_scales_;   // [rows], of the unit
    float* inverse_;         // [rows]
    std::int16_t* weights_;  // [rows][kUnit]
};

}  // namespace fairway::FAIRWAY_ISA
