// What the float and the integer products share: walking tiles x tokens in register blocks, and
// turning a finished sum into an output.
#pragma once

#include "variant.h"
#include "vector.h"

namespace fairway::FAIRWAY_ISA {

// Up to here a tile is read faster than computed with, and only one is read at a time.
constexpr std::size_t kStreamedTokens = 2;

inline std::size_t rows_in_tile(const Weights& w, std::size_t tile) {
    return smaller(kTile, w.rows - tile * kTile);
}

// out = residual + scale * (sum * factor + bias)
inline void finish(const LinearTask& task, std::size_t tile, std::size_t token, Floats sum, float factor) {
    const std::size_t at = tile * kTile, n = rows_in_tile(*task.weights, tile);
    Floats y = sum * splat(factor);
    if (task.quantized.poison) y = y + splat(task.quantized.poison[token]);
    if (task.bias) y = y + load(task.bias + at);
    y = y * splat(task.scale);
    if (task.residual.data) y = load_up_to(row_of(task.residual, token) + at, n) + y;
    store_up_to(row_of(task.out, token) + at, n, y);
}

// Each of `parts` blocks of tokens asks for its part of the next tiles while it computes.
struct Ahead {
    std::size_t part, parts;
};

// Calls Block::run<tiles, tokens> for a count of tokens known only now.
template <typename Block, int Tiles, int Tokens>
inline void run_tokens(const LinearTask& task, std::size_t tile, std::size_t token, std::size_t count,
                       Ahead ahead) {
    if constexpr (Tokens > 1) {
        if (count < static_cast<std::size_t>(Tokens)) return run_tokens<Block, Tiles, Tokens - 1>(task, tile, token, count, ahead);
    }
    Block::template run<Tiles, Tokens>(task, tile, token, ahead);
}

// In blocks of even size: 8 tokens as 4 + 4, not as 6 + 2.
template <typename Block, int Tiles>
inline void run_tile(const LinearTask& task, std::size_t tile, Range tokens) {
    const std::size_t count = tokens.end - tokens.begin, blocks = (count + Block::tokens - 1) / Block::tokens;
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::size_t from = count * b / blocks, to = count * (b + 1) / blocks;
        run_tokens<Block, Tiles, Block::tokens>(task, tile, tokens.begin + from, to - from, {b, blocks});
    }
}

template <typename Block>
void run_tiles(const LinearTask& task, Range tiles, Range tokens) {
    std::size_t tile = tiles.begin;
    if (tokens.end - tokens.begin > kStreamedTokens)
        for (; tile + Block::tiles <= tiles.end; tile += Block::tiles) run_tile<Block, Block::tiles>(task, tile, tokens);
    for (; tile < tiles.end; ++tile) run_tile<Block, 1>(task, tile, tokens);
}

}  // namespace fairway::FAIRWAY_ISA
