// Scores and weighted values of a cache in float32 or float16: one fused multiply-add per value, in
// rising order of values for scores and of keys for sums.
#pragma once

#include "attention.h"

namespace fairway::FAIRWAY_ISA {

template <typename Element>
class FloatProducts {
  public:
    FloatProducts(const Sight& sight, float* scratch) : sight_(sight), q_(scratch) {}
    static std::size_t scratch(const CacheLayout& layout, std::size_t rows) { return rows * layout.head_size + kLanes; }

    void load_queries() {
        const std::size_t size = sight_.layout.head_size;
        for (std::size_t r = 0; r < sight_.rows; ++r)
            for_vectors(size, [&](std::size_t i, std::size_t n) {
                store_up_to(q_ + r * size + i, n, load_up_to(sight_.query(r) + i, n) * splat(sight_.task.scale));
            });
    }

    void keep_weights(const Unit&, const float*, const float*) {}

    // scores[row][16 * v ...] = q . k
    void score(const Unit& unit, float* scores) {
        for (std::size_t v = 0; v < unit.count; v += kQueryVectors)
            score_vectors<kQueryVectors>(unit, v, smaller(kQueryVectors, unit.count - v), scores);
    }

    // values[row][d ...] = values * shrink + sum of weight * v, key by key
    void collect(const Unit& unit, const float* weights, const float* shrink, float* values) {
        for (std::size_t d = 0; d < sight_.padded; d += kValueVectors * kLanes)
            collect_vectors<kValueVectors>(unit, d, smaller(kValueVectors, (sight_.padded - d) / kLanes), {weights, shrink, values});
    }

  private:
    static constexpr int kValueVectors = kQueryVectors;
    struct Sums {
        const float *weights, *shrink;
        float* values;
    };

    static const Element* keys(const KeyVector& v) { return reinterpret_cast<const Element*>(v.keys) + v.slot; }
    const Element* values(const KeyVector& v) const {
        return reinterpret_cast<const Element*>(v.values) + v.slot * sight_.padded;
    }

    template <int Count>
    struct Score {
        FloatProducts& self;
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
        const std::size_t size = sight_.layout.head_size, stride = vectors_per_block(sight_.layout) * kLanes;
        const Element *k[Count], *next[Count];
        Floats sum[Rows][Count];
        for (int v = 0; v < Count; ++v) {
            k[v] = keys(unit.vectors[at + static_cast<std::size_t>(v)]);
            next[v] = keys(unit.next[at + static_cast<std::size_t>(v)]);
        }
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < Count; ++v) sum[r][v] = splat(0.0f);
        const float* q = q_ + row * size;
        for (std::size_t d = 0; d < size; ++d) {
            Floats key[Count];
            if (row == 0 && d * stride * sizeof(Element) % kCacheLine == 0) {
                for (int v = 0; v < Count; ++v) prefetch(next[v] + d * stride);
            }
#pragma GCC unroll 4
            for (int v = 0; v < Count; ++v) key[v] = load(k[v] + d * stride);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r) {
                const Floats value = splat(q[static_cast<std::size_t>(r) * size + d]);
#pragma GCC unroll 4
                for (int v = 0; v < Count; ++v) sum[r][v] = fma(key[v], value, sum[r][v]);
            }
        }
        float* out = scores + row * kUnit + at * kLanes;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < Count; ++v)
                store(out + static_cast<std::size_t>(r) * kUnit + static_cast<std::size_t>(v) * kLanes, sum[r][v]);
    }

    template <int Count>
    struct Collect {
        FloatProducts& self;
        const Unit& unit;
        std::size_t d;
        const Sums& sums;
        template <int Rows>
        void call(std::size_t row) {
            self.collect_block<Rows, Count>(unit, d, row, sums);
        }
    };
    template <int Count>
    void collect_vectors(const Unit& unit, std::size_t d, std::size_t count, const Sums& sums) {
        if constexpr (Count > 1) {
            if (count < Count) return collect_vectors<Count - 1>(unit, d, count, sums);
        }
        for_row_blocks(sight_.rows, Collect<Count>{*this, unit, d, sums});
    }

    template <int Rows, int Count>
    void collect_block(const Unit& unit, std::size_t d, std::size_t row, const Sums& sums) {
        const std::size_t padded = sight_.padded;
        float* out = sums.values + row * padded + d;
        Floats sum[Rows][Count];
        for (int r = 0; r < Rows; ++r)
            for (int c = 0; c < Count; ++c)
                sum[r][c] = load(out + static_cast<std::size_t>(r) * padded + static_cast<std::size_t>(c) * kLanes) *
                            splat(sums.shrink[row + static_cast<std::size_t>(r)]);
        for (std::size_t v = 0; v < unit.count; ++v) {
            const Element *value = values(unit.vectors[v]) + d, *next = values(unit.next[v]) + d;
            const float* weight = sums.weights + row * kUnit + v * kLanes;
            for (std::size_t lane = unit.first_key[v]; lane < unit.end_key[v]; ++lane) {
                Floats x[Count];
                if (row == 0)
                    for (std::size_t at = 0; at < Count * kLanes; at += kCacheLine / sizeof(Element)) prefetch(next + lane * padded + at);
#pragma GCC unroll 4
                for (int c = 0; c < Count; ++c) x[c] = load(value + lane * padded + static_cast<std::size_t>(c) * kLanes);
#pragma GCC unroll 8
                for (int r = 0; r < Rows; ++r) {
                    const Floats w = splat(weight[static_cast<std::size_t>(r) * kUnit + lane]);
#pragma GCC unroll 4
                    for (int c = 0; c < Count; ++c) sum[r][c] = fma(x[c], w, sum[r][c]);
                }
            }
        }
        for (int r = 0; r < Rows; ++r)
            for (int c = 0; c < Count; ++c)
                store(out + static_cast<std::size_t>(r) * padded + static_cast<std::size_t>(c) * kLanes, sum[r][c]);
    }

    const Sight& sight_;
    float* q_;  // [rows][head_size], scaled
};

}  // namespace fairway::FAIRWAY_ISA
