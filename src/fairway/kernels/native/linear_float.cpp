// float32, float16 and bfloat16 weights times float32 activations: one fused multiply-add per
// column in rising order.
#include "linear.h"

namespace fairway::FAIRWAY_ISA {

namespace {

template <WeightType Type>
struct FloatBlock {
    static constexpr int tiles = kDenseTiles;
    static constexpr int tokens = kDenseTokens;

    static inline Floats weights(const std::uint8_t* tile, std::size_t column) {
        if constexpr (Type == WeightType::f32) return load(reinterpret_cast<const float*>(tile) + column * kTile);
        const auto* halves = reinterpret_cast<const std::uint16_t*>(tile) + column * kTile;
        return Type == WeightType::bf16 ? load_bf16(halves) : load(halves);
    }

    template <int Tiles, int Tokens>
    static void run(const LinearTask& task, std::size_t tile, std::size_t token, Ahead) {
        const Weights& w = *task.weights;
        const std::uint8_t* at[Tiles];
        for (int i = 0; i < Tiles; ++i) at[i] = w.data + (tile + static_cast<std::size_t>(i)) * w.tile_bytes;
        const float* x = row_of(task.x, token);
        Floats sum[Tiles][Tokens];
        for (int i = 0; i < Tiles; ++i)
            for (int m = 0; m < Tokens; ++m) sum[i][m] = splat(0.0f);
        for (std::size_t k = 0; k < w.columns; ++k) {
            Floats weight[Tiles];
#pragma GCC unroll 2
            for (int i = 0; i < Tiles; ++i) weight[i] = weights(at[i], k);
#pragma GCC unroll 8
            for (int m = 0; m < Tokens; ++m) {
                const Floats value = splat(x[static_cast<std::size_t>(m) * task.x.stride + k]);
#pragma GCC unroll 2
                for (int i = 0; i < Tiles; ++i) sum[i][m] = fma(weight[i], value, sum[i][m]);
            }
        }
        for (int i = 0; i < Tiles; ++i)
            for (int m = 0; m < Tokens; ++m)
                finish(task, tile + static_cast<std::size_t>(i), token + static_cast<std::size_t>(m), sum[i][m], 1.0f);
    }
};

}  // namespace

void linear_float(const LinearTask& task, Range tiles, Range tokens) {
    switch (task.weights->type) {
        case WeightType::f16:
            return run_tiles<FloatBlock<WeightType::f16>>(task, tiles, tokens);
        case WeightType::bf16:
            return run_tiles<FloatBlock<WeightType::bf16>>(task, tiles, tokens);
        default:
            return run_tiles<FloatBlock<WeightType::f32>>(task, tiles, tokens);
    }
}

void linear(const LinearTask& task, Range tiles, Range tokens) {
    if (is_integer(task.weights->type))
        linear_int(task, tiles, tokens);
    else
        linear_float(task, tiles, tokens);
}

}  // namespace fairway::FAIRWAY_ISA
