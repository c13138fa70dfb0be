// A weight in the layout of kernels.h, which all variants share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels.h"
#include "memory.h"
#include "team.h"

namespace fairway {

// The source of a grouped matrix, row after row: codes as in fairway.tensors.GroupedTensor, with
// zero 8 or 0 for int4 (`centred` or not) and 0 for int8.
struct GroupedSource {
    std::size_t rows, columns, group;
    bool int4, centred;
    const std::uint8_t* values;
    const float* scales;
    const float* offsets;  // may be null
};

class Matrix {
  public:
    static std::shared_ptr<Matrix> dense(WeightType type, const void* values, std::size_t rows, std::size_t columns,
                                         Team& team);
    static std::shared_ptr<Matrix> grouped(const GroupedSource& source, Team& team);

    const Weights& weights() const { return weights_; }
    std::size_t num_bytes() const { return memory_.bytes(); }
    // out[c] = scale * row's values
    void take(std::size_t row, float scale, float* out) const;

  private:
    explicit Matrix(const Weights& weights);
    void take_dense(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const;
    void take_grouped(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const;
    Weights weights_;
    Memory memory_;
};

}  // namespace fairway
