// What adapters add to products: out += scale * ((x @ a.T) @ b.T) for the tokens of sequences that have one.
// x @ a.T is a stage of its own, of integers where the product is; @ b.T is added by whoever computes those
// tiles of the product, while they are in its cache. A row's sums have one order whatever the step.
#pragma once

#include <deque>
#include <vector>

#include "stages.h"

namespace fairway {

// One adapter's share of one product.
struct LoraLayer {
    struct Part {
        std::shared_ptr<Matrix> b;  // float32 from the first row of a tile on, or in its place pairs of bfloat16
        bool has_pairs;
        std::size_t rank;
        std::size_t column;  // where it begins in x @ a.T
        std::size_t first_tile;  // of the product
        float scale;
    };
    std::shared_ptr<Matrix> a;  // null: nothing
    std::vector<Part> parts;
};

// What products need for a moment. One for all of them, since each is done with it before the next begins.
struct LoraScratch {
    std::size_t tokens = 0, width = 0;
    Memory shrunk;  // x @ a.T of every token of a step
    std::vector<std::vector<Stretch>> stretches;  // of each thread
    void widen(std::size_t columns);
    Rows rows() const { return {shrunk.as<float>(), width, width}; }
};

// One product and what each adapter adds to it.
class LoraSite {
  public:
    // Of the product that `task` describes: its x, as int8 where its weights are integers.
    LoraSite(const Kernels& kernels, LoraScratch& scratch, const LinearTask& task, Rows x)
        : kernels_(kernels), scratch_(scratch), x_(x), quantized_(task.quantized), tiles_(task.weights->tiles), groups_(task.weights->groups) {}
    // Throws std::invalid_argument for matrices that do not fit.
    void check(const LoraLayer& layer) const;
    void put(std::size_t slot, LoraLayer layer);
    const LoraLayer* find(std::size_t slot) const;  // null: nothing to add
    // x @ a.T, some tiles of it for some tokens that share the adapter of `layer`.
    void shrink(const LoraLayer& layer, Range tiles, Range tokens) const;
    // What `add` will read of these tiles, for the product of these tiles and `tokens` tokens to ask for.
    Aside aside(const Run& run, Range tiles, std::size_t tokens, int thread) const;
    // Adds to these tiles of the product; `out` begins with the first of them and with the first token.
    void add(const Run& run, Range tiles, Range tokens, Rows out) const;

  private:
    void add_part(const LoraLayer::Part& part, Range tiles, Range tokens, Rows out) const;

    const Kernels& kernels_;
    LoraScratch& scratch_;
    Rows x_;
    Quantized quantized_;
    std::size_t tiles_, groups_;
    std::vector<LoraLayer> layers_;  // by slot
};

// x @ a.T for every token that has an adapter; an item is some tiles for some tokens of one adapter.
class ShrinkStage : public Stage {
  public:
    explicit ShrinkStage(const LoraSite& site) : Stage("lora"), site_(site) {}
    std::size_t prepare(const Run& run) override;
    void work(const Run& run, std::size_t item, int thread) override;

  private:
    struct Item {
        const LoraLayer* layer;
        Range tiles, tokens;
    };
    const LoraSite& site_;
    std::vector<Item> items_;
};

}  // namespace fairway
