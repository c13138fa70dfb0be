// out += scale * (x @ b.T) where b has few columns, as the second half of an adapter does: one fused
// multiply-add per column in rising order, and one for the scale.
#include "linear.h"

namespace fairway::FAIRWAY_ISA {

namespace {

constexpr int kThinTiles = 2 * kDenseTiles;
constexpr int kThinTokens = 4;

template <int Tiles, int Tokens>
struct ThinBlock {
    const std::uint8_t* at[Tiles];
    const float* x;
    std::size_t stride;
    Floats sum[Tiles][Tokens];

    FAIRWAY_INLINE void add(const Floats (&weight)[Tiles], std::size_t column) {
#pragma GCC unroll 4
        for (int m = 0; m < Tokens; ++m) {
            const Floats value = splat(x[static_cast<std::size_t>(m) * stride + column]);
#pragma GCC unroll 4
            for (int i = 0; i < Tiles; ++i) sum[i][m] = fma(weight[i], value, sum[i][m]);
        }
    }

    FAIRWAY_INLINE void add_floats(std::size_t columns) {
        for (std::size_t k = 0; k < columns; ++k) {
            Floats weight[Tiles];
#pragma GCC unroll 4
            for (int i = 0; i < Tiles; ++i) weight[i] = load(reinterpret_cast<const float*>(at[i]) + k * kTile);
            add(weight, k);
        }
    }

    // A last odd column has no second half.
    FAIRWAY_INLINE void add_pairs(std::size_t columns) {
        for (std::size_t k = 0; k < columns; k += 2) {
            Floats first[Tiles], second[Tiles];
#pragma GCC unroll 4
            for (int i = 0; i < Tiles; ++i) load_two_bf16(at[i] + k / 2 * kTile * 4, first[i], second[i]);
            add(first, k);
            if (k + 1 < columns) add(second, k + 1);
        }
    }
};

template <int Tiles, int Tokens>
void run(const ThinTask& task, std::size_t tile, std::size_t token) {
    ThinBlock<Tiles, Tokens> block;
    block.x = row_of(task.x, token);
    block.stride = task.x.stride;
    for (int i = 0; i < Tiles; ++i) {
        block.at[i] = task.tiles + (tile + static_cast<std::size_t>(i)) * task.tile_bytes;
        for (int m = 0; m < Tokens; ++m) block.sum[i][m] = splat(0.0f);
    }
    if (task.has_pairs)
        block.add_pairs(task.x.width);
    else
        block.add_floats(task.x.width);
    const Floats scale = splat(task.scale);
    for (int i = 0; i < Tiles; ++i) {
        const std::size_t at = (tile + static_cast<std::size_t>(i)) * kTile, n = smaller(kTile, task.out.width - at);
        for (int m = 0; m < Tokens; ++m) {
            float* out = row_of(task.out, token + static_cast<std::size_t>(m)) + at;
            store_up_to(out, n, fma(block.sum[i][m], scale, load_up_to(out, n)));
        }
    }
}

template <int Tiles>
void run_tokens(const ThinTask& task, std::size_t tile, std::size_t tokens) {
    std::size_t token = 0;
    for (; token + kThinTokens <= tokens; token += kThinTokens) run<Tiles, kThinTokens>(task, tile, token);
    switch (tokens - token) {
        case 3:
            return run<Tiles, 3>(task, tile, token);
        case 2:
            return run<Tiles, 2>(task, tile, token);
        case 1:
            return run<Tiles, 1>(task, tile, token);
        default:
            return;
    }
}

template <int Tiles>
std::size_t run_tiles(const ThinTask& task, std::size_t tile, std::size_t tiles, std::size_t tokens) {
    for (; tile + Tiles <= tiles; tile += Tiles) run_tokens<Tiles>(task, tile, tokens);
    if constexpr (Tiles > 1) return run_tiles<Tiles / 2>(task, tile, tiles, tokens);
    return tile;
}

}  // namespace

void add_thin(const ThinTask& task, std::size_t tiles, std::size_t tokens) {
    run_tiles<kThinTiles>(task, 0, tiles, tokens);
}

}  // namespace fairway::FAIRWAY_ISA
