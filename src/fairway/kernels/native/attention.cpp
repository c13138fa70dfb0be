// Paged attention of some tokens of one sequence over one key-value head, for all query heads that
// share it. Keys are visited in units of 64 at fixed absolute positions with an online softmax, and
// every 16 units the result is closed and merged, so that a long context can be split there.
//
// A row's result does not depend on the rows beside it: a key that a row may not see weighs exactly
// 0, and adding 0 times a finite number or scaling by exp(0) = 1 changes nothing.
#include "curves.h"
#include "variant.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr std::size_t kUnitVectors = 8;
constexpr std::size_t kUnit = kUnitVectors * kLanes;
constexpr std::size_t kSegmentUnits = 8;
constexpr std::size_t kLine = 64;
constexpr float kNever = -__builtin_inff();

// A partial softmax over some keys: the largest score, the sum of weights by lane, weighted values.
struct Partial {
    float* largest;
    float* sums;
    float* values;
};

// One item's state, in the scratch of its thread.
struct Scratch {
    float* q;        // [rows][head_size], scaled
    float* scores;   // [rows][kUnit], then the weights
    float* shrink;   // [rows], what the unit's new maximum does to earlier sums
    Partial part, total;
};

float* take(float*& at, std::size_t count) {
    float* start = at;
    at += (count + kLanes - 1) / kLanes * kLanes;
    return start;
}

Scratch split(float* at, std::size_t rows, const CacheLayout& layout) {
    Scratch s;
    s.q = take(at, rows * layout.head_size);
    s.scores = take(at, rows * kUnit);
    s.shrink = take(at, rows);
    Partial* partials[] = {&s.part, &s.total};
    for (Partial* p : partials) {
        p->largest = take(at, rows);
        p->sums = take(at, rows * kLanes);
        p->values = take(at, rows * padded_head(layout));
    }
    return s;
}

// A vector of up to 16 neighbouring keys within one block.
struct KeyVector {
    std::size_t block;
    std::size_t slot;
    std::int64_t position;  // of lane 0
    std::int64_t lanes;
};

template <typename Element>
struct Attend {
    const AttentionTask& task;
    const AttentionItem& item;
    const CacheLayout& layout;
    Scratch s;
    std::size_t group;  // query heads per key-value head
    std::size_t rows;
    std::size_t padded;
    std::int64_t first_key, last_key;
    // Keys and values of the next unit lie in other blocks, anywhere: they are asked for while this
    // unit is computed, by the first block of rows.
    const char* next_keys[kUnitVectors];
    const char* next_values[kUnitVectors];

