// The contract between the executor, which knows no instruction set, and the variants, which know
// nothing else: plain records and one table of functions per variant. Every function treats each
// row on its own and sums in an order that depends on shapes alone, never on how many rows there are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cache_layout.h"

namespace fairway {

enum class WeightType : int { f32, f16, bf16, int8, int4, int5, int6 };

static inline bool is_integer(WeightType type) { return type >= WeightType::int8; }

// Of a code.
static inline int bits_of(WeightType type) {
    return type == WeightType::int4 ? 4 : type == WeightType::int5 ? 5 : type == WeightType::int6 ? 6 : 8;
}

// A packed matrix: tile after tile, and a tile is read as one stream, strictly upwards.
//
// Dense: per tile and column 16 values. Integers: per tile and chunk of 64 columns the codes, the
// scales, the offsets. Codes of a group of 32 columns: int8 has 8 lines of 64 bytes, byte 4r+b of
// line j is row r, column 4j+b, plus 128; int4 has 4 lines, with column 8j+b in the low and 8j+4+b in
// the high half. int5 and int6 have the four low bits of a code as int4 does, then one or two lines with
// their one or two high bits: those of column 4q+b in byte 4r+b, q counting bits (or pairs) upwards. Scales and offsets are float16, 16 for every `group` columns. No scale of a row is 0,
// so that a power of two may multiply it in its exponent: zeros have scale 1 and codes that mean 0.
struct Weights {
    WeightType type = WeightType::f32;
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::size_t tiles = 0;
    std::size_t groups = 0;  // of 32 columns, the last one padded
    std::size_t group = kGroup;
    bool has_offsets = false;
    bool centred = true;  // codes of fewer than 8 bits count from their middle
    float factor = 1;     // a power of two that multiplies every scale and offset
    std::size_t tile_bytes = 0;
    std::size_t chunk_bytes = 0;
    std::size_t scales_at = 0;  // bytes from the start of a chunk
    std::size_t offsets_at = 0;
    const std::uint8_t* data = nullptr;
};

constexpr std::size_t kChunk = 2 * kGroup;

static inline std::size_t code_bytes(const Weights& w) { return static_cast<std::size_t>(bits_of(w.type)) * 64; }  // of a group

// Activations as int8, row after row, with scales that are powers of two. `starts` is -8 times the sum of a group, `sums` is scale
// times the sum; the half_ arrays hold the same per 16 columns.
struct Quantized {
    std::size_t groups = 0;
    std::int8_t* values = nullptr;
    float* scales = nullptr;
    std::int32_t* starts = nullptr;
    float* sums = nullptr;
    std::int32_t* half_starts = nullptr;
    float* half_sums = nullptr;
    float* poison = nullptr;  // by row: 0, and NaN once a part of the row holds what codes cannot
};

// The same from a group of a row on.
static inline Quantized from_group(Quantized q, std::size_t row, std::size_t in_row) {
    const std::size_t group = row * q.groups + in_row;
    if (q.poison) q.poison += row;
    q.values += group * kGroup;
    q.scales += group;
    q.starts += group;
    q.sums += group;
    q.half_starts += 2 * group;
    q.half_sums += 2 * group;
    return q;
}

struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
};

struct Rows {
    float* data = nullptr;
    std::size_t stride = 0;
    std::size_t width = 0;
};

static inline float* row_of(const Rows& rows, std::size_t i) { return rows.data + i * rows.stride; }

// Memory that a product asks for while it computes, `each` lines at a time, for whoever comes after it.
struct Stretch {
    const std::uint8_t* next;
    const std::uint8_t* end;  // behind `next`
};
struct Aside {
    Stretch* next;
    Stretch* end;
    std::size_t each;
};

// out = residual + scale * (x @ weights.T + bias); bias is padded to whole tiles.
struct LinearTask {
    const Weights* weights = nullptr;
    Rows x;
    Quantized quantized;
    const float* bias = nullptr;
    Rows residual;  // no data: none
    Rows out;
    float scale = 1;
    Aside* aside = nullptr;  // null: nothing
};

// out += scale * (x @ b.T): b as tiles of 16 rows of 32-bit words, which are floats or two bfloat16 of
// neighbouring columns, the first one lower. Columns are x's, rows those of `out`.
struct ThinTask {
    const std::uint8_t* tiles = nullptr;
    std::size_t tile_bytes = 0;
    bool has_pairs = false;
    Rows x;
    Rows out;
    float scale = 1;
};

enum class Activation : int { silu, gelu, gelu_tanh, relu };

struct AttentionTask {
    LayerCache cache;
    Rows q;
    Rows out;
    std::size_t heads = 0;
    float scale = 1;
    std::int64_t window = 0;  // 0: none
    float softcap = 0;        // 0: none
};

// Some consecutive tokens of one sequence and one key-value head.
struct AttentionItem {
    const std::int32_t* block_table = nullptr;
    std::size_t first_token = 0;
    std::size_t num_tokens = 0;
    std::int64_t first_position = 0;
    std::size_t kv_head = 0;
};

// The keys that an item sees are summed segment by segment, at fixed positions, and the segments are
// merged in rising order: so they can be computed apart, by several threads, with the same result.
constexpr std::size_t kSegmentVectors = 64;

