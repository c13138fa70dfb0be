#include "lora.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace fairway {

namespace {

constexpr std::size_t kItemTokens = 24;
constexpr std::size_t kItemTiles = 2;

Range shared(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }
bool is_empty(Range range) { return range.begin >= range.end; }

void expect(bool fits) {
    if (!fits) throw std::invalid_argument("an adapter does not fit its product");
}

}  // namespace

void LoraScratch::widen(std::size_t columns) {
    if (columns <= width) return;
    width = columns;
    shrunk = Memory(tokens * width * sizeof(float));
}

void LoraSite::check(const LoraLayer& layer) const {
    expect(layer.a && layer.a->weights().columns == x_.width);
    expect(is_integer(layer.a->weights().type) == (quantized_.values != nullptr));
    for (const LoraLayer::Part& part : layer.parts) {
        expect(part.b && part.b->weights().type == WeightType::f32);
        const Weights& b = part.b->weights();
        expect(b.columns == (part.has_pairs ? ceil_div(part.rank, 2) : part.rank));
        expect(part.column <= layer.a->weights().rows && part.rank <= layer.a->weights().rows - part.column);
        expect(part.first_tile <= tiles_ && b.tiles <= tiles_ - part.first_tile);
    }
}

void LoraSite::put(std::size_t slot, LoraLayer layer) {
    if (layers_.size() <= slot) layers_.resize(slot + 1);
    if (layer.a) scratch_.widen(layer.a->weights().rows);
    layers_[slot] = std::move(layer);
}

const LoraLayer* LoraSite::find(std::size_t slot) const {
    return slot < layers_.size() && layers_[slot].a ? &layers_[slot] : nullptr;
}

void LoraSite::shrink(const LoraLayer& layer, Range tiles, Range tokens) const {
    LinearTask task;
    task.weights = &layer.a->weights();
    task.x = x_;
    task.quantized = quantized_;
    task.out = scratch_.rows();
    kernels_.linear(task, tiles, tokens);
}

Aside LoraSite::aside(const Run& run, Range tiles, std::size_t tokens, int thread) const {
    auto& stretches = scratch_.stretches[static_cast<std::size_t>(thread)];
    stretches.clear();
    std::size_t bytes = 0;
    for (const Adapted& group : run.adapted) {
        const LoraLayer* layer = find(group.slot);
        if (!layer) continue;
        for (const LoraLayer::Part& part : layer->parts) {
            const Weights& b = part.b->weights();
            const Range both = shared(tiles, {part.first_tile, part.first_tile + b.tiles});
            if (is_empty(both)) continue;
            const std::uint8_t* from = b.data + (both.begin - part.first_tile) * b.tile_bytes;
            stretches.push_back({from, from + (both.end - both.begin) * b.tile_bytes});
            bytes += (both.end - both.begin) * b.tile_bytes;
        }
    }
    const std::size_t steps = ceil_div(tiles.end - tiles.begin, 2) * ceil_div(tokens, kernels_.token_block) * ceil_div(groups_, 2);
    return {stretches.data(), stretches.data() + stretches.size(), ceil_div(bytes / kCacheLine, steps)};
}

void LoraSite::add(const Run& run, Range tiles, Range tokens, Rows out) const {
    for (const Adapted& group : run.adapted) {
        const Range rows = shared(tokens, group.tokens);
        const LoraLayer* layer = is_empty(rows) ? nullptr : find(group.slot);
        if (!layer) continue;
        const Rows from_row{row_of(out, rows.begin - tokens.begin), out.stride, out.width};
        for (const LoraLayer::Part& part : layer->parts) add_part(part, tiles, rows, from_row);
    }
}

void LoraSite::add_part(const LoraLayer::Part& part, Range tiles, Range tokens, Rows out) const {
    const Weights& b = part.b->weights();
    const Range both = shared(tiles, {part.first_tile, part.first_tile + b.tiles});
    if (is_empty(both)) return;
    const std::size_t skipped = both.begin - part.first_tile;
    ThinTask task;
    task.tiles = b.data + skipped * b.tile_bytes;
    task.tile_bytes = b.tile_bytes;
    task.has_pairs = part.has_pairs;
    task.x = {row_of(scratch_.rows(), tokens.begin) + part.column, scratch_.width, part.rank};
    task.out = {out.data + (both.begin - tiles.begin) * kTile, out.stride, b.rows - skipped * kTile};
    task.scale = part.scale;
    kernels_.add_thin(task, both.end - both.begin, tokens.end - tokens.begin);
}

std::size_t ShrinkStage::prepare(const Run& run) {
    items_.clear();
    for (const Adapted& group : run.adapted) {
        const LoraLayer* layer = site_.find(group.slot);
        const std::size_t tiles = layer ? layer->a->weights().tiles : 0;
        for (std::size_t tile = 0; tile < tiles; tile += kItemTiles)
            for (std::size_t token = group.tokens.begin; token < group.tokens.end; token += kItemTokens)
                items_.push_back({layer, {tile, std::min(tiles, tile + kItemTiles)}, {token, std::min(group.tokens.end, token + kItemTokens)}});
    }
    return items_.size();
}

void ShrinkStage::work(const Run&, std::size_t item, int) {
    site_.shrink(*items_[item].layer, items_[item].tiles, items_[item].tokens);
}

}  // namespace fairway
