// Paged attention of some tokens of one sequence over one key-value head, for all query heads that
// share it. Keys are visited in units of 128 at fixed absolute positions with an online softmax, and
// every 8 units the result is closed and merged, so that a long context can be split there.
//
// A row's result does not depend on the rows beside it: a key that a row may not see weighs exactly
// 0, and adding 0 times a finite number or scaling by exp(0) = 1 changes nothing.
//
// `Products` knows how keys and values are stored: it computes scores and sums weighted values.
#pragma once

#include "curves.h"
#include "variant.h"

namespace fairway::FAIRWAY_ISA {

constexpr std::size_t kUnitVectors = 8;
constexpr std::size_t kUnit = kUnitVectors * kLanes;
constexpr std::size_t kSegmentUnits = kSegmentVectors / kUnitVectors;
constexpr float kNever = -__builtin_inff();

constexpr std::size_t larger(std::size_t a, std::size_t b) { return a > b ? a : b; }

// Pieces of a thread's scratch, whole vectors each.
inline float* take(float*& at, std::size_t floats) {
    float* start = at;
    at += (floats + kLanes - 1) / kLanes * kLanes;
    return start;
}

// Partial softmaxes of some rows: the largest scores, the sums of weights by lane, weighted values.
struct Partial {
    float* largest;
    float* sums;
    float* values;

    static std::size_t size(std::size_t rows, const CacheLayout& layout) {
        return (rows + kLanes - 1) / kLanes * kLanes + rows * (kLanes + padded_head(layout));
    }
    static Partial at(float* start, std::size_t rows, const CacheLayout& layout) {
        float* largest = take(start, rows);
        float* sums = take(start, rows * kLanes);
        return {largest, sums, take(start, rows * padded_head(layout))};
    }
};

// Up to 16 neighbouring keys within one block.
struct KeyVector {
    const std::uint8_t *keys, *values;  // of the block and head
    std::size_t slot;
    std::int64_t position;  // of lane 0
    std::int64_t lanes;
};

// Some vectors of keys, and where those of the next unit lie: in other blocks, anywhere, so they are
// asked for while this unit is computed.
struct Unit {
    KeyVector vectors[kUnitVectors], next[kUnitVectors];
    std::size_t count;
    std::size_t first_key[kUnitVectors], end_key[kUnitVectors];  // lanes that any row sees
    bool whole;                                                  // no vector is short
};

// What an item is about.
struct Sight {
    const AttentionTask& task;
    const AttentionItem& item;
    const CacheLayout& layout;
    const std::size_t group;  // query heads per key-value head
    const std::size_t rows;
    const std::size_t padded;
    std::int64_t first_key, last_key;

    Sight(const AttentionTask& t, const AttentionItem& i)
        : task(t), item(i), layout(t.cache.layout), group(t.heads / layout.kv_heads), rows(i.num_tokens * group),
          padded(padded_head(layout)) {
        first_key = first_of(0);
        last_key = position_of(rows - 1);
    }
    std::int64_t position_of(std::size_t row) const {
        return item.first_position + static_cast<std::int64_t>(row / group);
    }
    std::int64_t first_of(std::size_t row) const {
        const std::int64_t first = task.window ? position_of(row) - task.window + 1 : 0;
        return first < 0 ? 0 : first;
    }
    bool sees_all(std::size_t row, const Unit& unit) const {
        const KeyVector& last = unit.vectors[unit.count - 1];
        return unit.whole && first_of(row) <= unit.vectors[0].position && position_of(row) >= last.position + last.lanes - 1;
    }
    Mask seen(std::size_t row, const KeyVector& v) const {
        const std::int64_t first = first_of(row) - v.position, end = position_of(row) + 1 - v.position;
        return lanes(first, end < v.lanes ? end : v.lanes);
    }
    const float* query(std::size_t row) const {
        return row_of(task.q, item.first_token + row / group) + (item.kv_head * group + row % group) * layout.head_size;
    }
    float* out(std::size_t row) const {
        return row_of(task.out, item.first_token + row / group) + (item.kv_head * group + row % group) * layout.head_size;
    }
    KeyVector key_vector(std::size_t vector) const {
        const std::size_t count = vectors_per_block(layout), number = vector / count, slot = vector % count * kLanes;
        const auto block = static_cast<std::size_t>(item.block_table[number]);
        return {keys_of(task.cache, block, item.kv_head), values_of(task.cache, block, item.kv_head), slot,
                static_cast<std::int64_t>(number * layout.block_size + slot),
                static_cast<std::int64_t>(smaller(kLanes, layout.block_size - slot))};
    }
};

// Calls body.template call<Rows>(first row) until all rows are covered, in blocks of even size.
template <int Rows, typename Body>
inline void call_rows(Body& body, std::size_t row, std::size_t count) {
    if constexpr (Rows > 1) {
        if (count < Rows) return call_rows<Rows - 1>(body, row, count);
    }
    body.template call<Rows>(row);
}
template <typename Body>
inline void for_row_blocks(std::size_t rows, Body body) {
    const std::size_t blocks = (rows + kQueryRows - 1) / kQueryRows;
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::size_t from = rows * b / blocks, to = rows * (b + 1) / blocks;
        call_rows<kQueryRows>(body, from, to - from);
    }
}

