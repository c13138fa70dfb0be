// Where keys and values lie in a block of the cache. A vector is up to 16 neighbouring slots of a block.
//
// Per block and head, keys are transposed: [value][slot], slots padded to whole vectors; values are
// [slot][value], values padded to 16. The cache holds finite numbers only.
//
// int8: keys have a float32 scale per slot and 32 values, values one per slot. Four values of a key lie
// together, [value / 4][slot][4], as codes plus 128, then the scales [value / 32][slot]. Two slots lie
// together, [slot / 2][value][2], as codes, then the scales [slot].
#pragma once

#include <cstddef>
#include <cstdint>

namespace fairway {

constexpr std::size_t kTile = 16;       // rows of a matrix packed together
constexpr std::size_t kGroup = 32;      // columns that share an activation scale
constexpr std::size_t kCacheLine = 64;  // bytes

enum class CacheType : int { f32, f16, int8 };

struct CacheLayout {
    std::size_t block_size = 0;
    std::size_t kv_heads = 0;
    std::size_t head_size = 0;
    CacheType type = CacheType::f16;
};

// Internal linkage on purpose: these files are compiled once per instruction set, and the linker
// must not replace one variant's copy of a function by another's.
static inline std::size_t vectors_per_block(const CacheLayout& c) { return (c.block_size + kTile - 1) / kTile; }
static inline std::size_t padded_head(const CacheLayout& c) { return (c.head_size + kTile - 1) / kTile * kTile; }
static inline std::size_t quads(const CacheLayout& c) { return (c.head_size + 3) / 4; }
static inline std::size_t key_groups(const CacheLayout& c) { return (c.head_size + kGroup - 1) / kGroup; }
static inline std::size_t element_bytes(const CacheLayout& c) { return c.type == CacheType::f32 ? 4 : 2; }

// Bytes of one block's keys of one head, and of its values.
static inline std::size_t key_bytes(const CacheLayout& c) {
    const std::size_t vectors = vectors_per_block(c);
    if (c.type == CacheType::int8) return (quads(c) + key_groups(c)) * vectors * kCacheLine;
    return c.head_size * vectors * kTile * element_bytes(c);
}
static inline std::size_t value_bytes(const CacheLayout& c) {
    if (c.type != CacheType::int8) return c.block_size * padded_head(c) * element_bytes(c);
    const std::size_t codes = (c.block_size + 1) / 2 * 2 * padded_head(c), scales = vectors_per_block(c) * kCacheLine;
    return (codes + scales + kCacheLine - 1) / kCacheLine * kCacheLine;
}
// Where the scales of a block and head begin.
static inline std::size_t key_scales_at(const CacheLayout& c) { return quads(c) * vectors_per_block(c) * kCacheLine; }
static inline std::size_t value_scales_at(const CacheLayout& c) { return (c.block_size + 1) / 2 * 2 * padded_head(c); }

// The number of the vector that holds a position of a sequence.
static inline std::size_t vector_of(const CacheLayout& c, std::int64_t position) {
    const auto p = static_cast<std::size_t>(position);
    return p / c.block_size * vectors_per_block(c) + p % c.block_size / kTile;
}

struct LayerCache {
    CacheLayout layout;
    std::uint8_t* keys = nullptr;
    std::uint8_t* values = nullptr;
};

static inline std::uint8_t* keys_of(const LayerCache& c, std::size_t block, std::size_t head) {
    return c.keys + (block * c.layout.kv_heads + head) * key_bytes(c.layout);
}
static inline std::uint8_t* values_of(const LayerCache& c, std::size_t block, std::size_t head) {
    return c.values + (block * c.layout.kv_heads + head) * value_bytes(c.layout);
}

}  // namespace fairway