static inline Range segments_seen(const AttentionTask& task, const AttentionItem& item) {
    const std::int64_t first = task.window ? item.first_position - task.window + 1 : 0;
    const std::int64_t last = item.first_position + static_cast<std::int64_t>(item.num_tokens) - 1;
    return {vector_of(task.cache.layout, first < 0 ? 0 : first) / kSegmentVectors,
            vector_of(task.cache.layout, last) / kSegmentVectors + 1};
}

// Blocks of ggml's quantised types; see gguf_quantize.py, whose order this is.
enum class BlockType : int { q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs };
constexpr std::size_t kBlockTypes = 12;

struct BlockShape {
    std::size_t size;   // weights in a block
    std::size_t bytes;
    std::size_t group;  // weights with one scale
};

static inline BlockShape shape_of(BlockType type) {
    constexpr BlockShape shapes[kBlockTypes] = {
        {32, 34, 32},   {32, 18, 32},   {32, 20, 32},   {32, 22, 32},   {32, 24, 32}, {256, 84, 16},
        {256, 110, 16}, {256, 144, 32}, {256, 176, 32}, {256, 210, 16}, {32, 18, 32}, {256, 136, 32},
    };
    return shapes[static_cast<int>(type)];
}

// Weights of any float type, in whole blocks, to blocks.
struct BlockTask {
    BlockType type;
    WeightType source;
    const void* values;
    std::size_t count;
    const float* importance;  // of each column, or null
    std::size_t columns;
    std::uint8_t* out;
};

struct Kernels {
    const char* name;
    std::size_t token_block;     // tokens of a register block of integer products
    std::size_t attention_rows;  // query rows that an item should have
    void (*quantize)(const float* x, std::size_t width, const Quantized& out, std::size_t row);
    void (*linear)(const LinearTask& task, Range tiles, Range tokens);
    void (*add_thin)(const ThinTask& task, std::size_t tiles, std::size_t tokens);
    void (*rms_norm)(const float* x, const float* weight, float* out, std::size_t width, float eps);
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float* out, std::size_t width,
                       float eps);
    void (*activate)(const float* x, float* out, std::size_t width, Activation activation);
    void (*gate)(const float* x, const float* up, float* out, std::size_t width, Activation activation);
    void (*add)(const float* x, const float* y, float* out, std::size_t width, float scale);
    void (*soft_cap)(float* x, std::size_t width, float cap);
    void (*rotate)(float* x, const float* cos, const float* sin, std::size_t half);
    void (*write_cache)(const LayerCache& cache, const float* k, const float* v, std::size_t block,
                        std::size_t slot);
    std::size_t (*attention_scratch)(const AttentionTask& task, std::size_t rows);  // in floats
    void (*attention)(const AttentionTask& task, const AttentionItem& item, float* scratch);
    // The same in two halves: some segments, each to its place in `partials`, then all of them merged.
    std::size_t (*attention_partial)(const AttentionTask& task, std::size_t rows);  // floats of one segment
    void (*attend_segments)(const AttentionTask& task, const AttentionItem& item, Range segments, float* partials,
                            float* scratch);
    void (*merge_segments)(const AttentionTask& task, const AttentionItem& item, std::size_t count, float* partials,
                           float* scratch);
    std::size_t (*argmax)(const float* x, std::size_t width);
    // The `count` <= width largest of x, falling.
    void (*top)(const float* x, std::size_t width, std::size_t count, float* values, std::int32_t* ids);
    void (*exp)(const float* x, float* out, std::size_t width);
    bool (*all_numbers)(const float* x, std::size_t width);  // below infinity
    // Rising ids of values above `bound`; `ids` has room for all. Returns how many.
    std::size_t (*above)(const float* x, std::size_t width, float bound, std::int32_t* ids);
    // Sums of exp((x - largest) * factor): of all, and of those equal modulo `groups`.
    double (*total_weight)(const float* x, std::size_t width, float largest, float factor);
    void (*group_weights)(const float* x, std::size_t width, float largest, float factor, std::size_t groups, float* out);
    // Weights as float32, from any float type.
    void (*to_floats)(WeightType type, const void* values, std::size_t count, float* out);
    // One row of weights to codes of 4, 5 or 6 bits, or of 8, and scales; see quantize.py.
    void (*quantize_low)(const float* w, std::size_t columns, int bits, std::uint8_t* codes, float* scales);
    void (*quantize_int8)(const float* w, std::size_t columns, std::size_t group, std::uint8_t* codes, float* scales);
    // False, and blocks of no meaning, where a weight is no number or more than float16 can hold.
    bool (*quantize_blocks)(const BlockTask& task);
    void (*read)(const std::uint8_t* data, std::size_t bytes);  // and drops it
    // The fastest products there are, see limits.cpp: how many operations `steps` of them were.
    std::size_t (*multiply_int8)(std::size_t steps);
    std::size_t (*multiply_bf16)(std::size_t steps);
    std::size_t (*multiply_f32)(std::size_t steps);
};

// By name; null where this build or this machine does not have the variant.
const Kernels* find_kernels(const char* name);

}  // namespace fairway
