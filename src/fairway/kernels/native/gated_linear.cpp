#include "gated_linear.h"

#include <algorithm>

namespace fairway {

namespace {

constexpr std::size_t kScratchBytes = 192 * 1024;  // of both halves
constexpr std::size_t kGroupTiles = kGroup / kTile;

// Bytes of a token's two halves in one tile.
constexpr std::size_t kBothBytes = 2 * kTile * sizeof(float);

}  // namespace

GatedLinearStage::GatedLinearStage(const Kernels& kernels, LinearTask task, Activation activation, bool outputs, int threads)
    : Stage("linear"), kernels_(kernels), task_(task), activation_(activation), outputs_(outputs),
      half_tiles_(task.out.width / kTile), tokens_(tokens_at_once(kernels, *task.weights)) {
    const std::size_t least = tokens_ * kGroupTiles * kBothBytes;
    for (int t = 0; t < threads; ++t) scratch_.emplace_back(std::max(kScratchBytes, least));
}

std::size_t GatedLinearStage::prepare(const Run& run) {
    rows_ = run.rows(outputs_);
    if (rows_ == 0) return 0;
    if (quantized_.poison) std::fill_n(quantized_.poison, rows_, 0.0f);
    const std::size_t wanted = half_tiles_ / product_items(run, rows_);
    const std::size_t most = scratch_[0].bytes() / (std::min(rows_, tokens_) * kBothBytes);
    tiles_ = std::max(std::min(wanted, most) / kGroupTiles, std::size_t{1}) * kGroupTiles;
    return ceil_div(half_tiles_, tiles_);
}

void GatedLinearStage::work(const Run& run, std::size_t item, int thread) {
    const Range tiles{item * tiles_, std::min(half_tiles_, (item + 1) * tiles_)};
    const std::size_t width = (tiles.end - tiles.begin) * kTile, at = tiles.begin * kTile;
    auto* both = scratch_[static_cast<std::size_t>(thread)].as<float>();
    for (std::size_t token = 0; token < rows_; token += tokens_) {
        const Range tokens{token, std::min(rows_, token + tokens_)};
        multiply(run, tiles, tokens, {both, 2 * width, width}, thread);
        multiply(run, {half_tiles_ + tiles.begin, half_tiles_ + tiles.end}, tokens, {both + width, 2 * width, width}, thread);
        for (std::size_t row = tokens.begin; row < tokens.end; ++row) {
            const float* gate = both + (row - tokens.begin) * 2 * width;
            kernels_.gate(gate, gate + width, row_of(task_.out, row) + at, width, activation_);
            if (quantized_.values) quantize(row, tiles);
        }
    }
}

bool GatedLinearStage::warm(const Run&, std::size_t item, std::size_t part) const {
    return rows_ && warm_tiles(*task_.weights, {std::min(item * tiles_, half_tiles_), half_tiles_}, part);
}

// Some tiles for some tokens, to rows and columns from 0 on.
void GatedLinearStage::multiply(const Run& run, Range tiles, Range tokens, Rows out, int thread) const {
    Weights weights = *task_.weights;
    weights.data += tiles.begin * weights.tile_bytes;
    weights.tiles = tiles.end - tiles.begin;
    weights.rows = weights.tiles * kTile;
    LinearTask part = task_;
    part.weights = &weights;
    part.out = out;
    if (part.bias) part.bias += tiles.begin * kTile;
    if (part.x.data) part.x.data = row_of(task_.x, tokens.begin);
    if (part.quantized.values) part.quantized = from_group(task_.quantized, tokens.begin, 0);
    Aside aside{};
    const bool adapts = lora_ && !run.adapted.empty();
    if (adapts) {
        aside = lora_->aside(run, tiles, tokens.end - tokens.begin, thread);
        part.aside = &aside;
    }
    kernels_.linear(part, {0, weights.tiles}, {0, tokens.end - tokens.begin});
    if (adapts) lora_->add(run, tiles, tokens, out);
}

void GatedLinearStage::quantize(std::size_t row, Range tiles) const {
    const std::size_t first = tiles.begin / kGroupTiles, groups = (tiles.end - tiles.begin) / kGroupTiles;
    Quantized part = from_group(quantized_, row, first);
    part.groups = groups;
    kernels_.quantize(row_of(task_.out, row) + first * kGroup, groups * kGroup, part, 0);
}

}  // namespace fairway
