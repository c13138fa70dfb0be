// A program bound to its buffers and its cache: built operation by operation, then run step by step.
// Built and run by one thread; the team's threads see it only inside `run`.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gated_linear.h"
#include "sampling.h"
#include "stages.h"
#include "team.h"

namespace fairway {

// Columns start .. start + width of a buffer.
struct View {
    std::size_t buffer, start, width;
};

class Executable {
  public:
    // widths[i] floats per row of buffer i, which has output rows where outputs[i].
    Executable(std::shared_ptr<Team> team, const Kernels& kernels, const CacheShape& cache, const Limits& limits,
               const std::vector<std::size_t>& widths, const std::vector<bool>& outputs);

    void embed(std::shared_ptr<Matrix> table, View out, float scale);
    void add_position(const float* table, std::size_t positions, View x);
    void rms_norm(View x, const float* weight, std::size_t size, View out, float eps);
    void layer_norm(View x, const float* weight, const float* bias, View out, float eps);
    // Adapters may change the products with `adapts`, which are counted as sites in the order they come.
    void linear(View x, std::shared_ptr<Matrix> matrix, View out, const float* bias, const View* residual, float scale, bool adapts);
    // The product's two halves of outputs joined: activation(gate) * up; `out` has whole groups of 32.
    void gated_linear(View x, std::shared_ptr<Matrix> matrix, const float* bias, View out, Activation activation, bool adapts);
    void gate(View x, View out, Activation activation);
    void activate(View x, View out, Activation activation);
    void add(View x, View y, View out, float scale);
    void rope(View x, std::size_t head_size, const float* inv_freq, std::size_t half, float factor);
    void write_cache(View k, View v, std::size_t layer);
    void attention(View q, View out, std::size_t layer, std::size_t heads, float scale, std::int64_t window,
                   float softcap);
    void select_outputs(View x, View out);
    void soft_cap(View x, float cap);

    // What a step means by this slot from now on, by site; between two runs. Throws std::invalid_argument,
    // and nothing has changed, where a layer does not fit.
    void put_adapter(std::size_t slot, std::vector<std::pair<std::size_t, LoraLayer>> layers);
    void drop_adapter(std::size_t slot);
    // Stores keys and values [layers, count, kv_heads * head_size] that no token computes, at places of the
    // cache, block * block_size + slot; between two runs. Throws std::invalid_argument, and nothing has changed.
    void put_cached(const std::int32_t* places, std::size_t count, const float* keys, const float* values);
    // Throws std::invalid_argument for a step that breaks its contract.
    void run(const Step& step);
    Rows rows(View view) const;
    std::vector<std::int32_t> argmax(View logits, std::size_t count);
    // A token for each draw from the first `width` logits of its row, -1 where they are no numbers. Throws
    // std::invalid_argument for a row that the last run did not write.
    void choose(View logits, const std::int32_t* rows, const std::vector<Draw>& draws, std::size_t width, std::int32_t* ids);
    // Of each of these rows what its log probabilities are made of, with so many of its most likely tokens.
    std::vector<Score> score(View logits, const std::int32_t* rows, const std::vector<std::size_t>& counts, std::size_t width);

    void set_profile(bool on) { profiling_ = on; }
    std::map<std::string, double> take_profile() { return std::exchange(profile_, {}); }  // seconds by kind
    std::size_t num_bytes() const;
    const CacheShape& cache() const { return cache_; }

  private:
    Rows rows_to_read(View logits, const std::int32_t* rows, std::size_t count, std::size_t width) const;
    const float* keep(const float* values, std::size_t count, std::size_t padded = 0);
    RowStage& row_stage(const char* kind, bool outputs);
    void add_rows(const char* kind, View written, RowOperation operation);
    LinearTask linear_task(View x, const Matrix& matrix, const float* bias, Memory& padded_bias);
    const Quantized& quantized(View x);
    void forget(View written);
    LayerCache layer_cache(std::size_t layer) const;
    std::size_t angles(const float* inv_freq, std::size_t half, float factor);
    const LoraSite* site(const LinearTask& task, View x);
    void check_adapters(const Step& step) const;
    void place_tokens();
    void find_adapted();
    void work(int thread);
    bool is_handed_on(std::size_t stage) const;
    template <typename Body>
    void for_each(std::size_t count, Body body);
    void wait(std::size_t stage, int thread);

    struct Angles {
        std::vector<float> inv_freq;
        float factor;
        Memory cos, sin;
    };
    struct QuantizedView {
        View view;
        Memory memory;
        Quantized values;
        bool current;  // the buffer has not been written since
    };

    std::shared_ptr<Team> team_;
    const Kernels& kernels_;
    CacheShape cache_;
    Limits limits_;
    std::vector<std::size_t> widths_;
    std::vector<bool> outputs_;
    Arena arena_;
    std::vector<Memory> buffers_, keys_, values_, kept_;
    std::vector<std::unique_ptr<Angles>> angles_;
    std::vector<std::unique_ptr<QuantizedView>> quantized_;
    std::unique_ptr<RowStage> opening_;  // rope angles, before everything else
    std::vector<std::unique_ptr<Stage>> stages_;
    RowStage* open_rows_ = nullptr;       // the last stage, if rows can still be added to it
    GatedLinearStage* gated_ = nullptr;  // the last stage, if its output can still be quantised there
    View gated_out_{};
    std::deque<Counter> counters_;  // of each stage
    Run run_;
    LoraScratch lora_;
    std::deque<LoraSite> sites_;
    std::vector<bool> adapters_;  // whether there is one, by slot
    std::vector<Chooser> choosers_;  // of each thread
    bool profiling_ = false;
    std::map<std::string, double> profile_;
};

}  // namespace fairway
