// One step's input as it arrives, and its check: after `check_step` nothing in a step can lead a
// kernel outside its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "cache_layout.h"

namespace fairway {

struct CacheShape {
    std::size_t layers, blocks, block_size, kv_heads, head_size;
    CacheType type;
};

struct Limits {
    std::size_t tokens, sequences, outputs;
    std::size_t vocabulary = std::numeric_limits<std::size_t>::max();  // smallest of all tables
    std::size_t positions = std::numeric_limits<std::size_t>::max();
};

struct Step {
    const std::int32_t* token_ids;
    const std::int32_t* positions;
    const std::int32_t* starts;
    const std::int32_t* block_tables;
    const std::int32_t* output_rows;
    const std::int32_t* adapters;  // slot of each sequence's adapter or -1; null: nobody has one
    std::size_t tokens, sequences, max_blocks, outputs;
};

// Throws std::invalid_argument, which Python sees as ValueError.
void check_step(const Step& step, const CacheShape& cache, const Limits& limits);

}  // namespace fairway