template <typename Products>
class Attend {
  public:
    Attend(const AttentionTask& task, const AttentionItem& item, float* scratch)
        : sight_(task, item), scores_(take(scratch, sight_.rows * kUnit)), shrink_(take(scratch, sight_.rows)),
          bases_(take(scratch, sight_.rows)), tops_(take(scratch, sight_.rows)),
          part_(Partial::at(scratch, sight_.rows, sight_.layout)),
          total_(Partial::at(scratch + Partial::size(sight_.rows, sight_.layout), sight_.rows, sight_.layout)),
          products_(sight_, scratch + 2 * Partial::size(sight_.rows, sight_.layout)) {}

    static std::size_t scratch(const AttentionTask& task, std::size_t rows) {
        return rows * kUnit + 3 * (rows + kLanes) + 2 * Partial::size(rows, task.cache.layout) +
               Products::scratch(task.cache.layout, rows);
    }

    void run() {
        products_.load_queries();
        clear(total_);
        const Range seen = segments_seen(sight_.task, sight_.item);
        for (std::size_t segment = seen.begin; segment < seen.end; ++segment) {
            add_segment(segment);
            merge(part_);
        }
        write_out();
    }

    void run_segments(Range segments, float* partials) {
        products_.load_queries();
        for (std::size_t segment = segments.begin; segment < segments.end; ++segment) {
            part_ = Partial::at(partials, sight_.rows, sight_.layout);
            partials += Partial::size(sight_.rows, sight_.layout);
            add_segment(segment);
        }
    }

    void merge_segments(std::size_t count, float* partials) {
        const std::size_t size = Partial::size(sight_.rows, sight_.layout);
        clear(total_);
        for (std::size_t i = 0; i < count; ++i)
            merge(Partial::at(partials + i * size, sight_.rows, sight_.layout));
        write_out();
    }

  private:
    void clear(Partial& p) const {
        for (std::size_t r = 0; r < sight_.rows; ++r) {
            p.largest[r] = kNever;
            store(p.sums + r * kLanes, splat(0.0f));
            for (std::size_t d = 0; d < sight_.padded; d += kLanes) store(p.values + r * sight_.padded + d, splat(0.0f));
        }
    }

    void add_segment(std::size_t segment) {
        clear(part_);
        const std::size_t begin = vector_of(sight_.layout, sight_.first_key);
        const std::size_t end = vector_of(sight_.layout, sight_.last_key) + 1;
        for (std::size_t unit = segment * kSegmentUnits; unit < (segment + 1) * kSegmentUnits; ++unit) {
            const std::size_t from = larger(begin, unit * kUnitVectors), to = smaller(end, (unit + 1) * kUnitVectors);
            if (from < to) add_unit(unit_of(from, to, end - 1));
        }
    }

    Unit unit_of(std::size_t from, std::size_t to, std::size_t last) const {
        Unit unit;
        unit.count = to - from;
        unit.whole = true;
        for (std::size_t v = 0; v < unit.count; ++v) {
            const KeyVector& vector = unit.vectors[v] = sight_.key_vector(from + v);
            unit.next[v] = sight_.key_vector(smaller(last, from + v + kUnitVectors));
            const std::int64_t first = sight_.first_key - vector.position, end = sight_.last_key + 1 - vector.position;
            unit.first_key[v] = first > 0 ? static_cast<std::size_t>(first) : 0;
            unit.end_key[v] = static_cast<std::size_t>(end < vector.lanes ? end : vector.lanes);
            unit.whole = unit.whole && vector.lanes == static_cast<std::int64_t>(kLanes);
        }
        return unit;
    }

