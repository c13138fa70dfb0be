// A compiled program is a list of stages. Within a stage, items are independent and any thread may
// take the next one; between stages all threads meet. An item's result never depends on its thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "matrix.h"
#include "memory.h"
#include "step.h"

namespace fairway {

// Neighbouring tokens that have the same adapter.
struct Adapted {
    Range tokens;
    std::size_t slot;
};

// The step that is running, with each token's place in the cache and who has an adapter.
struct Run {
    Step step{};
    std::vector<std::size_t> blocks, slots;
    std::vector<Adapted> adapted;
    int threads = 1;
    std::size_t rows(bool outputs) const { return outputs ? step.outputs : step.tokens; }
};

// One row of one operation.
using RowOperation = std::function<void(const Run& run, std::size_t row)>;

class Stage {
  public:
    explicit Stage(std::string kind) : kind_(std::move(kind)) {}
    virtual ~Stage() = default;
    const std::string& kind() const { return kind_; }
    // Called once per step before any item; returns the number of items.
    virtual std::size_t prepare(const Run& run) = 0;
    virtual void work(const Run& run, std::size_t item, int thread) = 0;
    // Asks memory for the next lines of what an item will read, called with part 0, 1, ...; false once
    // there is no more to ask for. Changes nothing.
    virtual bool warm(const Run&, std::size_t, std::size_t) const { return false; }

  private:
    std::string kind_;
};

// Operations that look at one row at a time, one after the other on a few rows.
class RowStage : public Stage {
  public:
    RowStage(std::string kind, bool outputs) : Stage(std::move(kind)), outputs_(outputs) {}
    bool outputs() const { return outputs_; }
    void add(RowOperation operation) { operations_.push_back(std::move(operation)); }
    std::size_t prepare(const Run& run) override;
    void work(const Run& run, std::size_t item, int thread) override;

  private:
    bool outputs_;
    std::size_t rows_ = 0, step_ = 1;
    std::vector<RowOperation> operations_;
};

constexpr std::size_t ceil_div(std::size_t n, std::size_t d) { return (n + d - 1) / d; }

// Whole register blocks of tokens whose activations stay in the second-level cache.
std::size_t tokens_at_once(const Kernels& kernels, const Weights& weights);

// Items that a product of `rows` tokens should have: few where weights are streamed.
std::size_t product_items(const Run& run, std::size_t rows);

// Asks memory for some lines of a weight, from a tile on, as Stage::warm.
bool warm_tiles(const Weights& weights, Range tiles, std::size_t part);

class LoraSite;

// A matrix product; an item is some tiles of rows for all tokens.
class LinearStage : public Stage {
  public:
    LinearStage(const Kernels& kernels, LinearTask task, bool outputs);
    void own(std::shared_ptr<Matrix> matrix, Memory bias) {
        matrix_ = std::move(matrix);
        bias_ = std::move(bias);
    }
    void adapt(const LoraSite& site) { lora_ = &site; }
    std::size_t prepare(const Run& run) override;
    void work(const Run& run, std::size_t item, int thread) override;
    bool warm(const Run& run, std::size_t item, std::size_t part) const override;

  private:
    const Kernels& kernels_;
    LinearTask task_;
    bool outputs_;
    std::size_t tokens_;
    std::shared_ptr<Matrix> matrix_;
    Memory bias_;
    const LoraSite* lora_ = nullptr;
    std::size_t rows_ = 0, tiles_ = 2;
};

// Attention of one layer; an item is some tokens of one sequence and one key-value head, or, where
// these are too few for the team, some of the segments of keys that they see.
class AttentionStage : public Stage {
  public:
    AttentionStage(const Kernels& kernels, AttentionTask task, int threads);
    std::size_t prepare(const Run& run) override;
    void work(const Run& run, std::size_t item, int thread) override;

  private:
    static constexpr std::size_t kWhole = static_cast<std::size_t>(-1);
    struct Piece {
        std::size_t item;
        std::size_t split;  // kWhole: the item on its own
        Range segments;
    };
    // An item in pieces: who finishes the last one merges them all.
    struct Split {
        std::size_t item;
        Range segments;
        std::size_t partials;  // where its segments begin, in floats
        std::atomic<std::size_t> missing;
    };
    void find_items(const Run& run);
    void cut(std::size_t item, std::size_t segments_each);
    std::size_t rows_of(const AttentionItem& item) const { return item.num_tokens * (task_.heads / task_.cache.layout.kv_heads); }

    const Kernels& kernels_;
    AttentionTask task_;
    std::size_t tokens_;  // of an item
    std::vector<AttentionItem> items_;
    std::vector<Piece> pieces_;
    std::deque<Split> splits_;
    std::size_t num_partials_ = 0;  // floats
    Memory partials_;
    std::vector<Memory> scratch_;  // of each thread
};

}  // namespace fairway
