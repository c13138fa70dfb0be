// A weight in the layout of kernels.h, which all variants share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "memory.h"

namespace fairway {

// All that decides a layout: matrices of one form have equal sizes and may exchange their bytes.
struct Form {
    WeightType type = WeightType::f32;
    std::size_t rows = 0, columns = 0;
    std::size_t group = kGroup;
    bool has_offsets = false;
    bool centred = true;
    float factor = 1;
};

inline std::size_t element_bytes(WeightType type) { return type == WeightType::f32 ? 4 : 2; }  // of a float type

Weights lay_out(const Form& form);  // without data
inline std::size_t packed_bytes(const Weights& w) { return w.tiles * w.tile_bytes; }

// The code that means zero, and one code of a tile: as it is stored, so that int8 counts from 128.
int zero_of(const Weights& w);
int code_at(const Weights& w, const std::uint8_t* tile, std::size_t lane, std::size_t column);
void set_code(const Weights& w, std::uint8_t* tile, std::size_t lane, std::size_t column, int code);

class Matrix {
  public:
    // Over bytes that are packed already. Throws std::invalid_argument if there are too few.
    Matrix(const Weights& weights, Memory memory);

    const Weights& weights() const { return weights_; }
    std::size_t num_bytes() const { return packed_bytes(weights_); }
    // out[c] = scale * row's values
    void take(std::size_t row, float scale, float* out) const;

  private:
    void take_dense(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const;
    void take_grouped(const std::uint8_t* tile, std::size_t lane, float scale, float* out) const;
    Weights weights_;
    Memory memory_;
};

}  // namespace fairway