    void add_unit(const Unit& unit) {
        products_.score(unit, scores_);
        weigh(unit);
        products_.collect(unit, scores_, shrink_, part_.values);
    }

    // Scores to weights exp(score - largest), and the sums so far to the new largest. In three passes over
    // the rows, since each step of a row waits for the one before it.
    void weigh(const Unit& unit) {
        for (std::size_t r = 0; r < sight_.rows; ++r) tops_[r] = top_of(r, unit);
        for (std::size_t r = 0; r < sight_.rows; r += kLanes) {
            const Floats before = load(part_.largest + r), here = load(tops_ + r), largest = max(here, before);
            const Floats base = select(splat(kNever) < largest, largest, splat(0.0f));
            store(part_.largest + r, largest);
            store(bases_ + r, base);
            store(shrink_ + r, exp(before - base));
            store(tops_ + r, exp(here - base));
        }
        for (std::size_t r = 0; r < sight_.rows; ++r) unit.count == kUnitVectors ? weigh_row<kUnitVectors>(r, unit) : weigh_row<0>(r, unit);
        products_.keep_weights(unit, scores_, tops_);
    }

    // The row's largest score; those of keys that it may not see become -infinity.
    float top_of(std::size_t row, const Unit& unit) {
        float* scores = scores_ + row * kUnit;
        if (sight_.task.softcap > 0 || !sight_.sees_all(row, unit)) {
            for (std::size_t v = 0; v < unit.count; ++v) {
                Floats x = load(scores + v * kLanes);
                if (sight_.task.softcap > 0) x = splat(sight_.task.softcap) * tanh(x / splat(sight_.task.softcap));
                store(scores + v * kLanes, select(sight_.seen(row, unit.vectors[v]), x, splat(kNever)));
            }
        }
        Floats top[2] = {load(scores), splat(kNever)};
        for (std::size_t v = 1; v < unit.count; ++v) top[v % 2] = max(load(scores + v * kLanes), top[v % 2]);
        return reduce_max(max(top[0], top[1]));
    }

    template <std::size_t Count>
    void weigh_row(std::size_t row, const Unit& unit) {
        float* scores = scores_ + row * kUnit;
        const Floats base = splat(bases_[row]);
        Floats sums = load(part_.sums + row * kLanes) * splat(shrink_[row]);
#pragma GCC unroll 8
        for (std::size_t v = 0; v < (Count ? Count : unit.count); ++v) {
            const Floats weight = exp(load(scores + v * kLanes) - base);
            store(scores + v * kLanes, weight);
            sums = sums + weight;
        }
        store(part_.sums + row * kLanes, sums);
    }

    void merge(const Partial& part) {
        for (std::size_t r = 0; r < sight_.rows; ++r) {
            const float a = total_.largest[r], b = part.largest[r], largest = b > a ? b : a;
            const Floats base = splat(largest == kNever ? 0.0f : largest);
            const Floats shrink = exp(splat(a) - base), share = exp(splat(b) - base);
            total_.largest[r] = largest;
            add_scaled(total_.sums + r * kLanes, part.sums + r * kLanes, shrink, share);
            for (std::size_t d = 0; d < sight_.padded; d += kLanes)
                add_scaled(total_.values + r * sight_.padded + d, part.values + r * sight_.padded + d, shrink, share);
        }
    }
    static void add_scaled(float* total, const float* part, Floats shrink, Floats share) {
        store(total, load(total) * shrink + load(part) * share);
    }

    void write_out() {
        for (std::size_t r = 0; r < sight_.rows; ++r) {
            float* out = sight_.out(r);
            const Floats inverse = splat(1.0f / reduce_add(load(total_.sums + r * kLanes)));
            for_vectors(sight_.layout.head_size, [&](std::size_t i, std::size_t n) {
                store_up_to(out + i, n, load(total_.values + r * sight_.padded + i) * inverse);
            });
        }
    }

    const Sight sight_;
    float* scores_;  // [rows][kUnit], then the weights
    float* shrink_;  // [rows], what the unit's new maximum does to earlier sums
    float* bases_;   // [rows], the largest score so far; 0 where nothing was seen
    float* tops_;    // [rows], the unit's largest score, then its weight
    Partial part_, total_;
    Products products_;
};

}  // namespace fairway::FAIRWAY_ISA
