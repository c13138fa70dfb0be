#include "stages.h"

#include <algorithm>

#include "lora.h"

namespace fairway {

namespace {

constexpr std::size_t kItemsPerThread = 24;      // enough to even out threads that are disturbed
constexpr std::size_t kStreamedRows = 16;  // up to here weights are read faster than computed with
constexpr std::size_t kStreamedItemsPerThread = 6;
constexpr std::size_t kPiecesPerThread = 6;  // of attention, where a few long contexts are split
constexpr std::size_t kWarmLines = 4;  // between two looks
constexpr std::size_t kWarmBytes = 64 * 1024;  // of a thread's next weights
constexpr std::size_t kTokenBytes = 192 * 1024;  // of activations that stay in the second-level cache

std::size_t length(Range range) { return range.end - range.begin; }

}  // namespace

std::size_t RowStage::prepare(const Run& run) {
    rows_ = run.rows(outputs_);
    step_ = std::clamp<std::size_t>(rows_ / (static_cast<std::size_t>(run.threads) * 4), 1, 8);
    return ceil_div(rows_, step_);
}

void RowStage::work(const Run& run, std::size_t item, int) {
    const std::size_t begin = item * step_, end = std::min(rows_, begin + step_);
    for (std::size_t row = begin; row < end; ++row)
        for (const RowOperation& operation : operations_) operation(run, row);
}

std::size_t tokens_at_once(const Kernels& kernels, const Weights& weights) {
    const std::size_t bytes = is_integer(weights.type) ? weights.groups * (kGroup + 4) : weights.columns * sizeof(float);
    return std::max<std::size_t>(kTokenBytes / bytes / kernels.token_block, 1) * kernels.token_block;
}

std::size_t product_items(const Run& run, std::size_t rows) {
    return static_cast<std::size_t>(run.threads) * (rows <= kStreamedRows ? kStreamedItemsPerThread : kItemsPerThread);
}

LinearStage::LinearStage(const Kernels& kernels, LinearTask task, bool outputs)
    : Stage("linear"), kernels_(kernels), task_(task), outputs_(outputs), tokens_(tokens_at_once(kernels, *task.weights)) {}

std::size_t LinearStage::prepare(const Run& run) {
    rows_ = run.rows(outputs_);
    tiles_ = std::clamp<std::size_t>(task_.weights->tiles / product_items(run, rows_) / 2 * 2, 2, 256);
    return rows_ ? ceil_div(task_.weights->tiles, tiles_) : 0;
}

void LinearStage::work(const Run& run, std::size_t item, int thread) {
    const Range tiles{item * tiles_, std::min(task_.weights->tiles, (item + 1) * tiles_)};
    LinearTask task = task_;
    Aside aside{};
    const bool adapts = lora_ && !run.adapted.empty();
    if (adapts) {
        aside = lora_->aside(run, tiles, rows_, thread);
        task.aside = &aside;
    }
    for (std::size_t token = 0; token < rows_; token += tokens_) {
        const Range tokens{token, std::min(rows_, token + tokens_)};
        kernels_.linear(task, tiles, tokens);
        if (adapts) lora_->add(run, tiles, tokens, {row_of(task_.out, token) + tiles.begin * kTile, task_.out.stride, task_.out.width});
    }
}

bool warm_tiles(const Weights& weights, Range tiles, std::size_t part) {
    const std::size_t at = part * kWarmLines * kCacheLine, bytes = (tiles.end - tiles.begin) * weights.tile_bytes;
    if (at >= std::min(bytes, kWarmBytes)) return false;
    for (std::size_t line = 0; line < kWarmLines; ++line)
        __builtin_prefetch(weights.data + tiles.begin * weights.tile_bytes + at + line * kCacheLine, 0, 2);
    return true;
}

bool LinearStage::warm(const Run&, std::size_t item, std::size_t part) const {
    return rows_ && warm_tiles(*task_.weights, {std::min(item * tiles_, task_.weights->tiles), task_.weights->tiles}, part);
}

AttentionStage::AttentionStage(const Kernels& kernels, AttentionTask task, int threads)
    : Stage("attention"), kernels_(kernels), task_(task) {
    const std::size_t group = task.heads / task.cache.layout.kv_heads;
    tokens_ = std::max<std::size_t>(kernels.attention_rows / group, 1);
    for (int t = 0; t < threads; ++t)
        scratch_.emplace_back(kernels.attention_scratch(task, tokens_ * group) * sizeof(float));
}

std::size_t AttentionStage::prepare(const Run& run) {
    find_items(run);
    std::size_t segments = 0;
    for (const AttentionItem& item : items_) segments += length(segments_seen(task_, item));
    const std::size_t each = std::max<std::size_t>(segments / (static_cast<std::size_t>(run.threads) * kPiecesPerThread), 1);
    pieces_.clear();
    splits_.clear();
    num_partials_ = 0;
    for (std::size_t item = 0; item < items_.size(); ++item) cut(item, each);
    if (partials_.bytes() < num_partials_ * sizeof(float)) partials_ = Memory(num_partials_ * sizeof(float));
    return pieces_.size();
}

void AttentionStage::find_items(const Run& run) {
    items_.clear();
    const Step& step = run.step;
    for (std::size_t s = 0; s < step.sequences; ++s) {
        const auto begin = static_cast<std::size_t>(step.starts[s]), end = static_cast<std::size_t>(step.starts[s + 1]);
        for (std::size_t t = begin; t < end; t += tokens_)
            for (std::size_t head = 0; head < task_.cache.layout.kv_heads; ++head)
                items_.push_back({step.block_tables + s * step.max_blocks, t, std::min(tokens_, end - t),
                                  step.positions[t], head});
    }
}

// An item on its own, unless it is longer than two pieces should be.
void AttentionStage::cut(std::size_t item, std::size_t segments_each) {
    const Range seen = segments_seen(task_, items_[item]);
    if (length(seen) < 2 * segments_each || length(seen) == 1) return pieces_.push_back({item, kWhole, seen});
    const std::size_t count = length(seen) / segments_each;
    splits_.emplace_back();
    Split& split = splits_.back();
    split.item = item;
    split.segments = seen;
    split.partials = num_partials_;
    split.missing.store(count, std::memory_order_relaxed);
    num_partials_ += length(seen) * kernels_.attention_partial(task_, rows_of(items_[item]));
    for (std::size_t i = 0; i < count; ++i)
        pieces_.push_back({item, splits_.size() - 1, {seen.begin + length(seen) * i / count, seen.begin + length(seen) * (i + 1) / count}});
}

void AttentionStage::work(const Run&, std::size_t item, int thread) {
    // The last items see the most keys; taking them first leaves small ones to even out the end.
    const Piece& piece = pieces_[pieces_.size() - 1 - item];
    const AttentionItem& chosen = items_[piece.item];
    auto* scratch = scratch_[static_cast<std::size_t>(thread)].as<float>();
    if (piece.split == kWhole) return kernels_.attention(task_, chosen, scratch);
    Split& split = splits_[piece.split];
    const std::size_t each = kernels_.attention_partial(task_, rows_of(chosen));
    float* partials = partials_.as<float>() + split.partials;
    kernels_.attend_segments(task_, chosen, piece.segments, partials + (piece.segments.begin - split.segments.begin) * each, scratch);
    if (split.missing.fetch_sub(1, std::memory_order_acq_rel) == 1)
        kernels_.merge_segments(task_, chosen, length(split.segments), partials, scratch);
}

}  // namespace fairway