    Attend(const AttentionTask& t, const AttentionItem& i, float* scratch) : task(t), item(i), layout(t.cache.layout) {
        group = task.heads / layout.kv_heads;
        rows = item.num_tokens * group;
        padded = padded_head(layout);
        s = split(scratch, rows, layout);
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

    std::size_t vector_of(std::int64_t position) const {
        const auto p = static_cast<std::size_t>(position);
        return p / layout.block_size * vectors_per_block(layout) + p % layout.block_size / kLanes;
    }
    KeyVector key_vector(std::size_t vector) const {
        const std::size_t count = vectors_per_block(layout), block = vector / count, slot = vector % count * kLanes;
        return {static_cast<std::size_t>(item.block_table[block]), slot,
                static_cast<std::int64_t>(block * layout.block_size + slot),
                static_cast<std::int64_t>(smaller(kLanes, layout.block_size - slot))};
    }
    const Element* keys(const KeyVector& v) const {
        return static_cast<const Element*>(task.cache.keys) + key_index(layout, v.block, item.kv_head) + v.slot;
    }
    const Element* values(const KeyVector& v) const {
        return static_cast<const Element*>(task.cache.values) + value_index(layout, v.block, item.kv_head) + v.slot * padded;
    }

    void run() {
        load_queries();
        clear(s.total);
        const std::size_t begin = vector_of(first_key), end = vector_of(last_key) + 1;
        for (std::size_t segment = begin / kSegmentVectors; segment * kSegmentVectors < end; ++segment) {
            clear(s.part);
            for (std::size_t unit = segment * kSegmentUnits; unit < (segment + 1) * kSegmentUnits; ++unit) {
                const std::size_t from = larger(begin, unit * kUnitVectors);
                const std::size_t to = smaller(end, (unit + 1) * kUnitVectors);
                if (from < to) add_unit(from, to);
            }
            merge();
        }
        write_out();
    }
    static constexpr std::size_t kSegmentVectors = kSegmentUnits * kUnitVectors;
    static std::size_t larger(std::size_t a, std::size_t b) { return a > b ? a : b; }

    void load_queries() {
        const std::size_t size = layout.head_size;
        for (std::size_t r = 0; r < rows; ++r) {
            const float* q = row_of(task.q, item.first_token + r / group) + (item.kv_head * group + r % group) * size;
            for_vectors(size, [&](std::size_t i, std::size_t n) {
                store_up_to(s.q + r * size + i, n, load_up_to(q + i, n) * splat(task.scale));
            });
        }
    }

    void clear(Partial& p) const {
        for (std::size_t r = 0; r < rows; ++r) {
            p.largest[r] = kNever;
            store(p.sums + r * kLanes, splat(0.0f));
            for (std::size_t d = 0; d < padded; d += kLanes) store(p.values + r * padded + d, splat(0.0f));
        }
    }

    void add_unit(std::size_t from, std::size_t to) {
        KeyVector vectors[kUnitVectors];
        const std::size_t count = to - from;
        const std::size_t last = vector_of(last_key);
        for (std::size_t v = 0; v < count; ++v) {
            vectors[v] = key_vector(from + v);
            const KeyVector next = key_vector(smaller(last, from + v + kUnitVectors));
            next_keys[v] = reinterpret_cast<const char*>(keys(next));
            next_values[v] = reinterpret_cast<const char*>(values(next));
        }
        for (std::size_t v = 0; v < count; v += kQueryVectors)
            score<kQueryVectors>(vectors + v, v, smaller(kQueryVectors, count - v));
        for (std::size_t r = 0; r < rows; ++r) weigh(r, vectors, count);
        for (std::size_t d = 0; d < padded; d += kValueVectors * kLanes)
            collect<kValueVectors>(vectors, count, d, smaller(kValueVectors, (padded - d) / kLanes));
    }

    // scores[row][16 * at ...] = q . k for `count` key vectors
    template <int Count>
    void score(const KeyVector* vectors, std::size_t at, std::size_t count) {
        if constexpr (Count > 1) {
            if (count < Count) return score<Count - 1>(vectors, at, count);
        }
        for_row_blocks([&](auto block, std::size_t r) { score_block<decltype(block)::rows, Count>(vectors, at, r); });
    }
    template <int Rows, int Count>
    void score_block(const KeyVector* vectors, std::size_t at, std::size_t row) {
        const std::size_t size = layout.head_size, stride = vectors_per_block(layout) * kLanes;
        const Element* k[Count];
        Floats sum[Rows][Count];
        for (int v = 0; v < Count; ++v) k[v] = keys(vectors[v]);
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < Count; ++v) sum[r][v] = splat(0.0f);
        const float* q = s.q + row * size;
        for (std::size_t d = 0; d < size; ++d) {
            Floats key[Count];
            if (row == 0 && d * stride * sizeof(Element) % kLine == 0) {
                for (int v = 0; v < Count; ++v) prefetch(next_keys[at + static_cast<std::size_t>(v)] + d * stride * sizeof(Element));
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
        float* out = s.scores + row * kUnit + at * kLanes;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < Count; ++v) store(out + static_cast<std::size_t>(r) * kUnit + static_cast<std::size_t>(v) * kLanes, sum[r][v]);
    }

    // Scores to weights exp(score - largest), and the sums so far to the new largest.
    void weigh(std::size_t row, const KeyVector* vectors, std::size_t count) {
        const std::int64_t first = first_of(row), end = position_of(row) + 1;
        float* scores = s.scores + row * kUnit;
        Floats score[kUnitVectors];
        Floats top = splat(kNever);
        for (std::size_t v = 0; v < count; ++v) {
            const std::int64_t base = vectors[v].position, width = vectors[v].lanes;
            Floats x = load(scores + v * kLanes);
            if (task.softcap > 0) x = splat(task.softcap) * tanh(x / splat(task.softcap));
            score[v] = select(lanes(first - base, end - base < width ? end - base : width), x, splat(kNever));
            top = max(score[v], top);
        }
        const float before = s.part.largest[row], here = reduce_max(top);
        const float largest = here > before ? here : before;
        const Floats base = splat(largest == kNever ? 0.0f : largest);
        const Floats shrink = exp(splat(before) - base);
        Floats sums = load(s.part.sums + row * kLanes) * shrink;
        for (std::size_t v = 0; v < count; ++v) {
            const Floats weight = exp(score[v] - base);
            store(scores + v * kLanes, weight);
            sums = sums + weight;
        }
        store(s.part.sums + row * kLanes, sums);
        s.part.largest[row] = largest;
        s.shrink[row] = first_lane(shrink);
    }

    static constexpr int kValueVectors = 4;
    // values[row][d ...] = values * shrink + sum of weight * v, key by key
    template <int Count>
    void collect(const KeyVector* vectors, std::size_t num_vectors, std::size_t d, std::size_t count) {
        if constexpr (Count > 1) {
            if (count < Count) return collect<Count - 1>(vectors, num_vectors, d, count);
        }
        for_row_blocks([&](auto block, std::size_t r) {
            collect_block<decltype(block)::rows, Count>(vectors, num_vectors, d, r);
        });
    }
    template <int Rows, int Count>
    void collect_block(const KeyVector* vectors, std::size_t num_vectors, std::size_t d, std::size_t row) {
        float* out = s.part.values + row * padded + d;
        Floats sum[Rows][Count];
        for (int r = 0; r < Rows; ++r)
            for (int c = 0; c < Count; ++c)
                sum[r][c] = load(out + static_cast<std::size_t>(r) * padded + static_cast<std::size_t>(c) * kLanes) *
                            splat(s.shrink[row + static_cast<std::size_t>(r)]);
        for (std::size_t v = 0; v < num_vectors; ++v) {
            const std::int64_t base = vectors[v].position;
            const std::int64_t begin = first_key > base ? first_key - base : 0;
            const std::int64_t end = last_key + 1 - base < vectors[v].lanes ? last_key + 1 - base : vectors[v].lanes;
            const Element* value = values(vectors[v]) + d;
            const float* weight = s.scores + row * kUnit + v * kLanes;
            for (auto lane = static_cast<std::size_t>(begin); lane < static_cast<std::size_t>(end); ++lane) {
                Floats x[Count];
                if (row == 0) {
                    const char* next = next_values[v] + (lane * padded + d) * sizeof(Element);
                    for (std::size_t at = 0; at < Count * kLanes * sizeof(Element); at += kLine) prefetch(next + at);
                }
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

    // Calls body(a type with `rows`, first row) until all rows are covered, in blocks of even size.
    template <int Rows>
    struct RowBlock {
        static constexpr int rows = Rows;
    };
    template <typename Body>
    void for_row_blocks(Body body) {
        const std::size_t blocks = (rows + kQueryRows - 1) / kQueryRows;
        for (std::size_t b = 0; b < blocks; ++b) {
            const std::size_t from = rows * b / blocks, to = rows * (b + 1) / blocks;
            call_block<kQueryRows>(body, from, to - from);
        }
    }
    template <int Rows, typename Body>
    static void call_block(Body& body, std::size_t row, std::size_t count) {
        if constexpr (Rows > 1) {
            if (count < Rows) return call_block<Rows - 1>(body, row, count);
        }
        body(RowBlock<Rows>{}, row);
    }

    void merge() {
        for (std::size_t r = 0; r < rows; ++r) {
            const float a = s.total.largest[r], b = s.part.largest[r], largest = b > a ? b : a;
            const Floats base = splat(largest == kNever ? 0.0f : largest);
            const Floats shrink = exp(splat(a) - base), share = exp(splat(b) - base);
            s.total.largest[r] = largest;
            add_scaled(s.total.sums + r * kLanes, s.part.sums + r * kLanes, shrink, share);
            for (std::size_t d = 0; d < padded; d += kLanes)
                add_scaled(s.total.values + r * padded + d, s.part.values + r * padded + d, shrink, share);
        }
    }
    static void add_scaled(float* total, const float* part, Floats shrink, Floats share) {
        store(total, load(total) * shrink + load(part) * share);
    }

    void write_out() {
        const std::size_t size = layout.head_size;
        for (std::size_t r = 0; r < rows; ++r) {
            float* out = row_of(task.out, item.first_token + r / group) + (item.kv_head * group + r % group) * size;
            const Floats inverse = splat(1.0f / reduce_add(load(s.total.sums + r * kLanes)));
            for_vectors(size, [&](std::size_t i, std::size_t n) {
                store_up_to(out + i, n, load(s.total.values + r * padded + i) * inverse);
            });
        }
    }
};

template <typename Element>
void write_token(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot, Floats most) {
    const CacheLayout& layout = cache.layout;
    const std::size_t size = layout.head_size, padded = padded_head(layout), stride = vectors_per_block(layout) * kLanes;
    const auto held = [&](Floats x) { return max(splat(0.0f) - most, min(x, most)); };  // NaN becomes `most`
    for (std::size_t h = 0; h < layout.kv_heads; ++h) {
        Element* keys = static_cast<Element*>(cache.keys) + key_index(layout, block, h) + slot;
        Element* values = static_cast<Element*>(cache.values) + value_index(layout, block, h) + slot * padded;
        for_vectors(size, [&](std::size_t i, std::size_t n) {
            store(values + i, held(load_up_to(v + h * size + i, n)));
            Element spread[kLanes];
            store(spread, held(load_up_to(k + h * size + i, n)));
            for (std::size_t d = 0; d < n; ++d) keys[(i + d) * stride] = spread[d];
        });
    }
}

}  // namespace

void write_cache(const LayerCache& cache, const float* k, const float* v, std::size_t block, std::size_t slot) {
    if (cache.layout.half)
        write_token<std::uint16_t>(cache, k, v, block, slot, splat(65504.0f));
    else
        write_token<float>(cache, k, v, block, slot, splat(3.4028234663852886e38f));
}

std::size_t attention_scratch(const AttentionTask& task, std::size_t rows) {
    const CacheLayout& layout = task.cache.layout;
    const std::size_t row = layout.head_size + kUnit + 2 * kLanes + 2 * padded_head(layout) + 3;
    return rows * row + 9 * kLanes;
}

void attention(const AttentionTask& task, const AttentionItem& item, float* scratch) {
    if (task.cache.layout.half)
        Attend<std::uint16_t>(task, item, scratch).run();
    else
        Attend<float>(task, item, scratch).run();
}

}  // namespace fairway::FAIRWAY_ISA
