// A matrix product whose two halves of outputs, gate and up, are joined at once:
// out = activation(gate) * up, in int8 as well if the next product wants that. An item is some tiles of
// gate with the same tiles of up, so neither half ever leaves the second-level cache.
#pragma once

#include "lora.h"

namespace fairway {

class GatedLinearStage : public Stage {
  public:
    // `task.out` is the joined output, as wide as one half: whole groups of 32. No residual.
    GatedLinearStage(const Kernels& kernels, LinearTask task, Activation activation, bool outputs, int threads);
    void own(std::shared_ptr<Matrix> matrix, Memory bias) {
        matrix_ = std::move(matrix);
        bias_ = std::move(bias);
    }
    void adapt(const LoraSite& site) { lora_ = &site; }
    void quantize_into(const Quantized& values) { quantized_ = values; }
    std::size_t prepare(const Run& run) override;
    void work(const Run& run, std::size_t item, int thread) override;
    bool warm(const Run& run, std::size_t item, std::size_t part) const override;

  private:
    void multiply(const Run& run, Range tiles, Range tokens, Rows out, int thread) const;
    void quantize(std::size_t row, Range tiles) const;

    const Kernels& kernels_;
    LinearTask task_;
    Activation activation_;
    bool outputs_;
    std::size_t half_tiles_;
    std::size_t tokens_;
    Quantized quantized_;  // no values: not wanted
    const LoraSite* lora_ = nullptr;
    std::shared_ptr<Matrix> matrix_;
    Memory bias_;
    std::size_t rows_ = 0, tiles_ = 2;
    std::vector<Memory> scratch_;  // of each thread
};

}  // namespace fairway
